/**
 * Mail pulled from an IMAP server: folders with their uses, flags, keywords and internal dates; nothing there is changed.
 *
 * IS1  Several connections fetch slices of folders side by side; their messages come out in the order of UIDs.
 * IS2  A message that was taken in before is known by its place (server, user, folder, UIDVALIDITY, UID) and not fetched.
 * IS3  A slice that the server does not give is asked for message by message, so that one bad message costs no other.
 * IS4  Folders that only repeat the mail of others (\\All, \\Flagged) give what no other folder gave, where the server tells
 *      messages apart (OBJECTID, RFC 8474, or Gmail's ids), and nothing otherwise.
 */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FetchMessageObject } from 'imapflow';
import { accountFolders, ImapConnection, type ImapAccount, type ServerFolder } from './imap-account.ts';
import { notMail } from './message-text.ts';
import { MESSAGE_MAX_BYTES, SourceError, type KnownPlaces, type MailSource, type SourceItem } from './source.ts';

export type PullOptions = Readonly<{
  connectionsCount: number;
  /** Messages a second at most; null: as fast as it goes. */
  maxPerSecond: number | null;
  /** Folders at the server that are left out, with what is below them. */
  exclude: readonly string[];
}>;
type Listed = Readonly<{
  uid: number;
  sizeBytes: number;
  flags: readonly string[];
  atMs: number | null;
  place: string;
}>;

const LISTED_COUNT = 1000;
const SLICE_MAX_COUNT = 200;
const SLICE_MAX_BYTES = 4 * 1024 * 1024;

/** Connects and lists the folders. Throws SourceError. */
export async function openImap(account: ImapAccount, options: PullOptions, signal: AbortSignal): Promise<ImapSource> {
  const connections = Array.from({ length: options.connectionsCount }, () => new ImapConnection(account));
  const [control] = connections;
  if (!control) throw new TypeError('no connection');
  const folders = await control.run(null, accountFolders, signal);
  return new ImapSource({ account, options, connections, folders });
}

export class ImapSource implements MailSource {
  readonly total: MailSource['total'];
  readonly folders: readonly ServerFolder[];
  readonly #all: readonly ServerFolder[];
  readonly #account: ImapAccount;
  readonly #options: PullOptions;
  readonly #control: ImapConnection;
  readonly #workers: readonly Worker[];
  readonly #seen = new Set<string>();

  constructor(
    parts: Readonly<{
      account: ImapAccount;
      options: PullOptions;
      connections: readonly ImapConnection[];
      folders: readonly ServerFolder[];
    }>,
  ) {
    const { account, options, connections, folders } = parts;
    this.#account = account;
    this.#options = options;
    this.#control = new ImapConnection(account);
    this.#workers = connections.map((connection) => new Worker(connection));
    this.#all = folders.filter(({ serverPath, delimiter }) => !isExcluded(serverPath, delimiter, options.exclude));
    this.folders = this.#all.filter((folder) => !isRepeating(folder));
    const counts = this.folders.map(({ messagesCount }) => messagesCount ?? 0);
    this.total = { messagesCount: counts.reduce((sum, count) => sum + count, 0), sizeBytes: null };
  }

  async *items(known: KnownPlaces, signal: AbortSignal): AsyncGenerator<SourceItem> {
    const ordered = [...this.#all].sort((a, b) => Number(isRepeating(a)) - Number(isRepeating(b)));
    const pending: Promise<readonly SourceItem[]>[] = [];
    const startedMs = performance.now();
    let [next, fetchedCount] = [0, 0];
    try {
      for (const folder of ordered) {
        for await (const part of this.#parts(folder, known, signal)) {
          if (!('slice' in part)) {
            pending.push(Promise.resolve([part]));
          } else {
            const worker = this.#workers[next % this.#workers.length];
            next += 1;
            fetchedCount += part.slice.length;
            if (worker)
              pending.push(worker.add(() => fetchSlice(worker.connection, { folder, slice: part.slice }, signal)));
            pending.at(-1)?.catch(() => undefined); // it is awaited below, in its order
            await this.#keepPace(fetchedCount, startedMs, signal);
          }
          while (pending.length > this.#workers.length * 2) yield* (await pending.shift()) ?? [];
        }
      }
      while (pending.length > 0) yield* (await pending.shift()) ?? [];
    } finally {
      await Promise.allSettled(pending);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(
      [this.#control, ...this.#workers.map(({ connection }) => connection)].map((it) => it[Symbol.asyncDispose]()),
    );
  }

  /** What a folder holds, in the order of UIDs: what is known already, and slices of what has to be fetched. */
  async *#parts(
    folder: ServerFolder,
    known: KnownPlaces,
    signal: AbortSignal,
  ): AsyncGenerator<SourceItem | Readonly<{ slice: readonly Listed[] }>> {
    const where = folder.serverPath;
    const uids = await this.#control.run(
      where,
      async (client) => await client.search({ all: true }, { uid: true }),
      signal,
    );
    if (!uids) throw new SourceError(`The server does not list the messages of ${where}.`);
    for (let start = 0; start < uids.length; start += LISTED_COUNT) {
      const { listed, repeatedCount } = await this.#list(folder, uids.slice(start, start + LISTED_COUNT), signal);
      if (repeatedCount > 0) {
        yield { kind: 'skipped', where, reason: `${String(repeatedCount)} messages repeat those of other folders` };
      }
      const notes = await known(
        folder,
        listed.map(({ place }) => place),
      );
      let slice: Listed[] = [];
      let sliceBytes = 0;
      for (const [at, message] of listed.entries()) {
        const id = notes[at] ?? null;
        const isFull = slice.length === SLICE_MAX_COUNT || sliceBytes + message.sizeBytes > SLICE_MAX_BYTES;
        if (slice.length > 0 && (isFull || id !== null)) {
          yield { slice };
          [slice, sliceBytes] = [[], 0];
        }
        if (id !== null) {
          yield { kind: 'known', folder, id, sizeBytes: message.sizeBytes };
        } else {
          slice.push(message);
          sliceBytes += message.sizeBytes;
        }
      }
      if (slice.length > 0) yield { slice };
    }
  }

  async #list(
    folder: ServerFolder,
    uids: readonly number[],
    signal: AbortSignal,
  ): Promise<Readonly<{ listed: readonly Listed[]; repeatedCount: number }>> {
    const query = { uid: true, flags: true, internalDate: true, size: true };
    return this.#control.run(
      folder.serverPath,
      async (client) => {
        const validity = client.mailbox === false ? null : String(client.mailbox.uidValidity);
        const found = await client.fetchAll(uids.join(','), query, { uid: true });
        const fresh = isRepeating(folder)
          ? found.filter(({ emailId }) => emailId !== undefined && !this.#seen.has(emailId))
          : found;
        for (const { emailId } of found) if (emailId !== undefined) this.#seen.add(emailId);
        const listed = fresh
          .map((message) => this.#listed(message, [folder.serverPath, validity]))
          .sort((a, b) => a.uid - b.uid);
        return { listed, repeatedCount: found.length - fresh.length };
      },
      signal,
    );
  }

  #listed(message: FetchMessageObject, place: readonly (string | null)[]): Listed {
    const { uid, size = 0, flags, internalDate } = message;
    const { host, user } = this.#account;
    const text = JSON.stringify(['imap', host.toLowerCase(), user, ...place, uid]);
    const atMs = internalDate === undefined ? NaN : new Date(internalDate).getTime();
    return {
      uid,
      sizeBytes: size,
      flags: [...(flags ?? [])].filter((flag) => flag.toLowerCase() !== '\\recent'),
      atMs: Number.isFinite(atMs) ? atMs : null,
      place: createHash('sha256').update(text).digest('hex'),
    };
  }

  async #keepPace(fetchedCount: number, startedMs: number, signal: AbortSignal): Promise<void> {
    const { maxPerSecond } = this.#options;
    if (maxPerSecond === null) return;
    const dueMs = startedMs + (fetchedCount / maxPerSecond) * 1000;
    await sleep(Math.max(dueMs - performance.now(), 0), undefined, { signal });
  }
}

/** One connection and its tasks, one after the other. */
class Worker {
  readonly connection: ImapConnection;
  #last: Promise<unknown> = Promise.resolve();

  constructor(connection: ImapConnection) {
    this.connection = connection;
  }

  add<T>(task: () => Promise<T>): Promise<T> {
    const done = this.#last.then(task);
    this.#last = done.catch(() => undefined);
    return done;
  }
}

type Slice = Readonly<{ folder: ServerFolder; slice: readonly Listed[] }>;

/** IS3. */
async function fetchSlice(
  connection: ImapConnection,
  part: Slice,
  signal: AbortSignal,
): Promise<readonly SourceItem[]> {
  const { folder } = part;
  const tooLarge = part.slice.filter(({ sizeBytes }) => sizeBytes > MESSAGE_MAX_BYTES);
  const slice = part.slice.filter(({ sizeBytes }) => sizeBytes <= MESSAGE_MAX_BYTES);
  const found = new Map<number, Buffer>();
  let fault: string | null = null;
  try {
    for (const { uid, source } of await fetched(connection, { folder, slice }, signal))
      if (source) found.set(uid, source);
  } catch (error) {
    if (!(error instanceof SourceError) || slice.length === 0) throw error;
    if (slice.length > 1) return (await oneByOne(connection, part, signal)).flat();
    fault = error.message;
  }
  return [...slice, ...tooLarge]
    .sort((a, b) => a.uid - b.uid)
    .map((message): SourceItem => {
      const where = `${folder.serverPath}, UID ${String(message.uid)}`;
      const bytes = found.get(message.uid);
      const isTooLarge = message.sizeBytes > MESSAGE_MAX_BYTES;
      if (!bytes) {
        const reason = isTooLarge
          ? 'it is too large'
          : (fault ?? 'the server did not give it; it may be deleted there by now');
        return { kind: 'bad', folder, where, reason };
      }
      const reason = notMail(bytes);
      if (reason !== null) return { kind: 'bad', folder, where, reason };
      const { flags, place, atMs } = message;
      const internalDate = atMs === null ? null : { atMs, zoneMinutes: 0 };
      return { kind: 'message', folder, where, bytes, flags, place, internalDate };
    });
}

async function oneByOne(connection: ImapConnection, part: Slice, signal: AbortSignal): Promise<SourceItem[][]> {
  const items: SourceItem[][] = [];
  for (const message of part.slice)
    items.push([...(await fetchSlice(connection, { ...part, slice: [message] }, signal))]);
  return items;
}

function fetched(connection: ImapConnection, part: Slice, signal: AbortSignal): Promise<readonly FetchMessageObject[]> {
  const uids = part.slice.map(({ uid }) => uid).join(',');
  if (uids === '') return Promise.resolve([]);
  const { serverPath } = part.folder;
  return connection.run(
    serverPath,
    (client) => client.fetchAll(uids, { uid: true, source: true }, { uid: true }),
    signal,
  );
}

function isRepeating({ specialUse }: ServerFolder): boolean {
  return specialUse === 'All' || specialUse === 'Flagged';
}

function isExcluded(path: string, delimiter: string, excluded: readonly string[]): boolean {
  return excluded.some((name) => path === name || path.startsWith(`${name}${delimiter}`));
}
