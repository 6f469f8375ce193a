import { expect, test } from 'vitest';
import { imapWorld } from '../protocol/imap-world.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();
const TEXT = `Subject: x\r\n\r\n${'y'.repeat(1986)}`; // 2,000 bytes

test('RFC 9208: quota roots, resources, OVERQUOTA, and what STATUS says of deleted messages', async () => {
  await using world = await imapWorld(directory);
  const { name } = await world.addUser();
  const client = await world.loggedIn(name);
  const said = async (command: string): Promise<string> => (await client.command(command)).join('\n');
  expect(await said('CAPABILITY')).toMatch(/ QUOTA QUOTA=RES-STORAGE QUOTA=RES-MESSAGE /);
  expect(await said('GETQUOTAROOT INBOX')).toMatch(/^\* QUOTAROOT INBOX\n\S+ OK /);
  expect(await said('GETQUOTA ""')).toMatch(/^\S+ NO \[NONEXISTENT\]/);
  expect(await said('GETQUOTAROOT Nothing')).toMatch(/^\S+ NO \[NONEXISTENT\]/);

  world.mailboxes.limit({ maxBytes: 5 * 1024, maxMessagesCount: null });
  expect(await said('GETQUOTAROOT "Archive"')).toMatch(
    /^\* QUOTAROOT Archive ""\n\* QUOTA "" \(STORAGE 0 5\)\n\S+ OK /,
  );
  for (const expected of [/ OK /, / OK /, / NO \[OVERQUOTA\] /]) {
    expect((await client.append('INBOX', TEXT)).at(-1)).toMatch(expected);
  }
  world.mailboxes.limit({ maxBytes: 5 * 1024, maxMessagesCount: 2 });
  expect(await said('GETQUOTA ""')).toMatch(/^\* QUOTA "" \(STORAGE 4 5 MESSAGE 2 2\)\n\S+ OK /);
  expect(await said('GETQUOTA other')).toMatch(/^\S+ NO \[NONEXISTENT\]/);
  expect(await said('SETQUOTA "" (STORAGE 100)')).toMatch(/^\S+ BAD /);
  for (const bad of ['GETQUOTA', 'GETQUOTA "" x', 'GETQUOTAROOT', 'GETQUOTAROOT ""x']) {
    expect([bad, await said(bad)]).toEqual([bad, expect.stringMatching(/^\S+ BAD /)]);
  }

  expect(await said('SELECT INBOX')).toMatch(/ OK /);
  expect(await said('UID COPY 1 Archive')).toMatch(/ NO \[OVERQUOTA\] /);
  expect(await said('UID STORE 1 +FLAGS (\\Deleted)')).toMatch(/ OK /);
  const status = 'STATUS INBOX (MESSAGES DELETED DELETED-STORAGE SIZE)';
  expect(await said(status)).toContain('(MESSAGES 2 DELETED 1 DELETED-STORAGE 2000 SIZE 4000)');
  expect(await said('UID MOVE 2 Archive')).toMatch(/ OK /);
  expect(await said('EXPUNGE')).toMatch(/ OK /);
  expect(await said(status)).toContain('(MESSAGES 0 DELETED 0 DELETED-STORAGE 0 SIZE 0)');
  expect((await client.append('INBOX', TEXT)).at(-1)).toMatch(/ OK /);
});
