/**
 * The text of a message that a search looks at: decoded header fields and text parts at every level.
 * Free of state, for use in a worker thread.
 *
 * T1  Every text/* part, every message/* part and every part header is in `body` or `header`, decoded
 *     from its transfer encoding and charset; no message is refused. HTML is kept with its tags.
 * T2  What was left out for a limit is told by `isComplete`: a search must then look at the raw message.
 */
import type { Part, ScannedMessage } from './body-structure.ts';
import { decodeCharset, decodeTransfer, transferEncoding } from './decode.ts';
import { decodeHeaderText, decodeParameter } from './encoded-word.ts';
import { binaryString, fieldValue, parseHeaderFields } from './headers.ts';
import { parameterValue } from './params.ts';
import { scanMessage } from './scan.ts';

/** `header` is that of the message itself; `body` has the headers of parts and embedded messages too. */
export type SearchText = Readonly<{ header: string; body: string; isComplete: boolean }>;

/** `textCharCount` bounds `header` and `body` together; `embeddedDepth` the encoded messages opened one in another. */
type SearchTextLimits = Readonly<{ textCharCount: number; embeddedDepth: number }>;

const DEFAULT_SEARCH_TEXT_LIMITS: SearchTextLimits = { textCharCount: 64 << 20, embeddedDepth: 10 };

/** Text collected under the limit. */
class TextSink {
  readonly pieces: string[] = [];
  left: number;
  isComplete = true;

  constructor(charCount: number) {
    this.left = charCount;
  }

  add(text: string): void {
    if (text.length > this.left) this.isComplete = false;
    const piece = text.slice(0, Math.max(0, this.left));
    this.left -= piece.length;
    if (piece !== '') this.pieces.push(piece);
  }
}

/** The searchable text of a raw message. `scanned` saves scanning it again. */
export function extractSearchText(
  raw: Uint8Array,
  limits: SearchTextLimits = DEFAULT_SEARCH_TEXT_LIMITS,
  scanned: ScannedMessage = scanMessage(raw),
): SearchText {
  const sink = new TextSink(limits.textCharCount);
  const { root } = scanned;
  sink.add(headerText(raw.subarray(root.headerStart, root.bodyStart), root));
  const header = sink.pieces.join('');
  sink.pieces.length = 0;
  addBody(raw, root, { sink, depthLeft: limits.embeddedDepth });
  return { header, body: sink.pieces.join('\r\n'), isComplete: sink.isComplete };
}

type Collector = Readonly<{ sink: TextSink; depthLeft: number }>;

function addPart(raw: Uint8Array, part: Part, collector: Collector): void {
  collector.sink.add(headerText(raw.subarray(part.headerStart, part.bodyStart), part));
  addBody(raw, part, collector);
}

function addBody(raw: Uint8Array, part: Part, collector: Collector): void {
  const { sink, depthLeft } = collector;
  if (part.children.length > 0) {
    for (const child of part.children) addPart(raw, child, collector);
    return;
  }
  const encoding = transferEncoding(part.encoding) ?? 'identity';
  const bytes = raw.subarray(part.bodyStart, part.bodyEnd);
  if (part.message) {
    if (encoding === 'identity') {
      addPart(raw, part.message.root, collector);
      return;
    }
    // RFC 2046 §5.2.1 forbids to encode a message; some do, and the structure inside shows after decoding only
    const decoded = decodeTransfer(bytes, encoding);
    if (depthLeft > 0) addPart(decoded, scanMessage(decoded).root, { sink, depthLeft: depthLeft - 1 });
    else {
      sink.isComplete = false;
      sink.add(decodeCharset(decoded, null));
    }
    return;
  }
  if (isText(raw, part))
    sink.add(decodeCharset(decodeTransfer(bytes, encoding), parameterValue(part.parameters, 'charset')));
}

/** Whether a part without parts is to be searched as text. */
function isText(raw: Uint8Array, part: Part): boolean {
  const type = part.type.toLowerCase();
  if (type === 'text' || type === 'message' || type === 'multipart') return true;
  if (part.subtype.toLowerCase() !== 'octet-stream') return false;
  // a part past the limits of the scanner is shown as octet-stream: its header tells what it was
  const header = binaryString(raw.subarray(part.headerStart, part.bodyStart));
  return /^content-type:\s{0,80}(?:multipart|message)\//im.test(header);
}

/** The fields of a header block, decoded, one a line; file names of extended parameters besides. */
function headerText(block: Uint8Array, part: Part): string {
  const text = binaryString(block);
  const lines = parseHeaderFields(text).map((field) => {
    const name = text.slice(field.start, field.valueStart);
    return `${name === '' ? '' : `${decodeHeaderText(name)} `}${decodeHeaderText(fieldValue(text, field))}\r\n`;
  });
  for (const name of [
    decodeParameter(part.parameters, 'name'),
    decodeParameter(part.disposition?.parameters ?? [], 'filename'),
  ]) {
    if (name !== null) lines.push(`${name}\r\n`);
  }
  return lines.join('');
}

/**
 * The form in which a needle and a haystack are compared: close to i;unicode-casemap (RFC 5051 §2:
 * titlecase, then decompose). Upper case stands for titlecase; they differ in letters that decompose.
 */
export function normaliseForSearch(text: string): string {
  if (/^[\x00-\x7f]*$/.test(text)) return text.toUpperCase();
  // sharp s has no simple mapping, but toUpperCase would make it SS
  return text.replaceAll('ß', 'ẞ').toUpperCase().normalize('NFKD');
}
