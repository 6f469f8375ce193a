import { expect, test } from 'vitest';
import { imapWorld } from '../protocol/imap-world.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();
const untagged = (lines: readonly string[]): readonly string[] => lines.filter((line) => line.startsWith('* '));

test('a session that is open while the key of its mailbox is rotated notices nothing', async () => {
  await using world = await imapWorld(directory);
  const { name, ref } = await world.addUser();
  const client = await world.loggedIn(name);
  for (let n = 0; n < 40; n += 1) {
    await client.append('INBOX', `Subject: number ${String(n)}\r\n\r\nbody ${String(n)}\r\n`, '($Label Kept) ');
  }
  await client.command('CREATE Projects/One');
  await client.command('SELECT INBOX (CONDSTORE)');
  const idler = await world.loggedIn(name);
  await idler.command('SELECT INBOX');
  const commands = [
    'UID FETCH 1:* (FLAGS MODSEQ ENVELOPE BODY.PEEK[])',
    'LIST "" *',
    'LSUB "" *',
    'STATUS Projects/One (MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ)',
    'STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)',
    'UID SEARCH KEYWORD kept TEXT "body 17"',
  ];
  const answers = async (): Promise<(readonly string[])[]> => {
    const all = [];
    for (const command of commands) all.push(untagged(await client.command(command)));
    return all;
  };
  const before = await answers();
  expect(before.every((lines) => lines.length > 0)).toBe(true);

  using mailbox = await world.mailboxes.open(ref);
  let during: (readonly string[])[] = [];
  const asked = answers().then((lines) => (during = lines));
  for (let times = 0; times < 3; times += 1) {
    const rootKey = { provider: 'local-keyring', rootKey: 'local:default' } as const;
    await mailbox.rotateKey({ rootKey, onProgress: () => undefined });
  }
  await asked;
  expect(during).toEqual(before);
  world.mailboxes.advance(61_000);
  expect(await answers()).toEqual(before);
  expect(untagged(await idler.command('NOOP'))).toEqual([]);
  expect(await client.command('UID STORE 1 +FLAGS (KEPT $LABEL)')).not.toContainEqual(
    expect.stringMatching(/ (NO|BAD) /),
  );
  expect(untagged(await client.command('UID FETCH 1 (FLAGS)'))).toEqual(
    expect.arrayContaining([expect.stringMatching(/FLAGS \(\$Label Kept\)/)]),
  );
  expect(world.log.filter((line) => line.startsWith('error'))).toEqual([]);
});
