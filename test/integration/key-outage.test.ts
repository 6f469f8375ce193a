/**
 * P7 and P8 of the promises, on a running server: a root key that is taken away, and one that cannot be reached.
 * For both kinds of key service; the AWS one is test/support/kms-server.ts.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { setKeyringKeyState } from '../../src/keys/providers/keyring-file.ts';
import { CALLER, CREDENTIALS, KmsServer, REGION, type KmsKey } from '../support/kms-server.ts';
import { ledgerMessage, seededRandom } from '../support/ledger.ts';
import { DOMAIN, TestServer } from '../support/server.ts';
import { ImapClient, SmtpClient, withoutTrace } from '../support/wire.ts';

const CACHE_MAX_AGE_MS = 1500;
/** A refused key is asked for again after half a minute. */
const COMES_BACK_MS = 45_000;
/** A round of adoption comes every five seconds. */
const ADOPTED_WITHIN_MS = 10_000;
const TIMEOUT_MS = 120_000;
const keys = { cacheMaxAgeMs: CACHE_MAX_AGE_MS };

/** `refusal`: the outcome that the audit shows while the key is taken away. */
type World = Readonly<{ server: TestServer; refusal: string; take(): Promise<void>; giveBack(): Promise<void> }>;

async function localWorld(): Promise<World> {
  const server = await TestServer.start({ users: 2, config: { keys } });
  const keyring = join(server.data, 'keyring.json');
  return {
    server,
    refusal: 'disabled',
    take: () => setKeyringKeyState(keyring, 'default', 'disabled'),
    giveBack: () => setKeyringKeyState(keyring, 'default', 'enabled'),
  };
}

async function awsWorld(
  options: Readonly<{ grantsOnly?: boolean }> = {},
): Promise<World & Readonly<{ kms: KmsServer; key: KmsKey }>> {
  const kms = await KmsServer.start();
  onTestFinished(() => kms[Symbol.asyncDispose]());
  const key = kms.addKey(options);
  const server = await TestServer.start({
    users: 2,
    config: {
      outbound: { enabled: false }, // what is in the queue stays there
      keys: {
        ...keys,
        defaultProvider: 'aws-kms',
        defaultKey: key.arn,
        awsKms: { endpoint: kms.endpoint, region: REGION, timeoutMs: 1500, granteePrincipal: CALLER },
      },
    },
    env: { AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId, AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey },
  });
  const setState = (state: KmsKey['state']) => async (): Promise<void> => {
    key.state = state;
  };
  return { server, refusal: 'disabled', kms, key, take: setState('Disabled'), giveBack: setState('Enabled') };
}

/** Taken away by revoking its grant, given back by a new one. */
async function grantWorld({ server }: World): Promise<World> {
  const sealpost = async (...words: readonly string[]): Promise<string> => {
    const { code, out, error } = await server.run(words);
    if (code !== 0) throw new Error(error);
    return out;
  };
  const [grant] = JSON.parse(await sealpost('grant', 'list', '--json')) as { id: string; organization: string }[];
  if (!grant) throw new Error('the organization has no grant');
  return {
    server,
    refusal: 'denied',
    take: async () => {
      await sealpost('grant', 'revoke', grant.id, '--yes');
    },
    giveBack: async () => {
      await sealpost('grant', 'create', '--org', grant.organization);
    },
  };
}

/** What happens to `ask` from now on, until it fits `pattern`; the milliseconds it took. */
async function untilAnswer(ask: () => Promise<string>, pattern: RegExp, withinMs: number): Promise<number> {
  const startMs = performance.now();
  for (let answer = ''; ;) {
    answer = await ask();
    const passedMs = performance.now() - startMs;
    if (pattern.test(answer)) return Math.round(passedMs);
    if (passedMs > withinMs) throw new Error(`still ${answer} after ${String(withinMs)} ms`);
    await delay(50);
  }
}

type AuditedCall = Readonly<{
  errorCode?: string;
  userIdentity: Readonly<{ type: string; principalId: string }>;
  requestParameters: Readonly<{ encryptionContext: Readonly<Record<string, string>> }>;
  additionalEventData: Readonly<{ purpose: string }>;
}>;

class User implements Disposable {
  readonly #server: TestServer;
  readonly #imap: ImapClient;
  #number = 0;
  readonly #random = seededRandom(3);

  private constructor(server: TestServer, imap: ImapClient) {
    this.#server = server;
    this.#imap = imap;
  }

  static async login(server: TestServer): Promise<User> {
    const imap = await ImapClient.login(server.ports.imap, `u1@${DOMAIN}`);
    return new User(server, imap);
  }

  newMessage(): Buffer {
    return ledgerMessage((this.#number += 1), 2000, this.#random);
  }

  async deliver(way: 'smtp' | 'lmtp', message = this.newMessage()): Promise<string> {
    using client = await SmtpClient.open(this.#server.ports[way], way);
    return await client.deliver({ to: [`u1@${DOMAIN}`], message }); // awaited, or `using` would cut it
  }

  async append(message = this.newMessage()): Promise<string> {
    const { status, text } = await this.#imap.append('INBOX', message);
    return `${status} ${text}`;
  }

  async command(text: string): Promise<string> {
    const answer = await this.#imap.command(text);
    return `${answer.status} ${answer.text}`;
  }

  fetch = (): Promise<string> => this.command('UID FETCH 1 (BODY.PEEK[])');

  async inbox(): Promise<Buffer[]> {
    await this.#imap.select('INBOX');
    return (await this.#imap.fetchAll()).map(({ bytes }) => bytes);
  }

  [Symbol.dispose](): void {
    this.#imap[Symbol.dispose]();
  }
}

test(
  'a disabled root key closes the mail within the cache age, loses nothing, and opens it again',
  {
    timeout: TIMEOUT_MS,
  },
  async () => {
    await Promise.all([loseAndRegain('local-keyring', localWorld), loseAndRegain('aws-kms', awsWorld)]);
  },
);

test(
  'a revoked grant does the same, at once, and a new one brings everything back',
  { timeout: TIMEOUT_MS },
  async () => {
    const aws = await awsWorld({ grantsOnly: true });
    await Promise.all([
      loseAndRegain('local-keyring grant', async () => grantWorld(await localWorld())),
      loseAndRegain('aws-kms grant', () => grantWorld(aws)),
    ]);
    expect(aws.key.grants).toHaveLength(1); // the old one is gone there too
  },
);

test(
  'aws-kms that does not answer: logins go on, mail is kept and adopted, nothing is lost',
  { timeout: TIMEOUT_MS },
  async () => {
    const { server, kms } = await awsWorld();
    using user = await User.login(server);
    const delivered = user.newMessage();
    expect(await user.deliver('lmtp', delivered)).toMatch(/^250 /);
    expect(await user.inbox()).toHaveLength(1);
    const kept: Buffer[] = [];
    for (const fault of [
      { kind: 'black-hole' },
      { kind: 'reset' },
      { kind: 'error', name: 'KMSInternalException', status: 500 },
      { kind: 'garbage' },
    ] as const) {
      kms.fault = fault;
      await untilAnswer(user.fetch, /^NO \[UNAVAILABLE\]/, CACHE_MAX_AGE_MS + 6000);
      expect([fault.kind, await user.command('NOOP')]).toEqual([fault.kind, expect.stringMatching(/^OK/)]);
      for (const way of ['smtp', 'lmtp'] as const) {
        const message = user.newMessage();
        expect([fault.kind, await user.deliver(way, message)]).toEqual([fault.kind, expect.stringMatching(/^250 /)]);
        kept.push(message);
      }
      using other = await ImapClient.open(server.ports.imap);
      const login = await other.command(`LOGIN u1@${DOMAIN} pw`); // the directory key is kept for a while
      expect([fault.kind, login.status]).toEqual([fault.kind, 'OK']);
      kms.fault = null;
      await untilAnswer(user.fetch, /^OK/, COMES_BACK_MS);
    }
    const adopted = async (): Promise<string> => String((await user.inbox()).length);
    await untilAnswer(adopted, new RegExp(`^${String(1 + kept.length)}$`), ADOPTED_WITHIN_MS); // nobody asks for it
    const inbox = await user.inbox();
    expect(inbox.map((bytes) => withoutTrace(bytes))).toEqual([delivered, ...kept]);
    for (const { operation, encryptionContext } of kms.seen.filter(
      (request) => !/DescribeKey|CreateGrant/.test(request.operation),
    )) {
      expect([operation, JSON.stringify(encryptionContext)]).toEqual([operation, expect.not.stringContaining(DOMAIN)]);
    }
  },
);

test(
  'aws-kms that does not answer: users hand in mail as before, and it can be sent afterwards',
  { timeout: TIMEOUT_MS },
  async () => {
    const { server, kms, take } = await awsWorld();
    const submit = async (to: string): Promise<string> => {
      using client = await SmtpClient.open(server.ports.submission, 'smtp');
      const login = await client.ask(`AUTH PLAIN ${Buffer.from(`\0u1@${DOMAIN}\0pw`).toString('base64')}`);
      if (!login.startsWith('235')) return login;
      const message = Buffer.from(`From: u1@${DOMAIN}\r\n\r\nhello\r\n`);
      return await client.deliver({ from: `u1@${DOMAIN}`, to: [to, `u2@${DOMAIN}`], message });
    };
    const recipients = async (): Promise<string> => {
      const { out } = await server.run(['queue', 'list', '--json']);
      const { items } = JSON.parse(out) as { items: { recipients: { address: string }[] | null }[] };
      return items.map((item) => item.recipients?.map(({ address }) => address).join() ?? 'sealed').join(' ');
    };
    expect(await submit('first@remote.test')).toMatch(/^250 /);
    kms.fault = { kind: 'reset' };
    await untilAnswer(recipients, /^sealed$/, CACHE_MAX_AGE_MS + 6000);
    expect(await submit('second@remote.test')).toMatch(/^250 /);
    expect(await recipients()).toBe('sealed sealed');
    kms.fault = null;
    await untilAnswer(recipients, /^first@remote\.test second@remote\.test$/, COMES_BACK_MS);
    await take(); // a refusal is another matter: then an operator has decided
    await untilAnswer(() => submit('third@remote.test'), /^4\d\d 4/, CACHE_MAX_AGE_MS + 6000);
  },
);

async function loseAndRegain(provider: string, world: () => Promise<World>): Promise<void> {
  const { server, refusal, take, giveBack } = await world();
  using user = await User.login(server);
  const [delivered, appended] = [user.newMessage(), user.newMessage()];
  expect(await user.deliver('smtp', delivered)).toMatch(/^250 /);
  expect(await user.append(appended)).toMatch(/^OK/);
  await user.inbox();
  expect(await user.fetch()).toMatch(/^OK/);

  await take();
  const closedMs = await untilAnswer(user.fetch, /^NO \[UNAVAILABLE\]/, CACHE_MAX_AGE_MS + 3000);
  expect(closedMs).toBeLessThan(CACHE_MAX_AGE_MS + 1000);
  expect(await user.command('NOOP')).toMatch(/^OK/); // the session stays
  expect(await user.command('LIST "" "*"')).toMatch(/^NO \[UNAVAILABLE\]/); // never a short list
  expect(await user.append()).toMatch(/^NO \[UNAVAILABLE\]/);
  expect(await user.deliver('smtp')).toMatch(/^4\d\d 4/);
  expect(await user.deliver('lmtp')).toMatch(/^4\d\d 4/);
  using other = await ImapClient.open(server.ports.imap);
  expect((await other.command(`LOGIN u1@${DOMAIN} pw`)).text).toMatch(/^\[UNAVAILABLE\]/);
  expect(await user.fetch()).toMatch(/^NO \[UNAVAILABLE\]/);

  await giveBack();
  const openMs = await untilAnswer(user.fetch, /^OK/, COMES_BACK_MS);
  const late = user.newMessage();
  expect(await user.deliver('smtp', late)).toMatch(/^250 /);
  const [first, second, third, ...more] = await user.inbox();
  expect(more).toEqual([]);
  expect(withoutTrace(first!)).toEqual(delivered);
  expect(second).toEqual(appended);
  expect(withoutTrace(third!)).toEqual(late);
  const audit = await server.run(['key', 'audit', '--limit', '1000', '--json']);
  const events = JSON.parse(audit.out) as AuditedCall[];
  expect(events.map((event) => event.errorCode)).toContain(refusal);
  const fetched = events.filter((event) => event.additionalEventData.purpose === 'fetch');
  expect(fetched.length).toBeGreaterThan(0);
  for (const { userIdentity, requestParameters } of fetched) {
    const mailbox = requestParameters.encryptionContext['sealpost:mailbox'];
    expect(userIdentity).toEqual({ type: 'Mailbox', principalId: mailbox });
  }
  const principals = new Set(events.map((event) => event.userIdentity.principalId));
  expect([...principals]).toEqual(expect.arrayContaining(['admin', 'delivery', 'login']));
  expect((await server.run(['key', 'audit', 'verify'])).code).toBe(0);
  process.stdout.write(
    `${provider}: closed ${String(closedMs)} ms after the key was taken away, open ${String(openMs)} ms after it was given back\n`,
  );
}
