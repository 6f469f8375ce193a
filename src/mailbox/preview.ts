/** Previews of messages (RFC 8970): made from the body each time and kept nowhere. */
import { PREVIEW_SOURCE_BYTES, previewPart, previewText } from '../mime/preview.ts';
import type { OpenMessage } from './read.ts';

/** The preview of a message, '' when nothing can be shown. Throws ServerError 'content-damaged', 'storage-failed', 'key-*'. */
export async function previewOf(message: OpenMessage): Promise<string> {
  const part = previewPart(message.summary.scanned.root);
  if (!part) return '';
  const end = Math.min(part.bodyEnd, part.bodyStart + PREVIEW_SOURCE_BYTES);
  return previewText(part, await message.bytes(part.bodyStart, end));
}
