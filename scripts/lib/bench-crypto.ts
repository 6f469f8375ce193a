/** Measures the formats of src/crypto/ and prints one table. CPU time is this process's own, from getrusage. */
import { spawnSync } from 'node:child_process';
import { createSecretKey, randomBytes } from 'node:crypto';
import { bodyId, epoch, mailboxId, messageId, organizationId, randomHexId } from '../../src/base/ids.ts';
import type { MessageKeyContext } from '../../src/crypto/context.ts';
import { deriveMailboxKeys, deriveMessageKey } from '../../src/crypto/derive.ts';
import { KeyPairOpener, publicKeyOf, sealMessageKey } from '../../src/crypto/key-pair.ts';
import { gcmSeal } from '../../src/crypto/gcm.ts';
import { openOnce, sealOnce, unwrapMessageKey, wrapMessageKey } from '../../src/crypto/record.ts';
import { BodyOpener, BodySealer } from '../../src/crypto/sealed-body.ts';
import { SecretBytes } from '../../src/crypto/secret-bytes.ts';
import { decodeSummary, encodeSummary } from '../../src/mailbox/summary.ts';
import { MessageScanner } from '../../src/mime/scan.ts';

const CHUNK_BYTES = 16_384;
const BODY_BYTES = 4 * 1024 * 1024;
/** More messages than any cache of the processor holds. */
const MESSAGES_COUNT = 5000;
const SEALING_GOAL = 0.6;
const SUMMARY_GOAL_US = 15;

const seconds = Number(process.argv[2] ?? 2);
if (!(seconds > 0 && seconds <= 60)) throw new RangeError('give a number of seconds up to 60');
process.removeAllListeners('warning'); // of ML-KEM in WebCrypto

const organization = organizationId(randomHexId());
const mailbox = mailboxId(randomHexId());
const keys = deriveMailboxKeys(SecretBytes.random(32), { organization, mailbox, epoch: epoch(1) });

/** CPU microseconds of one run of `work`, over about `seconds`. */
function cpuMicroseconds(work: (n: number) => void): number {
  const untilMs = performance.now() + seconds * 1000;
  for (let n = 0; n < 200; n += 1) work(n); // compiled before it counts
  const before = process.cpuUsage();
  let runs = 0;
  for (; performance.now() < untilMs; runs += 1) work(runs);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / runs;
}

/** Bytes a second of `openssl speed` for AES-256-GCM at 16 KiB; null without openssl. */
function opensslBytesPerSecond(): number | null {
  const count = String(Math.max(1, Math.round(seconds)));
  const words = ['speed', '-seconds', count, '-bytes', String(CHUNK_BYTES), '-evp', 'aes-256-gcm', '-mr'];
  const { stdout, status } = spawnSync('openssl', words, { encoding: 'utf8' });
  const found = /^\+F:\d+:[^:]+:([\d.]+)/m.exec(stdout);
  return status === 0 && found ? Number(found[1]) : null;
}

function sealing(): { sealed: number; opened: number; bare: number } {
  const body = bodyId(randomHexId());
  const key = SecretBytes.random(32);
  const plain = randomBytes(BODY_BYTES);
  const context = { kind: 'body', organization, body } as const;
  const seal = (): { bytes: Buffer; header: Buffer; commitment: Buffer } => {
    using sealer = new BodySealer(key, context);
    return {
      bytes: Buffer.concat([sealer.header, ...sealer.push(plain), ...sealer.end()]),
      header: sealer.header,
      commitment: sealer.commitment,
    };
  };
  const { bytes, header, commitment } = seal();
  const perSecond = (us: number): number => (BODY_BYTES / us) * 1e6;
  const sealUs = cpuMicroseconds(() => {
    using sealer = new BodySealer(key, context);
    sealer.push(plain);
    sealer.end();
  });
  const openUs = cpuMicroseconds(() => {
    using opener = new BodyOpener(key, context, header, { commitment, plainSizeBytes: BODY_BYTES });
    const { offset, lengthBytes } = opener.sealedRange(0, BODY_BYTES);
    opener.open(bytes.subarray(offset, offset + lengthBytes), 0, BODY_BYTES);
  });
  const [chunk, bareKey, nonce] = [plain.subarray(0, CHUNK_BYTES), createSecretKey(randomBytes(32)), randomBytes(12)];
  const bareUs = cpuMicroseconds(() => {
    gcmSeal(bareKey, { nonce }, chunk);
  });
  return { sealed: perSecond(sealUs), opened: perSecond(openUs), bare: (CHUNK_BYTES / bareUs) * 1e6 };
}

type Stored = Readonly<{ context: MessageKeyContext; wrapped: Buffer; summary: Buffer }>;

function stored(): Stored {
  const scanner = new MessageScanner();
  scanner.push(
    Buffer.from(
      'From: Ann <ann@example.org>\r\nTo: Bob <bob@example.org>\r\nSubject: a letter\r\n' +
        'Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\nhello\r\n',
    ),
  );
  const scanned = scanner.end();
  const body = bodyId(randomHexId());
  const key = SecretBytes.random(32);
  using summaryKey = deriveMessageKey(key, 'summary');
  const commitment = randomBytes(32);
  const context = {
    kind: 'message-key',
    organization,
    mailbox,
    epoch: epoch(1),
    message: messageId(randomHexId()),
    body,
    commitment,
  } as const;
  const summary = encodeSummary({ internalDate: { atMs: 0, zoneMinutes: 0 }, scanned });
  return {
    context,
    wrapped: wrapMessageKey(keys.wrap, context, key, 1000),
    summary: sealOnce(summaryKey, { kind: 'summary', organization, body }, summary),
  };
}

function openedSummary({ context, wrapped, summary }: Stored): Buffer {
  const { key } = unwrapMessageKey(keys.wrap, context, wrapped);
  using messageKey = key;
  using summaryKey = deriveMessageKey(messageKey, 'summary');
  return openOnce(summaryKey, { kind: 'summary', organization, body: context.body }, summary);
}

async function pairs(): Promise<{ seal: number; open: number }> {
  const { context } = stored();
  using key = SecretBytes.random(32);
  const publicKey = await publicKeyOf(keys.pairSeed);
  const opener = new KeyPairOpener(keys.pairSeed);
  const sealed = await sealMessageKey(publicKey, context, key, 1000);
  const each = async (work: () => Promise<unknown>): Promise<number> => {
    const before = process.cpuUsage();
    for (let n = 0; n < 300; n += 1) await work();
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 300;
  };
  return {
    seal: await each(() => sealMessageKey(publicKey, context, key, 1000)),
    open: await each(() => opener.open(context, sealed)),
  };
}

const reference = opensslBytesPerSecond();
const { sealed, opened, bare } = sealing();
const messages = Array.from({ length: MESSAGES_COUNT }, stored);
const at = (n: number): Stored => messages[n % MESSAGES_COUNT] as Stored;
const summaryUs = cpuMicroseconds((n) => {
  openedSummary(at(n));
});
const decodedUs = cpuMicroseconds((n) => {
  decodeSummary(openedSummary(at(n)));
});
const pair = await pairs();

const gigabytes = (perSecond: number): string => `${(perSecond / 1e9).toFixed(2)} GB/s`;
const share = (perSecond: number): string =>
  reference === null ? '' : `${((perSecond / reference) * 100).toFixed(0)} % of openssl`;
const us = (value: number): string => `${value.toFixed(1)} us`;
const rows: readonly (readonly [string, string, string])[] = [
  ['openssl speed, AES-256-GCM, 16 KiB', reference === null ? 'no openssl here' : gigabytes(reference), ''],
  ['one chunk by node:crypto', gigabytes(bare), share(bare)],
  ['a body of 4 MiB sealed', gigabytes(sealed), `${share(sealed)}, goal ${String(SEALING_GOAL * 100)} %`],
  ['a body of 4 MiB opened', gigabytes(opened), share(opened)],
  ['a cold summary: unwrap, derive, open', us(summaryUs), `goal ${String(SUMMARY_GOAL_US)} us`],
  ['the same, and decoded', us(decodedUs), ''],
  ['a message key to a public key, hybrid', us(pair.seal), ''],
  ['and back', us(pair.open), ''],
];
for (const [what, figure, note] of rows) process.stdout.write(`${what.padEnd(40)}${figure.padStart(14)}   ${note}\n`);
