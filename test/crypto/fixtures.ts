/** Ids for the tests of this folder, and what they all ask of a tampered seal. */
import { expect } from 'vitest';
import { ServerError, type ErrorCode } from '../../src/base/errors.ts';
import { bodyId, epoch, folderId, mailboxId, messageId, organizationId } from '../../src/base/ids.ts';

const hexId = (digit: string): string => digit.repeat(32);
export const organization = organizationId(hexId('a'));
export const mailbox = mailboxId(hexId('b'));
export const message = messageId(hexId('c'));
export const body = bodyId(hexId('d'));
export const otherOrganization = organizationId(hexId('1'));
export const otherMailbox = mailboxId(hexId('2'));
export const otherMessage = messageId(hexId('3'));
export const otherBody = bodyId(hexId('4'));
export const firstEpoch = epoch(1);
export const nextEpoch = epoch(2);
export const inbox = folderId(1);
export const sent = folderId(2);

export function codeOf(work: () => unknown): ErrorCode | 'opened' {
  try {
    work();
    return 'opened';
  } catch (error) {
    expect(error).toBeInstanceOf(ServerError);
    return (error as ServerError).code;
  }
}

/** `bytes` with the bits of one byte flipped. */
export function flipped(bytes: Uint8Array, at: number, mask = 0x01): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ mask;
  return copy;
}
