/**
 * Replies of a remote server, from the bytes as they come. Pure.
 *
 * RP1  A reply that is too long, or is none, is a fault: the session is given up.
 * RP2  The text is the remote's: bounded, printable, and customer data. It goes into sealed records and reports only.
 */

/** `enhanced`: the status code of RFC 3463, or null where the text does not begin with one. Lines are without codes. */
export type Reply = Readonly<{ code: number; enhanced: string | null; lines: readonly string[] }>;

/** The remote does not speak SMTP. */
export class ReplyFault extends Error {}

const LINE_MAX_BYTES = 4096; // RFC 5321 §4.5.3.1.5 allows 512; some say more
const LINES_MAX_COUNT = 256;
const TEXT_MAX_CHARS = 1000;
const LINE = /^([2-5]\d\d)([ -]?)(.*)$/s;
const ENHANCED = /^([245])\.\d{1,3}\.\d{1,3}(?=\s|$)/;
const LF = 0x0a;

/** Puts replies together; RFC 5321 §4.2.1 for those of several lines. */
export class ReplyReader {
  #rest: Buffer = Buffer.alloc(0);
  #lines: string[] = [];
  #code = 0;

  /** The replies that `bytes` complete. Throws ReplyFault (RP1). */
  push(bytes: Uint8Array): readonly Reply[] {
    const replies: Reply[] = [];
    this.#rest = Buffer.concat([this.#rest, bytes]);
    for (let end = this.#rest.indexOf(LF); end >= 0; end = this.#rest.indexOf(LF)) {
      const reply = this.#line(this.#rest.subarray(0, end));
      this.#rest = this.#rest.subarray(end + 1);
      if (reply) replies.push(reply);
    }
    if (this.#rest.length > LINE_MAX_BYTES) throw new ReplyFault('a line of a reply is too long');
    return replies;
  }

  #line(bytes: Buffer): Reply | null {
    if (bytes.length > LINE_MAX_BYTES) throw new ReplyFault('a line of a reply is too long');
    const [, digits, mark, text = ''] = LINE.exec(bytes.toString('utf8').replace(/\r$/, '')) ?? [];
    if (digits === undefined) throw new ReplyFault('a line that is no reply');
    const code = Number(digits);
    if (this.#lines.length > 0 && code !== this.#code) throw new ReplyFault('a reply with two codes');
    this.#code = code;
    this.#lines.push(text);
    if (this.#lines.length > LINES_MAX_COUNT) throw new ReplyFault('a reply of too many lines');
    if (mark === '-') return null;
    const lines = this.#lines;
    this.#lines = [];
    const enhanced = ENHANCED.exec(lines[0] ?? '');
    const isFitting = enhanced?.[1] === digits[0]; // RFC 2034 §4: of the same class
    return { code, enhanced: isFitting ? (enhanced?.[0] ?? null) : null, lines };
  }
}

/** The text of a reply in one line, printable and bounded (RP2). */
export function replyText(reply: Reply): string {
  const text = reply.lines.join(' ').replaceAll(/[\p{Cc}\u2028\u2029\ufffd]+/gu, ' ');
  return text.replaceAll(/ {2,}/g, ' ').trim().slice(0, TEXT_MAX_CHARS);
}
