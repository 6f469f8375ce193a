/**
 * Branded identifiers. A value of one kind is never taken for another, and each is made only by
 * the checked constructors of this file.
 *
 * Random ids are 128 bits as 32 lower-case hex digits: they appear in paths, logs and encryption
 * contexts, so they carry no name and no address.
 */
import { randomBytes } from 'node:crypto';

declare const brand: unique symbol;
type Brand<T, Name extends string> = T & { readonly [brand]: Name };

export type OrganizationId = Brand<string, 'OrganizationId'>;
export type MailboxId = Brand<string, 'MailboxId'>;
/** Names one row of one folder for ever; bound into the wrapped message key. */
export type MessageId = Brand<string, 'MessageId'>;
/** Names one sealed body, which several rows of a mailbox may share. */
export type BodyId = Brand<string, 'BodyId'>;
/** Local to a mailbox, never reused. */
export type FolderId = Brand<number, 'FolderId'>;
/** RFC 9051 §2.3.1.1: 1..2^32-1, strictly ascending in a folder, never reused. */
export type Uid = Brand<number, 'Uid'>;
/** RFC 7162 §3.1: modification sequence, 1..2^53-1 here. */
export type ModSeq = Brand<number, 'ModSeq'>;
/** Version of a mailbox key, from 1. */
export type Epoch = Brand<number, 'Epoch'>;

const HEX_ID = /^[0-9a-f]{32}$/;

function checkedHex(kind: string, text: string): string {
  if (!HEX_ID.test(text)) throw new TypeError(`not a ${kind}`);
  return text;
}

function checkedInteger(kind: string, value: number, limits: { min: number; max: number }): number {
  if (!Number.isInteger(value) || value < limits.min || value > limits.max) throw new TypeError(`not a ${kind}`);
  return value;
}

/** A fresh random id: 32 hex digits. */
export function randomHexId(): string {
  return randomBytes(16).toString('hex');
}

export const organizationId = (text: string): OrganizationId => checkedHex('organization id', text) as OrganizationId;
export const mailboxId = (text: string): MailboxId => checkedHex('mailbox id', text) as MailboxId;
export const messageId = (text: string): MessageId => checkedHex('message id', text) as MessageId;
export const bodyId = (text: string): BodyId => checkedHex('body id', text) as BodyId;

export const folderId = (value: number): FolderId =>
  checkedInteger('folder id', value, { min: 1, max: Number.MAX_SAFE_INTEGER }) as FolderId;
export const uid = (value: number): Uid => checkedInteger('UID', value, { min: 1, max: 0xffff_ffff }) as Uid;
export const modSeq = (value: number): ModSeq =>
  checkedInteger('modification sequence', value, { min: 0, max: Number.MAX_SAFE_INTEGER }) as ModSeq;
export const epoch = (value: number): Epoch =>
  checkedInteger('key epoch', value, { min: 1, max: 0xffff_ffff }) as Epoch;
