/**
 * Real and hostile mail through the running server: in by LMTP and by APPEND, out by FETCH, byte for byte; and the
 * answers to FETCH compared with those of another server. Skipped where the corpus is not at hand.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { digestOf } from '../support/ledger.ts';
import { DOMAIN, ROOT, TestServer } from '../support/server.ts';
import { type Fetched, ImapClient, SmtpClient, withoutTrace } from '../support/wire.ts';

type CorpusMessage = Readonly<{ path: string; bytes: Buffer }>;

const CORPUS = join(ROOT, '../shared/corpus');
const missing = existsSync(join(CORPUS, 'index.tsv')) ? '' : ' (skipped: no corpus beside the project)';
const noPython = spawnSync('python3', ['--version']).error ? ' (skipped: no python3)' : '';
const TIMEOUT_MS = 180_000;

function corpus(): CorpusMessage[] {
  const [, ...rows] = readFileSync(join(CORPUS, 'index.tsv'), 'utf8').trimEnd().split('\n');
  return rows.map((row) => {
    const [path = ''] = row.split('\t');
    return { path, bytes: readFileSync(join(CORPUS, path)) };
  });
}

/** What may arrive by LMTP: the client ends the last line, then every bare CR or LF becomes CRLF, and CRCRLF one. */
function onTheWire({ bytes }: CorpusMessage): Buffer {
  const text = bytes.toString('latin1');
  const ended = text === '' || text.endsWith('\r\n') ? text : `${text}\r\n`;
  return Buffer.from(ended.replaceAll(/\r?\r\n|\r|\n/g, '\r\n'), 'latin1');
}

function differing(
  sent: readonly CorpusMessage[],
  fetched: readonly Fetched[],
  expected: (of: CorpusMessage) => Buffer,
) {
  return sent.filter((message, index) => !fetched[index]?.bytes.equals(expected(message))).map(({ path }) => path);
}

test.skipIf(missing !== '')(`every message over LMTP and back${missing}`, { timeout: TIMEOUT_MS }, async () => {
  const server = await TestServer.start();
  const messages = corpus();
  expect(messages.length).toBeGreaterThan(800);
  using client = await SmtpClient.open(server.ports.lmtp, 'lmtp');
  const accepted: CorpusMessage[] = [];
  const refused: string[] = [];
  for (const message of messages) {
    const reply = await client.deliver({ to: [`u1@${DOMAIN}`], message: message.bytes });
    if (reply.startsWith('250')) accepted.push(message);
    else refused.push(`${message.path}: ${reply}`);
  }
  using imap = await ImapClient.login(server.ports.imap, `u1@${DOMAIN}`);
  expect((await imap.select('INBOX')).exists).toBe(accepted.length);
  const fetched = (await imap.fetchAll()).map(({ uid, bytes }) => ({ uid, bytes: withoutTrace(bytes) }));
  expect(differing(accepted, fetched, onTheWire)).toEqual([]);
  expect(refused).toEqual([]);
  process.stdout.write(`LMTP: ${String(accepted.length)} stored and byte-exact\n`);
});

test.skipIf(missing !== '')(`every message by APPEND and back${missing}`, { timeout: TIMEOUT_MS }, async () => {
  const server = await TestServer.start();
  const messages = corpus();
  using imap = await ImapClient.login(server.ports.imap, `u1@${DOMAIN}`);
  await imap.ok('CREATE corpus');
  const accepted: CorpusMessage[] = [];
  const refused: string[] = [];
  for (const message of messages) {
    // RFC 9051 §6.3.12: NUL needs literal8
    const literal = message.bytes.includes(0) ? '~' : '';
    const answer = await imap.command(`APPEND corpus ${literal}`, message.bytes);
    if (answer.status === 'OK') accepted.push(message);
    else refused.push(`${message.path}: ${answer.text}`);
  }
  expect(refused).toEqual([]);
  expect((await imap.select('corpus')).exists).toBe(accepted.length);
  const fetched = await imap.fetchAll();
  expect(differing(accepted, fetched, ({ bytes }) => bytes)).toEqual([]);
  const before = fetched.map(({ bytes }) => digestOf(bytes));
  await server.restart();
  using again = await ImapClient.login(server.ports.imap, `u1@${DOMAIN}`);
  await again.select('corpus');
  expect((await again.fetchAll()).map(({ bytes }) => digestOf(bytes))).toEqual(before);
  process.stdout.write(`APPEND: ${String(accepted.length)} stored and byte-exact, also after a restart\n`);
});

test.skipIf(missing !== '' || noPython !== '')(
  `no strict difference to the reference answers${missing}${noPython}`,
  { timeout: TIMEOUT_MS },
  async () => {
    const server = await TestServer.start();
    const place = ['127.0.0.1', String(server.ports.imap), `u1@${DOMAIN}`, 'pw'];
    const child = spawn(
      'python3',
      [join(CORPUS, 'compare-fetch'), '--diffs', '40', ...place, CORPUS, join(CORPUS, 'reference-dovecot.jsonl')],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
    await once(child, 'close');
    expect(child.exitCode, said).toBe(0);
    process.stdout.write(said);
  },
);
