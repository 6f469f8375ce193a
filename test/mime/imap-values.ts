/** Values of IMAP answers: read from text, made from scanned messages, and normalised so that equal meaning is equal JSON. */
import {
  EMPTY_TEXT_PART,
  isEmptyMultipart,
  type Address,
  type Disposition,
  type Envelope,
  type Parameter,
  type Part,
} from '../../src/mime/body-structure.ts';

/** A list, a string, a number or NIL. */
export type Value = Value[] | string | number | null;

/** Reads one value of an IMAP answer given as a binary string. */
export function parseValue(text: string): Value {
  const root: Value[] = [];
  const stack: Value[][] = [root];
  let at = 0;
  while (at < text.length) {
    const top = stack.at(-1) ?? root;
    const char = text[at];
    const literal = /^~?\{(\d+)\}\r\n/.exec(text.slice(at, at + 20));
    if (char === ' ') at += 1;
    else if (char === '(') {
      const list: Value[] = [];
      top.push(list);
      stack.push(list);
      at += 1;
    } else if (char === ')') {
      stack.pop();
      at += 1;
    } else if (char === '"') {
      let out = '';
      for (at += 1; text[at] !== '"'; at += 1) {
        if (text[at] === '\\') at += 1;
        out += text.charAt(at);
      }
      top.push(out);
      at += 1;
    } else if (literal) {
      const from = at + literal[0].length;
      at = from + Number(literal[1]);
      top.push(text.slice(from, at));
    } else {
      const atom = /^[^ ()"]+/.exec(text.slice(at, at + 100))?.[0] ?? text.slice(at);
      top.push(/^\d+$/.test(atom) ? Number(atom) : atom.toUpperCase() === 'NIL' ? null : atom);
      at += atom.length;
    }
  }
  return root[0] ?? null;
}

const addressValue = (address: Address): Value => [address.name, address.route, address.mailbox, address.host];
const listValue = (list: readonly Address[] | null): Value => list && list.map(addressValue);
const parametersValue = (parameters: readonly Parameter[]): Value =>
  parameters.length > 0 ? parameters.flatMap(([name, value]) => [name, value]) : null;
const dispositionValue = (disposition: Disposition | null): Value =>
  disposition && [disposition.type, parametersValue(disposition.parameters)];

export function envelopeValue(envelope: Envelope): Value {
  const { date, subject, from, sender, replyTo, to, cc, bcc, inReplyTo, messageId } = envelope;
  const lists = [from, sender, replyTo, to, cc, bcc].map(listValue);
  return [date, subject, ...lists, inReplyTo, messageId];
}

/** BODYSTRUCTURE, RFC 9051 §7.5.2. */
export function bodyStructureValue(part: Part): Value {
  const { type, subtype, language, location } = part;
  const extension: Value[] = [dispositionValue(part.disposition), language && [...language], location];
  if (part.children.length > 0 || isEmptyMultipart(part)) {
    const children = part.children.length > 0 ? part.children : [EMPTY_TEXT_PART];
    return [...children.map(bodyStructureValue), subtype, parametersValue(part.parameters), ...extension];
  }
  const sizeBytes = part.bodyEnd - part.bodyStart;
  const basic: Value[] = [type, subtype, parametersValue(part.parameters), part.contentId, part.description];
  basic.push(part.encoding, sizeBytes);
  if (part.message) {
    basic.push(envelopeValue(part.message.envelope), bodyStructureValue(part.message.root), part.lineCount);
  } else if (type.toLowerCase() === 'text') basic.push(part.lineCount);
  return [...basic, part.md5, ...extension];
}

const NOBODY = new Set(['MISSING_MAILBOX']);
const NOWHERE = new Set(['MISSING_DOMAIN', 'unspecified-domain', '.MISSING-HOST-NAME.']);

const lower = (value: Value | undefined): Value => (typeof value === 'string' ? value.toLowerCase() : (value ?? null));
const squeeze = (value: Value | undefined): Value =>
  typeof value === 'string' ? value.replace(/[ \t\r\n]+/g, ' ').replace(/^[ \v\f]+|[ \v\f]+$/g, '') : (value ?? null);

function normaliseAddress(address: Value): Value {
  if (!Array.isArray(address)) return address;
  const [name, route, mailbox, host] = address;
  const known = (value: Value | undefined, placeholders: Set<string>): Value =>
    typeof value === 'string' && placeholders.has(value) ? '' : (value ?? null);
  return [squeeze(name), route ?? null, known(mailbox, NOBODY), known(host, NOWHERE)];
}

export function normaliseEnvelope(envelope: Value): Value {
  if (!Array.isArray(envelope)) return envelope;
  return envelope.map((value, place) => {
    if (place < 2 || place > 7) return squeeze(value);
    return Array.isArray(value) && value.length > 0 ? value.map(normaliseAddress) : null;
  });
}

function normaliseParameters(value: Value | undefined): [string, Value][] {
  if (!Array.isArray(value)) return [];
  const pairs: [string, Value][] = [];
  for (let at = 0; at + 1 < value.length; at += 2) {
    const name = String(lower(value[at]));
    pairs.push([name, name === 'charset' ? lower(value[at + 1]) : squeeze(value[at + 1])]);
  }
  return pairs.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

const normaliseDisposition = (value: Value | undefined): Value =>
  Array.isArray(value) && value.length > 0 ? [lower(value[0]), normaliseParameters(value[1])] : null;
function normaliseLanguage(value: Value | undefined): Value {
  if (typeof value === 'string') return [value.toLowerCase()];
  return Array.isArray(value) ? value.map(lower).sort() : null;
}

export function normaliseBodyStructure(body: Value): Value {
  if (!Array.isArray(body) || body.length === 0) return body;
  if (Array.isArray(body[0])) {
    const firstText = body.findIndex((value) => !Array.isArray(value));
    const kids = body.slice(0, firstText);
    const rest = body.slice(firstText);
    const tail = [normaliseDisposition(rest[2]), normaliseLanguage(rest[3]), squeeze(rest[4])];
    return ['multi', kids.map(normaliseBodyStructure), lower(rest[0]), normaliseParameters(rest[1]), ...tail];
  }
  const type = lower(body[0]);
  let parameters = normaliseParameters(body[2]);
  if (type === 'text') parameters = parameters.filter((pair) => pair[0] !== 'charset' || pair[1] !== 'us-ascii');
  const out: Value[] = [type, lower(body[1]), parameters, squeeze(body[3]), squeeze(body[4]), lower(body[5])];
  out.push(body[6] ?? null);
  let rest = body.slice(7);
  if (type === 'message' && Array.isArray(body[8]) && Array.isArray(body[7])) {
    out.push(normaliseEnvelope(body[7]), normaliseBodyStructure(body[8]), body[9] ?? null);
    rest = body.slice(10);
  } else if (type === 'text') {
    out.push(body[7] ?? null);
    rest = body.slice(8);
  }
  return [...out, rest[0] ?? null, normaliseDisposition(rest[1]), normaliseLanguage(rest[2]), squeeze(rest[3])];
}
