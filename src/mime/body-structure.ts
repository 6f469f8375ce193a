/**
 * The shape of a scanned message: what ENVELOPE, BODY, BODYSTRUCTURE and section fetches are
 * answered from. Plain immutable data, made by scan.ts, stored by compact.ts, printed by the IMAP layer.
 *
 * B1  Strings are binary strings (one character per byte, 0-255) exactly as the message has them,
 *     unfolded: case is kept, nothing is decoded. They may hold any byte, NUL, CR and LF included:
 *     whoever prints them must quote, send literals or replace.
 * B2  Offsets are byte offsets in the whole message: headerStart <= bodyStart <= bodyEnd.
 * B3  `message` is set for message/rfc822 and message/global parts only, `children` is not empty
 *     for multiparts only. A multipart that has no part (its boundary never occurs) has none:
 *     `isEmptyMultipart` tells, and RFC 9051 demands that a part be printed (`EMPTY_TEXT_PART`).
 */

/**
 * One mailbox of an address list, or a border of a group (RFC 9051 §7.5.2): a group starts with
 * its name as `mailbox` and `host` null, and ends with both null. A mailbox that lacks its local
 * part or its domain has '' there, never null.
 */
export type Address = Readonly<{
  name: string | null;
  /** The source route of RFC 5322 §4.4 (`@a,@b`), obsolete. */
  route: string | null;
  mailbox: string | null;
  host: string | null;
}>;

/**
 * RFC 9051 §7.5.2. A missing field is null; an address list without a mailbox is null too.
 * `sender` and `replyTo` are the same list as `from` where the message has none.
 */
export type Envelope = Readonly<{
  date: string | null;
  subject: string | null;
  from: readonly Address[] | null;
  sender: readonly Address[] | null;
  replyTo: readonly Address[] | null;
  to: readonly Address[] | null;
  cc: readonly Address[] | null;
  bcc: readonly Address[] | null;
  inReplyTo: string | null;
  messageId: string | null;
}>;

/** A parameter: [name as written, raw value]. RFC 2231 continuations are joined, percent-encodings kept. */
export type Parameter = readonly [name: string, value: string];

/** Content-Disposition; `type` may be '' where the field has only parameters. */
export type Disposition = Readonly<{ type: string; parameters: readonly Parameter[] }>;

/** One MIME part. `encoding` is the transfer encoding as written, `7bit` where the part has none. */
export type Part = Readonly<{
  headerStart: number;
  /** Just after the blank line; `headerStart` where the part has no header. */
  bodyStart: number;
  /** Excludes the line end before a boundary, which belongs to the boundary (RFC 2046 §5.1.1). */
  bodyEnd: number;
  /** Line ends (LF) between `bodyStart` and `bodyEnd`. */
  lineCount: number;
  type: string;
  subtype: string;
  parameters: readonly Parameter[];
  contentId: string | null;
  description: string | null;
  encoding: string;
  md5: string | null;
  disposition: Disposition | null;
  language: readonly string[] | null;
  location: string | null;
  children: readonly Part[];
  message: EmbeddedMessage | null;
}>;

/** What a message/rfc822 part holds. */
export type EmbeddedMessage = Readonly<{ envelope: Envelope; root: Part }>;

/**
 * A whole message. `root` spans it: `headerStart` 0, `bodyEnd` = `sizeBytes`. `references`: the message ids of its
 * References field (message-ids.ts); null where it was stored before they were kept.
 */
export type ScannedMessage = Readonly<{
  sizeBytes: number;
  envelope: Envelope;
  root: Part;
  references: readonly string[] | null;
}>;

/** Whether `part` is a multipart of which no part was found. */
export function isEmptyMultipart(part: Part): boolean {
  return part.children.length === 0 && part.type.toLowerCase() === 'multipart';
}

/** What BODYSTRUCTURE prints as the only part of a multipart that has none. */
export const EMPTY_TEXT_PART: Part = {
  headerStart: 0,
  bodyStart: 0,
  bodyEnd: 0,
  lineCount: 0,
  type: 'text',
  subtype: 'plain',
  parameters: [],
  contentId: null,
  description: null,
  encoding: '7bit',
  md5: null,
  disposition: null,
  language: null,
  location: null,
  children: [],
  message: null,
};
