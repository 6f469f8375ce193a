/**
 * The base subject (RFC 5256 §2.1): a subject without what replies and forwards put around it.
 *
 * BS1  No input throws; the time is linear in the length of the subject.
 *
 * Called by mailbox/sort.ts and mailbox/threads.ts.
 */
import { casemap } from './casemap.ts';
import { decodeHeaderText } from './encoded-word.ts';

/** `text` is mapped for comparison (casemap.ts); `isReply`: the subject is that of a reply or of a forwarded message. */
export type BaseSubject = Readonly<{ text: string; isReply: boolean }>;

/** Longer subjects are cut: they are an attack. */
const MAX_SUBJECT_CHARS = 16_384;
const FWD_TRAILER = '(FWD)';
const NOTHING: BaseSubject = { text: '', isReply: false };

// The text is in upper case and has no white space but single spaces.
const BLOBS = /(?:\[[^[\]]*\] ?)+/y;
const LAST_BLOB = /\[[^[\]]*\] ?$/;
const REPLY_OR_FORWARD = /(?:RE|FWD?) ?(?:\[[^[\]]*\] ?)?:/y;

/** The base subject of a Subject field as the message has it; null stands for a missing one. */
export function baseSubject(subject: string | null): BaseSubject {
  if (subject === null || subject === '') return NOTHING;
  const decoded = decodeHeaderText(subject.slice(0, MAX_SUBJECT_CHARS));
  return stripped(casemap(decoded.replace(/[\t\r\n ]+/g, ' ')));
}

/** Steps 2 to 6. */
function stripped(text: string): BaseSubject {
  let rest = text;
  let isReply = false;
  for (;;) {
    const trailing = trailerStart(rest);
    const leading = leaderEnd(rest.slice(0, trailing.at));
    isReply ||= trailing.isForward || leading.isReply;
    rest = rest.slice(leading.at, trailing.at);
    // step 6: subj-fwd
    if (!rest.startsWith('[FWD:') || !rest.endsWith(']')) return { text: rest, isReply };
    rest = rest.slice(5, -1);
    isReply = true;
  }
}

/** Step 2: where the run of subj-trailers begins. */
function trailerStart(text: string): Readonly<{ at: number; isForward: boolean }> {
  let at = text.length;
  let isForward = false;
  for (;;) {
    if (text.charAt(at - 1) === ' ') at -= 1;
    else if (at >= FWD_TRAILER.length && text.startsWith(FWD_TRAILER, at - FWD_TRAILER.length)) {
      at -= FWD_TRAILER.length;
      isForward = true;
    } else return { at, isForward };
  }
}

/** Steps 3 to 5: where what is neither a subj-leader nor a blob before other text begins. */
function leaderEnd(text: string): Readonly<{ at: number; isReply: boolean }> {
  let at = 0;
  let isReply = false;
  for (let before = -1; before !== at;) {
    before = at;
    if (text.charAt(at) === ' ') at += 1;
    const afterBlobs = at + matchLength(BLOBS, text, at);
    const replyLength = matchLength(REPLY_OR_FORWARD, text, afterBlobs);
    if (replyLength > 0) {
      at = afterBlobs + replyLength;
      isReply = true;
    } else if (afterBlobs < text.length) at = afterBlobs;
    else at = text.length - (LAST_BLOB.exec(text.slice(at))?.[0].length ?? text.length - at);
  }
  return { at, isReply };
}

function matchLength(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0].length ?? 0;
}
