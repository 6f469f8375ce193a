/** MO1 MO2 Exports by the command line, and importing them again into another mailbox: the same bytes, flags and folders. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import type { ImportReport } from '../../src/admin/import-report.ts';
import { appendTo } from '../support/messages.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { openAdmin, type AdminFixture } from './fixture.ts';

const directory = temporaryDirectory();
let admin: AdminFixture;
beforeEach(async () => {
  admin = await openAdmin();
  onTestFinished(() => admin[Symbol.asyncDispose]());
  await admin.json('org create Acme');
  await admin.json('domain create example.org');
  for (const local of ['ann', 'bob']) await admin.json(`mailbox create ${local}@example.org --no-password`);
});

const head = 'Subject: s\r\nMessage-ID: <a@b>\r\n';
/** What formats of files have trouble with. */
const MESSAGES: readonly (readonly [folder: string, text: string, flags: readonly string[]])[] = [
  ['INBOX', `${head}\r\nplain\r\n`, []],
  ['INBOX', `${head}\r\nplain\r\n`, ['\\Seen']], // an equal copy
  ['INBOX', `${head}\r\nno line end`, ['\\Flagged', '\\Answered']],
  ['INBOX', `${head}\r\nblank lines at the end\r\n\r\n\r\n`, ['\\Seen', '$Label', 'work,later']],
  ['INBOX', `${head}\r\nFrom the top\r\n>From quoted\r\n\r\nFrom a@b Mon Sep 12 10:00:00 2022\r\nmore\r\n`, []],
  ['INBOX', `${head}\r\nbare LF\nand CR\rFrom here\r\n\nFrom a@b Mon Sep 12 10:00:00 2022\n`, ['$Forwarded']],
  ['INBOX', `${head}\r\n`, ['\\Draft', '\\Deleted']],
  ['Work.2024/Ärger & Co', `${head}Content-Type: text/plain; charset=latin1\r\n\r\n\u00e4\u00ff\r\n`, ['\\Seen']],
  ['Sent', `Status: RO\r\nX-Status: F\r\n${head}\r\nown Status fields\r\n`, []],
];
const AT_MS = Date.UTC(2023, 5, 7, 8, 9, 10);

async function fill(): Promise<void> {
  const { ref } = await admin.base.accounts.mailboxes.require('ann@example.org');
  using mailbox = await admin.mailboxes.open(ref, { protocol: 'test' });
  for (const [at, [name, text, flags]] of MESSAGES.entries()) {
    const folder = (await mailbox.folder(name)) ?? (await mailbox.createFolder({ name }));
    await appendTo(mailbox, folder.id, Buffer.from(text, 'latin1'), { flags, atMs: AT_MS + at * 1000 });
  }
}

async function contents(address: string): Promise<string[]> {
  const { ref } = await admin.base.accounts.mailboxes.require(address);
  using mailbox = await admin.mailboxes.open(ref, { protocol: 'test' });
  const found: string[] = [];
  for (const folder of await mailbox.folders()) {
    for await (const batch of mailbox.messages(folder.id, [{ first: 1, last: 0xffff_ffff }])) {
      for (const message of batch) {
        const bytes = await message.bytes(0, message.row.sizeBytes);
        const date = new Date(message.summary.internalDate.atMs).toISOString();
        found.push(
          [folder.name, createHash('sha256').update(bytes).digest('hex'), date, ...[...message.row.flags].sort()].join(
            ' ',
          ),
        );
      }
    }
  }
  return found.sort();
}

test.for(['mbox', 'maildir', 'eml'] as const)('MO1 MO2 %s and back again', async (format) => {
  await fill();
  const path = join(directory, `${format}-out`);
  const { code, error } = await admin.run(`export ${format} ann@example.org ${path}`);
  expect([code, error]).toEqual([0, `This writes the mail in plaintext, readable to whoever can read ${path}.\n`]);
  const files = statSync(path).isDirectory()
    ? readdirSync(path, { recursive: true, withFileTypes: true }).map((entry) => join(entry.parentPath, entry.name))
    : [path];
  for (const file of files) expect([file, statSync(file).mode & 0o077]).toEqual([file, 0]);
  const again = await admin.run(`export ${format} ann@example.org ${path}`);
  expect([again.code, again.error.includes('exists already')]).toEqual([1, true]);
  const report = await admin.json<ImportReport>(`import ${format} bob@example.org ${path}`);
  expect(report).toMatchObject({ badCount: 0, skippedCount: 0 });
  const [there, here] = [await contents('ann@example.org'), await contents('bob@example.org')];
  if (format === 'mbox') {
    // fields of the message's own count as flags, too: that is what they say
    expect(here.map((line) => (line.startsWith('Sent ') ? line.replace(/ \\.*$/, '') : line))).toEqual(there);
  } else if (format === 'maildir') {
    expect(here.map((line) => line.replace('Work_2024', 'Work.2024')).sort()).toEqual(there);
  } else {
    // names of files hold system flags; the date is that of the message
    const plain = (line: string): string =>
      line.replace(/ [$a-z][\w,]*$/gi, '').replaceAll(/ 20\S+Z| \$Label| work,later/g, '');
    expect(here.map(plain)).toEqual(there.map(plain));
  }
  expect(there).toHaveLength(MESSAGES.length);
});

test('an export of one folder, its digest, and one that cannot be written', async () => {
  await fill();
  const path = join(directory, 'one');
  const report = await admin.json<{ folders: { folder: string; messagesCount: number; sha256: string }[] }>(
    `export mbox ann@example.org ${path} --folder Sent`,
  );
  const sent = Buffer.from(MESSAGES.at(-1)?.[1] ?? '', 'latin1');
  const hash = createHash('sha256').update(sent).digest('hex');
  expect(report.folders).toEqual([
    {
      folder: 'Sent',
      messagesCount: 1,
      sizeBytes: sent.length,
      writtenCount: 1,
      sha256: createHash('sha256').update(hash).digest('hex'),
    },
  ]);
  expect(readFileSync(join(path, 'Sent.mbox'), 'latin1')).toContain('own Status fields\n');
  expect((await admin.run(`export mbox ann@example.org ${path}2 --folder None`)).code).not.toBe(0);
  expect(existsSync(`${path}2`)).toBe(false);
  expect((await admin.run(`export eml ann@example.org /nonexistent/x.zip`)).error).toContain(
    'cannot be written (ENOENT)',
  );
});
