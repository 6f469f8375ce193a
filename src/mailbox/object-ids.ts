/**
 * Object identifiers (RFC 8474): names of folders, messages and threads that outlast renames, copies and moves.
 *
 * OI1  None of them is stored, and none says anything to who has no key: ids of folders and bodies are random or counted,
 *      and the id of a thread is made from the opened summary each time.
 * OI2  They begin with different letters, so that no id of one kind is one of another.
 */
import { createHash } from 'node:crypto';
import type { BodyId, FolderId } from '../base/ids.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';
import { parseMessageIds } from '../mime/message-ids.ts';
import type { OpenMessage } from './read.ts';
import { referencesOf } from './threads.ts';

const THREAD_ID_BYTES = 16;

/** MAILBOXID: a folder keeps it under any name. */
export function folderObjectId({ mailbox }: Pick<MailboxRef, 'mailbox'>, folder: FolderId): string {
  return `F${mailbox}-${String(folder)}`;
}

/** EMAILID: copies share their sealed body, and so its id. */
export function emailObjectId(body: BodyId): string {
  return `M${body}`;
}

/**
 * THREADID: the same for all messages whose references begin with one message, and for that message.
 * Throws ServerError 'content-damaged', 'storage-failed', 'key-*'.
 */
export async function threadObjectId(message: OpenMessage): Promise<string> {
  const [root = ownId(message)] = await referencesOf(message);
  const digest = createHash('sha256').update('thread\0').update(root, 'latin1').digest();
  return `T${digest.toString('hex', 0, THREAD_ID_BYTES)}`;
}

/** Without a Message-ID a message can be the only one of its thread: its body stands for it. */
function ownId({ summary, body }: OpenMessage): string {
  return parseMessageIds(summary.scanned.envelope.messageId ?? '', 1)[0] ?? body;
}
