/** THREAD over sealed mail (RFC 5256 §3): the facts come from summaries; threading.ts makes the threads. */
import { Slice } from '../base/abort.ts';
import type { FolderId, Uid } from '../base/ids.ts';
import { numberSet } from '../base/uid-set.ts';
import { baseSubject } from '../mime/base-subject.ts';
import { parseHeaderFields } from '../mime/headers.ts';
import { parseMessageIds, parseReferences } from '../mime/message-ids.ts';
import { messagesOf, type OpenMessage } from './read.ts';
import type { MailboxSession } from './session.ts';
import { sentSeconds } from './sort.ts';
import { threadsOf, type Thread, type ThreadAlgorithm, type ThreadFacts } from './threading.ts';

/** The threads of those of `uids` that are still there. Throws ServerError 'key-*', 'content-damaged'. */
export async function threadMessages(
  session: MailboxSession,
  { folder, uids }: Readonly<{ folder: FolderId; uids: readonly Uid[] }>,
  algorithm: ThreadAlgorithm,
  signal?: AbortSignal,
): Promise<readonly Thread[]> {
  const facts: ThreadFacts[] = [];
  const slice = new Slice();
  for await (const batch of messagesOf(session, folder, numberSet(uids), signal)) {
    for (const message of batch) {
      signal?.throwIfAborted();
      if (message.isStale) await message.renew(signal);
      facts.push(await factsOf(message));
      if (slice.due) await slice.pause();
    }
  }
  return threadsOf(algorithm, facts);
}

async function factsOf(message: OpenMessage): Promise<ThreadFacts> {
  const { summary } = message;
  const { envelope } = summary.scanned;
  const [id = null] = parseMessageIds(envelope.messageId ?? '', 1);
  return {
    uid: message.row.uid,
    sentSeconds: sentSeconds(summary),
    id,
    references: await referencesOf(message),
    subject: baseSubject(envelope.subject),
  };
}

/** The ids that a message names as its ancestors, the parent last. RFC 5256 §3 (REFERENCES). */
export async function referencesOf(message: OpenMessage): Promise<readonly string[]> {
  const { references, envelope } = message.summary.scanned;
  const named = references ?? (await referencesInHeader(message));
  return named.length > 0 ? named : parseMessageIds(envelope.inReplyTo ?? '', 1);
}

/** For messages stored before references were kept in the summary. */
async function referencesInHeader(message: OpenMessage): Promise<readonly string[]> {
  const { headerStart, bodyStart } = message.summary.scanned.root;
  const block = (await message.bytes(headerStart, bodyStart)).toString('latin1');
  return parseReferences(block, parseHeaderFields(block));
}
