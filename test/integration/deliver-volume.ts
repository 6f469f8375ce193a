/**
 * Delivers a volume of mail over ten connections, half SMTP and half LMTP, in sizes from 1 KB to 25 MB.
 *
 *   node test/integration/deliver-volume.ts SMTP_PORT LMTP_PORT MEBIBYTES
 *
 * Prints one line, `delivered N messages, N bytes`; fails when a message is not acknowledged. For u1..u10@bench.test.
 */
import { randomBytes } from 'node:crypto';
import { SmtpClient } from '../support/wire.ts';

const SIZES_BYTES = [1000, 5000, 20_000, 60_000, 100_000, 400_000, 1_000_000, 5_000_000, 12_000_000, 25_000_000];
const CONNECTIONS_COUNT = 10;
const LINE_BYTES = 57; // 76 characters in base64

const [smtpPort, lmtpPort, mebibytes] = process.argv.slice(2).map(Number);
if (!smtpPort || !lmtpPort || !mebibytes) throw new Error('ports and a volume are needed');

const wantedBytes = mebibytes * 2 ** 20;
let [sentBytes, messagesCount] = [0, 0];
const messages = SIZES_BYTES.map(messageOf);

await Promise.all(Array.from({ length: CONNECTIONS_COUNT }, (_, index) => work(index)));
process.stdout.write(`delivered ${String(messagesCount)} messages, ${String(sentBytes)} bytes\n`);
process.exit(0);

async function work(index: number): Promise<void> {
  using client = await (index % 2 === 0 ? SmtpClient.open(smtpPort!, 'smtp') : SmtpClient.open(lmtpPort!, 'lmtp'));
  const to = [`u${String(index + 1)}@bench.test`];
  for (let turn = index; sentBytes < wantedBytes; turn += 1) {
    const message = messages[turn % messages.length]!;
    sentBytes += message.length;
    const reply = await client.deliver({ to, message });
    if (!reply.startsWith('250')) throw new Error(`not acknowledged: ${reply}`);
    messagesCount += 1;
  }
}

function messageOf(bytesCount: number): Buffer {
  const head = `From: v@example.net\r\nSubject: ${String(bytesCount)} bytes\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\n`;
  const lines: string[] = [];
  for (let length = head.length; length < bytesCount; length += 78)
    lines.push(randomBytes(LINE_BYTES).toString('base64'));
  return Buffer.from(`${head}${lines.join('\r\n')}\r\n`);
}
