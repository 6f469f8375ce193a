/** What the URLs of CATENATE name, copied into a new message. RFC 4469 §3. Called by append.ts. */
import { uid } from '../../base/ids.ts';
import type { Mailbox } from '../../mailbox/mailbox.ts';
import type { OpenMessage } from '../../mailbox/read.ts';
import { filterHeader } from '../../mime/headers.ts';
import { resolveSection, type SectionSpec } from '../../mime/section.ts';
import { parseMessageUrl, type MessageUrl } from '../proto/imap-url.ts';
import type { Session, SessionState } from '../session.ts';

type LoggedIn = Extract<SessionState, { kind: 'authenticated' | 'selected' }>;
type Writer = Awaited<ReturnType<Mailbox['newMessage']>>;

/** Header fields that are filtered are held in memory. */
const MAX_FILTERED_BYTES = 2 * 1024 * 1024;

/** Writes the bytes of a URL (a byte string); gives their number. \Seen is not set. Throws ServerError 'key-*', 'content-damaged', 'storage-*'. */
export async function writeUrl(
  session: Session,
  state: LoggedIn,
  { url, writer, roomBytes }: Readonly<{ url: string; writer: Writer; roomBytes: number }>,
): Promise<number | 'bad-url' | 'too-big'> {
  const parsed = parseMessageUrl(url);
  if (!parsed) return 'bad-url';
  using message = await messageOf(session, state, parsed);
  if (!message) return 'bad-url';
  const { section, partial } = parsed;
  if (section.kind === 'header-fields' || section.kind === 'header-fields-not') {
    const header = await filtered(message, section);
    if (!header) return 'bad-url';
    const { start, end } = cut(0, header.length, partial);
    if (end - start > roomBytes) return 'too-big';
    await writer.write(header.subarray(start, end));
    return end - start;
  }
  const range = resolveSection(message.summary.scanned, section);
  if (!range) return 'bad-url';
  const { start, end } = cut(range.start, range.end, partial);
  if (end - start > roomBytes) return 'too-big';
  for await (const piece of message.range(start, end)) await writer.write(piece);
  return end - start;
}

async function messageOf(session: Session, state: LoggedIn, url: MessageUrl): Promise<OpenMessage | null> {
  const { mailbox } = state;
  const selected = url.folder === '' && state.kind === 'selected' ? state.view.folder : null;
  const folder = selected ?? (url.folder === '' ? null : await mailbox.folder(url.folder, session.signal));
  if (!folder || (url.uidValidity !== null && url.uidValidity !== folder.uidValidity)) return null;
  return mailbox.message(folder.id, uid(url.uid), session.signal);
}

async function filtered(
  message: OpenMessage,
  section: Extract<SectionSpec, { kind: 'header-fields' | 'header-fields-not' }>,
): Promise<Buffer | null> {
  const range = resolveSection(message.summary.scanned, section);
  if (!range || range.end - range.start > MAX_FILTERED_BYTES) return null;
  const kind = section.kind === 'header-fields' ? 'only' : 'all-but';
  return filterHeader(await message.bytes(range.start, range.end), { kind, fields: section.fields });
}

function cut(start: number, end: number, partial: MessageUrl['partial']): Readonly<{ start: number; end: number }> {
  if (!partial) return { start, end };
  const from = Math.min(start + partial.start, end);
  return { start: from, end: partial.count === null ? end : Math.min(from + partial.count, end) };
}
