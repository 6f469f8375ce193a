/** A full round trip with a client library that many programs use. */
import { ImapFlow } from 'imapflow';
import { expect, test } from 'vitest';
import { ledgerMessage, seededRandom } from '../support/ledger.ts';
import { DOMAIN, TestServer } from '../support/server.ts';
import { SmtpClient } from '../support/wire.ts';

type Quotas = Readonly<Record<string, Readonly<{ usage: number; limit: number }> | undefined>>;

const FOLDER = 'Projekte/Größe & Co';

test(
  'imapflow: log in by TLS and STARTTLS, folders, append, fetch, search, flags, copy, move, idle',
  {
    timeout: 60_000,
  },
  async () => {
    const server = await TestServer.start({ users: 1 });
    const client = clientOf(server.ports.imaps, true);
    await client.connect();
    expect((await client.list()).map(({ path }) => path)).toContain('INBOX');
    expect(await client.mailboxCreate(FOLDER)).toMatchObject({ path: FOLDER, created: true });
    await client.mailboxSubscribe(FOLDER);
    const random = seededRandom(9);
    const messages = [1, 2, 3].map((number) => ledgerMessage(number, 40_000 * number, random));
    for (const [index, message] of messages.entries()) {
      const appended = await client.append(FOLDER, message, index === 0 ? ['\\Seen', '$Label'] : [], new Date(1e12));
      expect(appended).toMatchObject({ uid: index + 1 });
    }
    const lock = await client.getMailboxLock(FOLDER);
    try {
      const all = await client.fetchAll('1:*', {
        uid: true,
        flags: true,
        source: true,
        envelope: true,
        bodyStructure: true,
        internalDate: true,
      });
      expect(all.map(({ source }) => source)).toEqual(messages);
      expect(all[0]?.flags).toEqual(new Set(['\\Seen', '$Label']));
      expect(all[1]?.envelope?.subject).toBe('message 2');
      expect(new Date(all[2]?.internalDate ?? 0).getTime()).toBe(1e12);
      expect(await client.search({ subject: 'message 3' }, { uid: true })).toEqual([3]);
      expect(await client.search({ keyword: '$Label' }, { uid: true })).toEqual([1]);
      expect(await client.search({ header: { 'X-Ledger': '2' } }, { uid: true })).toEqual([2]);
      const part = await client.download('2', undefined, { uid: true });
      expect(Buffer.concat((await part.content!.toArray()) as Buffer[])).toEqual(messages[1]);
      await client.messageFlagsAdd('2', ['\\Flagged', '\\Answered'], { uid: true });
      expect(await client.search({ flagged: true, answered: true }, { uid: true })).toEqual([2]);
      expect(await client.messageCopy('1:2', 'INBOX', { uid: true })).toMatchObject({
        uidMap: new Map([
          [1, 1],
          [2, 2],
        ]),
      });
      expect(await client.messageMove('3', 'INBOX', { uid: true })).toMatchObject({ uidMap: new Map([[3, 3]]) });
      await client.messageDelete('1', { uid: true });
      expect(await client.search({ all: true }, { uid: true })).toEqual([2]);
    } finally {
      lock.release();
    }
    expect((await server.run(['mailbox', 'quota', `u1@${DOMAIN}`, '--size', '1G', '--messages', '1000'])).code).toBe(0);
    const { storage, message: counted } = (await client.getQuota('INBOX')) as unknown as Quotas;
    expect(storage?.limit).toBe(2 ** 30);
    expect(storage?.usage).toBeGreaterThan(200_000);
    expect(counted).toMatchObject({ limit: 1000 });
    expect(await client.status('INBOX', { messages: true, unseen: true, uidNext: true })).toMatchObject({
      messages: 3,
      unseen: 2,
      uidNext: 4,
    });
    expect(await client.mailboxRename(FOLDER, 'Archiv 日本')).toMatchObject({ newPath: 'Archiv 日本' });

    await client.mailboxOpen('INBOX');
    const arrived = new Promise((resolve) => client.once('exists', resolve));
    const idling = client.idle();
    using smtp = await SmtpClient.open(server.ports.smtp, 'smtp');
    expect(await smtp.deliver({ to: [`u1@${DOMAIN}`], message: messages[0]! })).toMatch(/^250 /);
    expect(await arrived).toMatchObject({ count: 4, prevCount: 3 });
    await client.noop();
    await idling;
    expect(await client.mailboxDelete('Archiv 日本')).toMatchObject({ path: 'Archiv 日本' });
    await client.logout();

    const upgraded = clientOf(server.ports.imap, false);
    await upgraded.connect();
    expect(upgraded.secureConnection).toBe(true);
    const { exists } = await upgraded.mailboxOpen('INBOX');
    expect(exists).toBe(4);
    await upgraded.logout();
    await expect(clientOf(server.ports.imaps, true, 'wrong').connect()).rejects.toThrow();
  },
);

function clientOf(port: number, secure: boolean, pass = 'pw'): ImapFlow {
  const auth = { user: `u1@${DOMAIN}`, pass };
  return new ImapFlow({ host: '127.0.0.1', port, secure, auth, logger: false, tls: { rejectUnauthorized: false } });
}
