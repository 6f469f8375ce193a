/** Imports by the command line, into a real mailbox over the admin socket: invariants of mailbox/imports.ts and importer.ts. */
import { createHash } from 'node:crypto';
import { createWriteStream, mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import yazl from 'yazl';
import type { ImportReport } from '../../src/admin/import-report.ts';
import { openAdmin, type AdminFixture } from './fixture.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const ADDRESS = 'ann@example.org';
const directory = temporaryDirectory();
let admin: AdminFixture;
beforeEach(async () => {
  admin = await openAdmin();
  onTestFinished(() => admin[Symbol.asyncDispose]());
  for (const line of ['org create Acme', 'domain create example.org', `mailbox create ${ADDRESS} --no-password`]) {
    await admin.json(line);
  }
});

type Found = { folder: string; subject: string; sha256: string; flags: readonly string[]; date: string };

async function contents(address = ADDRESS): Promise<Found[]> {
  const { ref } = await admin.base.accounts.mailboxes.require(address);
  using mailbox = await admin.mailboxes.open(ref, { protocol: 'test' });
  const found: Found[] = [];
  for (const folder of await mailbox.folders()) {
    for await (const batch of mailbox.messages(folder.id, [{ first: 1, last: 0xffff_ffff }])) {
      for (const message of batch) {
        const bytes = await message.bytes(0, message.row.sizeBytes);
        found.push({
          folder: folder.name,
          subject: /^Subject: (.*)\r$/m.exec(bytes.toString())?.[1] ?? '',
          sha256: createHash('sha256').update(bytes).digest('hex'),
          flags: message.row.flags,
          date: new Date(message.summary.internalDate.atMs).toISOString(),
        });
      }
    }
  }
  return found;
}

function mail(subject: string, extra = ''): string {
  return `Received: by b; Mon, 1 Jan 2024 10:00:00 +0000\r\nSubject: ${subject}\r\n${extra}\r\nbody of ${subject}\r\n`;
}

async function zipOf(files: Readonly<Record<string, string | Buffer>>): Promise<string> {
  const zip = new yazl.ZipFile();
  for (const [name, content] of Object.entries(files)) zip.addBuffer(Buffer.from(content), name);
  zip.end();
  const file = join(directory, `${String(Math.random()).slice(2)}.zip`);
  await pipeline(zip.outputStream, createWriteStream(file));
  return file;
}

const summed = (report: ImportReport) =>
  report.folders.reduce(
    (sum, it) => ({
      source: sum.source + it.sourceCount,
      stored: sum.stored + it.storedCount,
      known: sum.known + it.knownCount,
      equal: sum.equal + it.equalCount,
    }),
    { source: 0, stored: 0, known: 0, equal: 0 },
  );

test('IM1 IM2 a WorkMail export: folders by their use, equal copies kept, and running it again adds nothing', async () => {
  const zip = await zipOf({
    'export/Inbox/1.eml': mail('one'),
    'export/Inbox/2.eml': mail('same'),
    'export/Inbox/3.eml': mail('same'),
    'export/Sent Items/1.eml': mail('sent').replaceAll('\r\n', '\n'),
    'export/Deleted Items/Old/1': mail('deleted'),
    'export/Projekte/Süd/1.eml': mail('south'),
    'export/calendar.ics': 'BEGIN:VCALENDAR\r\n',
  });
  const first = await admin.json<ImportReport>(`import workmail ${ADDRESS} ${zip}`);
  expect(summed(first)).toEqual({ source: 6, stored: 6, known: 0, equal: 6 });
  expect(first.skipped).toEqual([{ where: 'export/calendar.ics', reason: 'it is no mail' }]);
  const found = await contents();
  expect(found.map(({ folder, subject }) => `${folder}: ${subject}`).sort()).toEqual([
    'INBOX: one',
    'INBOX: same',
    'INBOX: same',
    'Projekte/Süd: south',
    'Sent: sent',
    'Trash/Old: deleted',
  ]);
  expect(found.find(({ subject }) => subject === 'sent')?.sha256).toBe(
    createHash('sha256').update(mail('sent')).digest('hex'),
  );
  expect(new Set(found.map(({ date }) => date))).toEqual(new Set(['2024-01-01T10:00:00.000Z']));
  const again = await admin.json<ImportReport>(`import workmail ${ADDRESS} ${zip}`);
  expect(summed(again)).toEqual({ source: 6, stored: 0, known: 6, equal: 6 });
  expect(await contents()).toEqual(found);
});

test('IM2 a third equal copy is one more; IM3 what the user moved or deleted stays so', async () => {
  const first = await zipOf({ 'Inbox/1.eml': mail('same'), 'Inbox/2.eml': mail('same'), 'Inbox/3.eml': mail('other') });
  await admin.json(`import eml ${ADDRESS} ${first}`);
  const { ref } = await admin.base.accounts.mailboxes.require(ADDRESS);
  {
    using mailbox = await admin.mailboxes.open(ref, { protocol: 'test' });
    const [inbox, trash] = [await mailbox.folder('INBOX'), await mailbox.folder('Trash')];
    if (!inbox || !trash) throw new Error('no folder');
    await mailbox.move({ source: inbox.id, target: trash.id, ranges: [{ first: 3, last: 3 }] });
  }
  const second = await zipOf({
    'Inbox/a.eml': mail('same'),
    'Inbox/b.eml': mail('other'),
    'Inbox/c.eml': mail('same'),
    'Inbox/d.eml': mail('same'),
  });
  const report = await admin.json<ImportReport>(`import eml ${ADDRESS} ${second}`);
  expect(report.folders).toMatchObject([
    { folder: 'INBOX', storedCount: 1, knownCount: 3, equalCount: 3, goneCount: 1 },
  ]);
  expect((await contents()).map(({ folder, subject }) => `${folder}: ${subject}`).sort()).toEqual([
    'INBOX: same',
    'INBOX: same',
    'INBOX: same',
    'Trash: other',
  ]);
});

test('IM1 what was imported is known after the key of the mailbox was rotated, and no more once it is forgotten', async () => {
  const zip = await zipOf({ 'Inbox/1.eml': mail('one'), 'Inbox/2.eml': mail('two') });
  await admin.json(`import eml ${ADDRESS} ${zip}`);
  expect((await admin.run(`key rotate ${ADDRESS}`)).code).toBe(0);
  expect(summed(await admin.json<ImportReport>(`import eml ${ADDRESS} ${zip}`))).toMatchObject({
    stored: 0,
    known: 2,
    equal: 2,
  });
  expect(await admin.json(`import forget ${ADDRESS}`)).toEqual({ address: ADDRESS, forgottenCount: 2 });
  expect(summed(await admin.json<ImportReport>(`import eml ${ADDRESS} ${zip}`))).toMatchObject({ stored: 2, known: 0 });
});

test('a dry run stores nothing, makes no folder, and says what would be done', async () => {
  const zip = await zipOf({ 'Inbox/1.eml': mail('one'), 'New/2.eml': mail('two') });
  const report = await admin.json<ImportReport>(`import eml ${ADDRESS} ${zip} --dry-run`);
  expect(report).toMatchObject({ isDryRun: true });
  expect(report.folders.map(({ folder, storedCount }) => [folder, storedCount])).toEqual([
    ['INBOX', 1],
    ['New', 1],
  ]);
  expect(await contents()).toEqual([]);
  const { ref } = await admin.base.accounts.mailboxes.require(ADDRESS);
  using mailbox = await admin.mailboxes.open(ref, { protocol: 'test' });
  expect(await mailbox.folder('New')).toBeNull();
});

test('MI4 what is bad is named with its reason, costs no other message, and makes the command fail', async () => {
  const zip = await zipOf({
    'Inbox/1.eml': mail('one'),
    'Inbox/2.eml': '',
    'Inbox/3.eml': Buffer.of(0, 1, 2),
    'Inbox/4.eml': mail('four'),
  });
  const { code, out, error } = await admin.run(`import eml ${ADDRESS} ${zip}`);
  expect(code).toBe(1);
  expect(error).toContain('2 messages could not be taken');
  expect(out).toContain('Inbox/2.eml could not be taken: it is empty');
  expect(out).toContain('Inbox/3.eml could not be taken: it is no text');
  expect((await contents()).map(({ subject }) => subject)).toEqual(['one', 'four']);
});

test('a zip that is damaged is told apart from its good messages; a file that is none is refused', async () => {
  const { readFileSync } = await import('node:fs');
  const zip = await zipOf({ 'Inbox/1.eml': mail('one'), 'Inbox/2.eml': mail('two', `X: ${'y'.repeat(500)}\r\n`) });
  const bytes = readFileSync(zip);
  bytes.fill(
    0xff,
    bytes.lastIndexOf('Inbox/2.eml', bytes.length - 200) + 20,
    bytes.lastIndexOf('Inbox/2.eml', bytes.length - 200) + 25,
  );
  writeFileSync(zip, bytes);
  const { code, out } = await admin.run(`import eml ${ADDRESS} ${zip} --json`);
  const report = JSON.parse(out) as ImportReport;
  expect([code, report.badCount]).toEqual([1, 1]);
  expect(report.faults[0]?.reason).toContain('damaged in the zip');
  const plain = join(directory, 'plain.txt');
  writeFileSync(plain, 'no zip');
  expect((await admin.run(`import workmail ${ADDRESS} ${plain}`)).error).toContain('is no zip that can be read');
});

test('a Maildir with its folders, flags, keywords and dates', async () => {
  const top = join(directory, 'Maildir');
  const add = (folder: string, part: string, name: string, subject: string): void => {
    for (const each of ['cur', 'new', 'tmp']) mkdirSync(join(top, folder, each), { recursive: true });
    const file = join(top, folder, part, name);
    writeFileSync(file, mail(subject).replaceAll('\r\n', '\n'));
    utimesSync(file, 1_600_000_000, 1_600_000_000);
  };
  add('', 'cur', '1600000002.M1P1.host,S=9:2,FSa', 'second');
  add('', 'cur', '1600000001.M1P1.host:2,RT', 'first');
  add('', 'new', '1600000003.M1P1.host', 'third');
  add('.Entw&APw-rfe.Sub', 'cur', '1600000001.M2P1.host:2,DP', 'draft');
  writeFileSync(join(top, 'dovecot-keywords'), '0 $Work\n1 NonJunk\n');
  const report = await admin.json<ImportReport>(`import maildir ${ADDRESS} ${top}`);
  expect(summed(report)).toEqual({ source: 4, stored: 4, known: 0, equal: 4 });
  const found = await contents();
  expect(found.map(({ folder, subject, flags }) => [folder, subject, [...flags].sort().join(' ')])).toEqual([
    ['Drafts/Sub', 'draft', '$Forwarded \\Draft'],
    ['INBOX', 'first', '\\Answered \\Deleted'],
    ['INBOX', 'second', '$Work \\Flagged \\Seen'],
    ['INBOX', 'third', ''],
  ]);
  expect(new Set(found.map(({ date }) => date))).toEqual(new Set(['2020-09-13T12:26:40.000Z']));
});

test('an mbox of Google Takeout: labels become folders, flags and keywords', async () => {
  const file = join(directory, 'All mail.mbox');
  const labelled = (labels: string, subject: string): string =>
    `From 17@xxx Fri Sep 05 14:03:11 +0000 2025\n${mail(subject, `X-Gmail-Labels: ${labels}\r\n`)}>From quoted\r\n\r\n`;
  writeFileSync(
    file,
    labelled('Inbox,Opened,Work', 'in') +
      labelled('Sent,Opened', 'out') +
      labelled('Trips/Rome,Unread,Starred', 'rome') +
      labelled('Spam,Unread', 'spam'),
  );
  const report = await admin.json<ImportReport>(`import mbox ${ADDRESS} "${file}"`);
  expect(summed(report)).toEqual({ source: 4, stored: 4, known: 0, equal: 4 });
  const found = await contents();
  expect(found.map(({ folder, subject, flags }) => [folder, subject, [...flags].sort().join(' ')])).toEqual([
    ['INBOX', 'in', 'Work \\Seen'],
    ['Junk', 'spam', ''],
    ['Sent', 'out', '\\Seen'],
    ['Trips/Rome', 'rome', '\\Flagged'],
  ]);
  expect(found[0]?.date).toBe('2025-09-05T14:03:11.000Z');
});

test('a full mailbox ends the import with the reason; with more room it goes on where it was', async () => {
  const files = Object.fromEntries(
    Array.from({ length: 450 }, (_, at) => [`Inbox/${String(at)}.eml`, mail(`number ${String(at)}`)]),
  );
  const zip = await zipOf(files);
  await admin.json(`mailbox quota ${ADDRESS} --messages 300`);
  const { code, error } = await admin.run(`import eml ${ADDRESS} ${zip}`);
  expect([code, error.includes('full')]).toEqual([1, true]);
  const before = await contents();
  expect(before.length).toBeGreaterThan(0);
  expect(before.length).toBeLessThanOrEqual(300);
  await admin.json(`mailbox quota ${ADDRESS} --messages none`);
  const report = await admin.json<ImportReport>(`import eml ${ADDRESS} ${zip}`);
  expect(summed(report)).toEqual({ source: 450, stored: 450 - before.length, known: before.length, equal: 450 });
  expect((await contents()).map(({ subject }) => subject)).toEqual(
    Object.keys(files).map((_, at) => `number ${String(at)}`),
  );
});

test('nothing of what is imported is logged, and wrong options are told before anything is read', async () => {
  const zip = await zipOf({ 'Inbox/1.eml': mail('canarysubject'), 'canaryfolder/1.eml': mail('x') });
  await admin.json(`import eml ${ADDRESS} ${zip}`);
  expect(admin.logged.join('\n')).not.toMatch(/canary/);
  expect((await admin.run(`import eml ${ADDRESS} ${zip} --map nonsense`)).error).toContain('Not SOURCE=TARGET');
  expect((await admin.run(`import eml nobody@example.org ${zip}`)).code).toBe(1);
  expect((await admin.run(`import eml ${ADDRESS} /nonexistent`)).error).toContain('cannot be read');
});
