/** SORT and THREAD give what Dovecot gives, over messages made to be hard to sort. Skipped where there is no Dovecot. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { imapWorld, type ImapClient } from '../protocol/imap-world.ts';
import { dovecotClient, withoutDovecot } from '../support/dovecot.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();
const reason = withoutDovecot();
const CORPUS = join(import.meta.dirname, '../../../shared/corpus');
const noCorpus = existsSync(join(CORPUS, 'index.tsv')) ? '' : ' (skipped: no corpus beside the project)';

const SORTS = [
  'ARRIVAL',
  'CC',
  'DATE',
  'FROM',
  'SIZE',
  'SUBJECT',
  'TO',
  'DISPLAYFROM',
  'DISPLAYTO',
  'REVERSE SUBJECT DATE',
];
const COMMANDS = [
  ...SORTS.map((criteria) => `SORT (${criteria}) UTF-8 ALL`),
  'UID SORT (REVERSE DATE) US-ASCII LARGER 200',
  'SORT (SUBJECT REVERSE DISPLAYFROM SIZE) UTF-8 NOT SUBJECT "a"',
  'SORT (DATE) UTF-8 SUBJECT "nothing has this"',
  ...['ORDEREDSUBJECT', 'REFERENCES', 'REFS'].flatMap((algorithm) => [
    `THREAD ${algorithm} UTF-8 ALL`,
    `UID THREAD ${algorithm} UTF-8 2:* LARGER 150`,
  ]),
];

/** A small generator of numbers: the same messages on every run. */
function* numbers(seed: number): Generator<number> {
  for (let state = seed; ;) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    yield state / 2 ** 32;
  }
}

const SUBJECTS = [
  'apple', 'Apple pie', 'RE: apple', 're : apple', 'Re[2]: apple', 'RE: [list] apple', '[list] Re: apple', '[list][x] apple',
  'Fwd: apple', 'fw: apple (fwd)', '[fwd: Re: apple]', '[Fwd: [fwd: zebra (fwd)] ]', '[only]', '[a] [b]', '', 're:', 'Re: re: FWD: mouse',
  '=?utf-8?q?=C3=84pfel?=', 'Re: =?iso-8859-1?q?=E4pfel?=', '=?utf-8?b?0LTQvtC8?=', '=?utf-8?q?=F0=9F=90=AD_mouse?=', '=?utf-8?q?=EF=BC=A1?=',
  'mouse   with\tspaces', ' mouse ', 'z', 'Zebra', '=?utf-8?q?stra=C3=9Fe?=', 'STRASSE', 'not [closed', '[[nested]] x', '(fwd)', 'a (fwd) (fwd)',
]; // prettier-ignore
const ADDRESSES = [
  'ann@example.org', 'Bob <bob@example.org>', '"zed, the" <a@b.example>', '=?utf-8?q?=C3=89mile?= <emile@example.fr>', 'team: x@y.example, z@y.example;',
  'undisclosed:;', '<no-name@example.org>', 'UPPER@EXAMPLE.ORG', '"" <empty@example.org>',
]; // prettier-ignore
const DATES = [
  'Mon, 1 Jan 2024 10:00:00 +0000', 'Mon, 1 Jan 2024 11:00:00 +0200', '1 Jan 2024 10:00:00 GMT', 'Tue, 2 Jan 2024 00:30:00 -0500', 'Tue, 02 Jan 2024 05:30:00 +0000',
  'Wed, 3 Jan 2024 10:00:00 EST', 'nonsense', '', 'Sun, 31 Dec 2023 23:59:59 +0000',
]; // prettier-ignore

function message(random: () => number, at: number): string {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const id = (): string => `<m${String(Math.floor(random() * 90))}@x.example>`;
  const lines = [`From: ${pick(ADDRESSES)}`];
  if (random() < 0.8) lines.push(`Subject: ${pick(SUBJECTS)}`);
  if (random() < 0.7) lines.push(`To: ${pick(ADDRESSES)}`);
  if (random() < 0.3) lines.push(`Cc: ${pick(ADDRESSES)}`);
  if (random() < 0.9) lines.push(`Date: ${pick(DATES)}`);
  if (random() < 0.85) lines.push(`Message-ID: ${random() < 0.2 ? id() : `<m${String(at)}@x.example>`}`);
  if (random() < 0.4)
    lines.push(`References: ${Array.from({ length: 1 + Math.floor(random() * 5) }, id).join('\r\n ')}`);
  if (random() < 0.3) lines.push(`In-Reply-To: ${random() < 0.2 ? 'your mail' : id()}`);
  return `${lines.join('\r\n')}\r\n\r\n${'text\r\n'.repeat(Math.floor(random() * 20))}`;
}

async function answers(client: ImapClient, messages: readonly string[]): Promise<ReadonlyMap<string, string>> {
  for (const [at, text] of messages.entries()) {
    const seconds = String((at * 37) % 60).padStart(2, '0');
    const minutes = String((at * 7) % 60).padStart(2, '0');
    const literal = text.includes('\0') ? '~' : '';
    const said = await client.command(
      `APPEND INBOX "03-Jan-2024 10:${minutes}:${seconds} +0000" ${literal}{${String(text.length)}+}\r\n${text}`,
    );
    expect(said.at(-1)).toMatch(/ OK /);
  }
  await client.command('SELECT INBOX');
  const found = new Map<string, string>();
  for (const command of COMMANDS) {
    const lines = await client.command(command);
    expect(lines.at(-1), command).toMatch(/ OK /);
    const data = lines.filter((line) => /^\* (?:SORT|THREAD)/.test(line)).map((line) => line.trimEnd());
    found.set(command, data.join('\n'));
  }
  return found;
}

async function compare(messages: readonly string[]): Promise<void> {
  await using world = await imapWorld(directory);
  await using dovecot = await dovecotClient();
  const ours = await answers(await world.loggedIn(), messages);
  const theirs = await answers(dovecot, messages);
  for (const command of COMMANDS) expect.soft(ours.get(command), command).toBe(theirs.get(command));
}

const COMPARED = ['date', 'subject', 'from', 'to', 'cc', 'message-id', 'references', 'in-reply-to'];

/**
 * Leaves out what Dovecot reads in another way, or not at all: dates before 1970 or past 2038, 8-bit header fields,
 * fields that are there twice, empty addresses, line ends that it would repair.
 */
function isPlain(text: string): boolean {
  const header = text.slice(0, text.search(/\r\n\r\n/));
  const count = (name: string): number => header.match(new RegExp(`^${name}[ \t]*:`, 'gim'))?.length ?? 0;
  const date = /^date:.*?(\d{4})/im.exec(header)?.[1];
  return (
    text.length < 100_000 &&
    !/[\0]|(?<!\r)\n|\r(?!\n)/.test(text) &&
    !/[^\x01-\x7f]/.test(header) &&
    COMPARED.every((name) => count(name) < 2) &&
    !header.includes('<>') &&
    date !== undefined &&
    Number(date) > 1970 &&
    Number(date) < 2038
  );
}

test.skipIf(reason !== '')(`made messages sort and thread as in Dovecot${reason}`, { timeout: 120_000 }, async () => {
  const source = numbers(7);
  const random = (): number => source.next().value as number;
  await compare(Array.from({ length: 300 }, (_, at) => message(random, at)));
});

test.skipIf(reason !== '' || noCorpus !== '')(
  `real messages sort and thread as in Dovecot${reason}${noCorpus}`,
  { timeout: 120_000 },
  async () => {
    const [, ...rows] = readFileSync(join(CORPUS, 'index.tsv'), 'utf8').trimEnd().split('\n');
    const paths = rows.map((row) => row.split('\t')[0] ?? '').filter((path) => path.startsWith('real/'));
    const texts = paths.map((path) => readFileSync(join(CORPUS, path), 'latin1'));
    const plain = texts.filter(isPlain);
    expect(plain.length).toBeGreaterThan(250);
    await compare(plain);
  },
);
