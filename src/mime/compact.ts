/**
 * The stored form of a scanned message: JSON arrays, with a version in front. It is sealed beside
 * each message and opened for every list, so it is kept small and quick to expand.
 *
 * C1  decodeMessage(encodeMessage(m)) equals m, whatever bytes its strings hold.
 * C2  Stored data outlives this code: a layout, once released, is only read; changes get a new version.
 *
 * Layout. 0 stands for null, trailing zeros are left out, parameters and addresses are flat:
 *   message   [2, sizeBytes, envelope, part, references]; before references were kept [1, sizeBytes, envelope, part]
 *   envelope  [date, subject, from, sender, replyTo, to, cc, bcc, inReplyTo, messageId]; sender and
 *             replyTo are 1 where they are the list of from; a list is [name, route, mailbox, host, ...]
 *   part      [headerStart, bodyStart - headerStart, bodyEnd - bodyStart, lineCount, type, subtype, encoding,
 *             parameters, content, contentId, description, disposition, language, md5, location]
 *   content   0, [0, part, ...] (multipart) or [1, envelope, part] (embedded message)
 */
import { ServerError } from '../base/errors.ts';
import type {
  Address,
  Disposition,
  EmbeddedMessage,
  Envelope,
  Parameter,
  Part,
  ScannedMessage,
} from './body-structure.ts';

const VERSION = 2;
/** Without references. */
const FIRST_VERSION = 1;

type Text = string | 0;
type PackedAddresses = (string | 0)[];
type PackedEnvelope = (Text | 1 | PackedAddresses)[];
type PackedContent = 0 | [0, ...PackedPart[]] | [1, PackedEnvelope, PackedPart];
type PackedMessage = [number, number, PackedEnvelope, PackedPart, string[]?];
type PackedPart = (number | string | string[] | Exclude<PackedContent, 0>)[];

/** The stored form of a message. */
export function encodeMessage(scanned: ScannedMessage): string {
  const { sizeBytes, references } = scanned;
  const packed = [sizeBytes, packEnvelope(scanned.envelope), packPart(scanned.root)];
  return JSON.stringify(references ? [VERSION, ...packed, references] : [FIRST_VERSION, ...packed]);
}

/** The message of a stored form. Throws ServerError `content-damaged` when it is of an unknown version or malformed. */
export function decodeMessage(text: string): ScannedMessage {
  let packed: unknown;
  try {
    packed = JSON.parse(text);
  } catch (cause) {
    throw damaged('stored structure is not JSON', cause);
  }
  if (!Array.isArray(packed) || (packed[0] !== VERSION && packed[0] !== FIRST_VERSION)) {
    throw damaged('stored structure has an unknown version');
  }
  const [, sizeBytes, envelope, root, references = null] = packed as PackedMessage;
  try {
    return { sizeBytes, envelope: unpackEnvelope(envelope), root: unpackPart(root), references };
  } catch (cause) {
    throw damaged('stored structure is malformed', cause);
  }
}

function damaged(detail: string, cause?: unknown): ServerError {
  return new ServerError('content-damaged', { clientText: 'The message is damaged', detail, cause });
}

function trimmed<T>(list: T[]): T[] {
  while (list.at(-1) === 0) list.pop();
  return list;
}

function packEnvelope(envelope: Envelope): PackedEnvelope {
  const { from } = envelope;
  const packList = (list: readonly Address[] | null): 0 | PackedAddresses =>
    list ? list.flatMap(({ name, route, mailbox, host }) => [name ?? 0, route ?? 0, mailbox ?? 0, host ?? 0]) : 0;
  const packDefault = (list: readonly Address[] | null): 0 | 1 | PackedAddresses =>
    list && list === from ? 1 : packList(list);
  return trimmed([
    envelope.date ?? 0,
    envelope.subject ?? 0,
    packList(from),
    packDefault(envelope.sender),
    packDefault(envelope.replyTo),
    packList(envelope.to),
    packList(envelope.cc),
    packList(envelope.bcc),
    envelope.inReplyTo ?? 0,
    envelope.messageId ?? 0,
  ]);
}

function packPart(part: Part): PackedPart {
  const { message, children, disposition } = part;
  let content: PackedContent = 0;
  if (message) content = [1, packEnvelope(message.envelope), packPart(message.root)];
  else if (children.length > 0) content = [0, ...children.map(packPart)];
  return trimmed<PackedPart[number]>([
    part.headerStart,
    part.bodyStart - part.headerStart,
    part.bodyEnd - part.bodyStart,
    part.lineCount,
    part.type,
    part.subtype,
    part.encoding,
    part.parameters.length > 0 ? part.parameters.flat() : 0,
    content,
    part.contentId ?? 0,
    part.description ?? 0,
    disposition ? [disposition.type, ...disposition.parameters.flat()] : 0,
    part.language ? [...part.language] : 0,
    part.md5 ?? 0,
    part.location ?? 0,
  ]);
}

function textOrNull(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

function unpackAddresses(packed: PackedEnvelope[number] | undefined): Address[] | null {
  if (!Array.isArray(packed)) return null;
  const list: Address[] = [];
  for (let at = 0; at < packed.length; at += 4) {
    list.push({
      name: textOrNull(packed[at]),
      route: textOrNull(packed[at + 1]),
      mailbox: textOrNull(packed[at + 2]),
      host: textOrNull(packed[at + 3]),
    });
  }
  return list;
}

function unpackEnvelope(packed: PackedEnvelope): Envelope {
  const from = unpackAddresses(packed[2]);
  return {
    date: textOrNull(packed[0]),
    subject: textOrNull(packed[1]),
    from,
    sender: packed[3] === 1 ? from : unpackAddresses(packed[3]),
    replyTo: packed[4] === 1 ? from : unpackAddresses(packed[4]),
    to: unpackAddresses(packed[5]),
    cc: unpackAddresses(packed[6]),
    bcc: unpackAddresses(packed[7]),
    inReplyTo: textOrNull(packed[8]),
    messageId: textOrNull(packed[9]),
  };
}

function unpackParameters(flat: readonly string[], first: number): Parameter[] {
  const parameters: Parameter[] = [];
  for (let at = first; at + 1 < flat.length; at += 2) parameters.push([flat[at] ?? '', flat[at + 1] ?? '']);
  return parameters;
}

const NO_PARTS: readonly Part[] = [];
const NO_PARAMETERS: readonly Parameter[] = [];

function unpackPart(packed: PackedPart): Part {
  if (typeof packed[3] !== 'number' || typeof packed[6] !== 'string') throw new TypeError('not a part');
  const headerStart = packed[0] as number;
  const bodyStart = headerStart + (packed[1] as number);
  const parameters = packed[7] as string[] | 0 | undefined;
  const content = (packed[8] ?? 0) as PackedContent;
  const disposition = packed[11] as string[] | 0 | undefined;
  const language = packed[12] as string[] | 0 | undefined;
  return {
    headerStart,
    bodyStart,
    bodyEnd: bodyStart + (packed[2] as number),
    lineCount: packed[3],
    type: packed[4] as string,
    subtype: packed[5] as string,
    parameters: parameters ? unpackParameters(parameters, 0) : NO_PARAMETERS,
    contentId: textOrNull(packed[9]),
    description: textOrNull(packed[10]),
    encoding: packed[6],
    md5: textOrNull(packed[13]),
    disposition: disposition ? unpackDisposition(disposition) : null,
    language: language ? language : null,
    location: textOrNull(packed[14]),
    children: content !== 0 && content[0] === 0 ? unpackChildren(content) : NO_PARTS,
    message: content !== 0 && content[0] === 1 ? unpackEmbedded(content) : null,
  };
}

function unpackDisposition(packed: readonly string[]): Disposition {
  return { type: packed[0] ?? '', parameters: unpackParameters(packed, 1) };
}

function unpackChildren(content: readonly [0, ...PackedPart[]]): Part[] {
  const [, ...children] = content;
  return children.map(unpackPart);
}

function unpackEmbedded([, envelope, root]: readonly [1, PackedEnvelope, PackedPart]): EmbeddedMessage {
  return { envelope: unpackEnvelope(envelope), root: unpackPart(root) };
}
