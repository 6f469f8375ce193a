/**
 * Connections to one account of an IMAP server, by imapflow: what both pulling and pushing mail start from.
 * Nothing of what goes over them is logged.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ImapFlow, type ListResponse } from 'imapflow';
import type { SpecialUse } from '../mailbox/model.ts';
import { SourceError, type SourceFolder } from './source.ts';

export type ImapAccount = Readonly<{
  host: string;
  port: number;
  /** `none` is for loopback and tests: password and mail can be read on the way. */
  tls: 'implicit' | 'starttls' | 'none';
  /** PEM of the authority that signed the server's certificate, if it is none that everybody trusts. */
  ca?: string | undefined;
  user: string;
  secret: Readonly<{ kind: 'password' | 'access-token'; text: string }>;
}>;
/** A folder of the server with its name there. */
export type ServerFolder = SourceFolder &
  Readonly<{ serverPath: string; messagesCount: number | null; delimiter: string }>;

const TRIES_COUNT = 5;
const FIRST_PAUSE_MS = 1000;
const SOCKET_TIMEOUT_MS = 120_000;
const USES: ReadonlyMap<string, SpecialUse> = new Map(
  (['All', 'Archive', 'Drafts', 'Flagged', 'Junk', 'Sent', 'Trash'] as const).map((use) => [`\\${use}`, use]),
);

/** One connection that is made again when it breaks. Used by one task at a time. */
export class ImapConnection implements AsyncDisposable {
  readonly #account: ImapAccount;
  #client: ImapFlow | null = null;

  constructor(account: ImapAccount) {
    this.#account = account;
  }

  /** Runs `work` on the connection, with `folder` selected read-only; again when the connection breaks. Throws SourceError. */
  async run<T>(folder: string | null, work: (client: ImapFlow) => Promise<T>, signal: AbortSignal): Promise<T> {
    for (let tries = 1; ; tries += 1) {
      signal.throwIfAborted();
      try {
        const client = (this.#client ??= await connected(this.#account));
        if (folder !== null && (client.mailbox === false || client.mailbox.path !== folder)) {
          await client.mailboxOpen(folder, { readOnly: true });
        }
        return await work(client);
      } catch (error) {
        const isBroken = this.#client === null || !this.#client.usable;
        if (isBroken) this.#client = null;
        if (error instanceof SourceError || !isBroken || tries === TRIES_COUNT) throw described(error, this.#account);
        await sleep(FIRST_PAUSE_MS * 2 ** (tries - 1), undefined, { signal });
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const client = this.#client;
    this.#client = null;
    await client?.logout().catch(() => undefined); // it may be gone already
    client?.close();
  }
}

/** The account's own folders; those of others are left out, and so are names that hold no mail. */
export async function accountFolders(client: ImapFlow): Promise<readonly ServerFolder[]> {
  const listed = await client.list({ statusQuery: { messages: true } });
  const prefix = client.namespace?.prefix ?? '';
  const foreign = [client.namespaces?.other, client.namespaces?.shared]
    .flatMap((it) => it || [])
    .map((it) => it.prefix);
  return listed
    .filter((it) => !it.flags.has('\\Noselect') && !it.flags.has('\\NonExistent'))
    .filter((it) => !foreign.some((start) => start !== '' && it.path.startsWith(start)))
    .map((it) => serverFolder(it, prefix));
}

function serverFolder(listed: ListResponse, prefix: string): ServerFolder {
  const { path, delimiter } = listed;
  const isInbox = path.toUpperCase() === 'INBOX';
  const own = !isInbox && prefix !== '' && path.startsWith(prefix) ? path.slice(prefix.length) : path;
  const levels = delimiter ? own.split(delimiter) : [own];
  return {
    serverPath: path,
    delimiter,
    path: isInbox ? ['INBOX'] : levels,
    specialUse: USES.get(listed.specialUse ?? '') ?? null,
    messagesCount: listed.status?.messages ?? null,
  };
}

async function connected(account: ImapAccount): Promise<ImapFlow> {
  const { host, port, tls, ca, user, secret } = account;
  const client = new ImapFlow({
    host,
    port,
    secure: tls === 'implicit',
    doSTARTTLS: tls === 'starttls' ? true : tls === 'none' ? false : undefined,
    auth: { user, ...(secret.kind === 'password' ? { pass: secret.text } : { accessToken: secret.text }) },
    ...(ca === undefined ? {} : { tls: { ca } }),
    clientInfo: { name: 'sealpost' },
    logger: false,
    disableAutoIdle: true,
    socketTimeout: SOCKET_TIMEOUT_MS,
    maxLockHoldTime: false,
  });
  client.on('error', () => undefined); // the command under way fails and says why
  await client.connect();
  return client;
}

/** An error of the server in words for the operator, without what was sent. */
function described(error: unknown, { host, port }: ImapAccount): unknown {
  if (error instanceof SourceError || (error instanceof Error && error.name === 'AbortError')) return error;
  const fault = error as Error & { authenticationFailed?: boolean; responseText?: string; code?: string };
  const server = `${host}:${String(port)}`;
  if (fault.authenticationFailed === true) {
    return new SourceError(`${server} refused the login: ${fault.responseText ?? 'no reason given'}`, { cause: error });
  }
  return new SourceError(`${server} failed: ${fault.responseText ?? fault.code ?? fault.message}`, { cause: error });
}
