import { expect, test } from 'vitest';
import { imapWorld, type ImapClient } from '../protocol/imap-world.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();

async function valueOf(client: ImapClient, command: string, name: string): Promise<string> {
  const lines = await client.command(command);
  const found = new RegExp(`${name} \\(([\\w-]+)\\)`).exec(lines.join('\n'))?.[1];
  expect(found, lines.join('\n')).toMatch(/^[\w-]{1,255}$/);
  return found!;
}

/** RFC 8474 §4, §5. */
test('ids of folders, messages and threads outlast renames, copies, moves and reconnections', async () => {
  await using world = await imapWorld(directory);
  const { name } = await world.addUser();
  const client = await world.loggedIn(name);
  const folder = await valueOf(client, 'CREATE one', 'MAILBOXID');
  await client.append('one', 'Message-ID: <1@x>\r\n\r\nfirst');
  await client.append('one', 'Message-ID: <2@x>\r\nIn-Reply-To: <1@x>\r\n\r\nsecond');
  await client.append('one', 'Message-ID: <3@x>\r\nReferences: <1@x> <2@x>\r\n\r\nthird');
  await client.append('one', 'Message-ID: <4@x>\r\n\r\nother');
  expect(await valueOf(client, 'SELECT one', 'MAILBOXID')).toBe(folder);
  const emails: string[] = [];
  for (const n of [1, 2, 3, 4]) emails.push(await valueOf(client, `FETCH ${String(n)} EMAILID`, 'EMAILID'));
  expect(new Set(emails).size).toBe(4);
  const threads: string[] = [];
  for (const n of [1, 2, 3, 4]) threads.push(await valueOf(client, `FETCH ${String(n)} THREADID`, 'THREADID'));
  expect(threads.slice(0, 3)).toEqual([threads[0], threads[0], threads[0]]);
  expect(threads[3]).not.toBe(threads[0]);
  expect(await client.command(`SEARCH EMAILID ${emails[1]!}`)).toContain('* SEARCH 2');
  expect(await client.command(`SEARCH THREADID ${threads[0]!} LARGER 10`)).toContain('* SEARCH 1 2 3');
  expect(await client.command(`SEARCH NOT THREADID ${threads[0]!}`)).toContain('* SEARCH 4');
  expect(await client.command(`SEARCH EMAILID ${emails[1]!.toUpperCase()}`)).toContain('* SEARCH');

  await client.command('RENAME one two');
  await client.command('MOVE 2 INBOX');
  await client.command('COPY 1 INBOX');
  const again = await world.loggedIn(name);
  expect(await valueOf(again, 'STATUS two (MAILBOXID)', 'MAILBOXID')).toBe(folder);
  expect(await valueOf(again, 'CREATE one', 'MAILBOXID')).not.toBe(folder);
  expect(await valueOf(again, 'SELECT INBOX', 'MAILBOXID')).not.toBe(folder);
  expect(await valueOf(again, 'FETCH 1 EMAILID', 'EMAILID')).toBe(emails[1]);
  expect(await valueOf(again, 'FETCH 2 EMAILID', 'EMAILID')).toBe(emails[0]);
  expect(await valueOf(again, 'FETCH 1 THREADID', 'THREADID')).toBe(threads[0]);
});

test('F3 a message is flagged as seen once it was sent, and no other', async () => {
  await using world = await imapWorld(directory);
  const { name } = await world.addUser();
  const client = await world.loggedIn(name);
  for (let n = 0; n < 5; n += 1) await client.append('INBOX', `Subject: ${String(n)}\r\n\r\n${'x'.repeat(3_000_000)}`);
  await client.command('SELECT INBOX');
  client.socket.pause();
  client.send('slow FETCH 1:5 (FLAGS BODY[])\r\n');
  const other = await world.loggedIn(name);
  await other.command('SELECT INBOX');
  let seen: string | undefined;
  do {
    await new Promise((resolve) => setTimeout(resolve, 20));
    await other.command('NOOP');
    seen = (await other.command('SEARCH SEEN')).find((line) => line.startsWith('* SEARCH'));
  } while (seen === '* SEARCH');
  expect(seen).not.toContain('5'); // it waits behind what the client does not take
  client.socket.resume();
  const lines = await client.until('slow');
  expect(lines.filter((line) => line.endsWith(' FLAGS (\\Seen))'))).toHaveLength(5);
  expect(await other.command('NOOP')).toContain('* 5 FETCH (UID 5 FLAGS (\\Seen))');
});
