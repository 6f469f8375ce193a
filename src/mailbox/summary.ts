/**
 * The summary of a message: what lists need without touching the body. Sealed once, under the message key.
 *
 * Format: crypto/README.md, Records.
 */
import { ServerError } from '../base/errors.ts';
import { decodeMessage, encodeMessage } from '../mime/compact.ts';
import type { MessageSummary } from './model.ts';

const VERSION = 1;
const LF = 10;

export function encodeSummary(summary: MessageSummary): Buffer {
  const { atMs, zoneMinutes } = summary.internalDate;
  return Buffer.from(`\u0001[${String(atMs)},${String(zoneMinutes)}]\n${encodeMessage(summary.scanned)}`);
}

/** Throws ServerError 'content-damaged' for an unknown version. */
export function decodeSummary(bytes: Buffer): MessageSummary {
  const end = bytes.indexOf(LF);
  if (bytes[0] !== VERSION || end < 0) {
    throw new ServerError('content-damaged', {
      clientText: 'The message is damaged on the server.',
      detail: 'unknown version of a summary',
    });
  }
  const [atMs, zoneMinutes] = JSON.parse(bytes.toString('latin1', 1, end)) as [number, number];
  return { internalDate: { atMs, zoneMinutes }, scanned: decodeMessage(bytes.toString('utf8', end + 1)) };
}
