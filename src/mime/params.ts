/**
 * Structured MIME fields: Content-Type, Content-Disposition, Content-Transfer-Encoding and
 * Content-Language (RFC 2045 §5.1, RFC 2183, RFC 3282), with the parameter extensions of RFC 2231.
 *
 * P1  No input throws; a field that is not understood counts as absent (RFC 2045 §5.2).
 * P2  At most `parameterCount` parameters are read of a field, and `continuationCount` sections of one
 *     parameter; the rest is left out.
 * P3  RFC 2231 continuations whose numbers run 0, 1, 2 ... are joined to one parameter, with the
 *     name `x*` where a section is percent-encoded; values are never decoded here.
 */
import type { Disposition, Parameter } from './body-structure.ts';
import { TOKEN_CHARS, TokenReader } from './tokens.ts';

type ParameterLimits = Readonly<{ parameterCount: number; continuationCount: number }>;
export type ContentType = Readonly<{ type: string; subtype: string; parameters: readonly Parameter[] }>;

const VALUE_CHARS = new Uint8Array(256).fill(1);
for (const char of ' \t\r\n;') VALUE_CHARS[char.charCodeAt(0)] = 0;

/** `type/subtype; name=value ...`, or null when it is no media type. RFC 2045 §5.1. */
export function parseContentType(value: string, limits: ParameterLimits): ContentType | null {
  const reader = new TokenReader(value);
  reader.skipSpace();
  const type = reader.run(TOKEN_CHARS);
  reader.skipSpace();
  if (type === '' || !reader.take('/')) return null;
  reader.skipSpace();
  const subtype = reader.run(TOKEN_CHARS);
  reader.skipSpace();
  if (subtype === '' || !(reader.atEnd || reader.current === ';')) return null;
  return { type, subtype, parameters: readParameters(reader, limits) };
}

/** Content-Disposition, or null when there is nothing in it. RFC 2183 §2. */
export function parseDisposition(value: string, limits: ParameterLimits): Disposition | null {
  const reader = new TokenReader(value);
  reader.skipSpace();
  const type = reader.run(TOKEN_CHARS);
  reader.skipSpace();
  const parameters = readParameters(reader, limits);
  return type === '' && parameters.length === 0 ? null : { type, parameters };
}

/** The one token of Content-Transfer-Encoding, or null when the field holds anything else. RFC 2045 §6.1. */
export function parseTransferEncoding(value: string): string | null {
  const reader = new TokenReader(value);
  reader.skipSpace();
  const token = reader.run(TOKEN_CHARS);
  reader.skipSpace();
  return reader.atEnd && token !== '' ? token : null;
}

/** The tags of Content-Language, or null when there is none. RFC 3282 §2. */
export function parseLanguages(value: string, maxCount: number): string[] | null {
  const reader = new TokenReader(value);
  const tags: string[] = [];
  while (!reader.atEnd && tags.length < maxCount) {
    reader.skipSpace();
    const tag = reader.run(TOKEN_CHARS);
    if (tag !== '') tags.push(tag);
    reader.skipSpace();
    reader.skipTo(',');
    reader.take(',');
  }
  return tags.length > 0 ? tags : null;
}

/** The raw value of the first parameter `name` (lower case); null when there is none. */
export function parameterValue(parameters: readonly Parameter[], name: string): string | null {
  return parameters.find((parameter) => parameter[0].toLowerCase() === name)?.[1] ?? null;
}

function readParameters(reader: TokenReader, limits: ParameterLimits): Parameter[] {
  const raw: Parameter[] = [];
  let hasSections = false;
  while (!reader.atEnd && raw.length < limits.parameterCount) {
    reader.skipTo(';');
    if (!reader.take(';')) break;
    reader.skipSpace();
    const name = reader.run(TOKEN_CHARS);
    reader.skipSpace();
    if (name === '' || !reader.take('=')) continue;
    reader.skipSpace();
    const isQuoted = reader.current === '"';
    const value = isQuoted ? reader.quotedString() : reader.run(VALUE_CHARS);
    if (isQuoted && reader.unterminated) break;
    if (!isQuoted && value === '') continue;
    hasSections ||= name.includes('*');
    raw.push([name, value]);
  }
  return hasSections ? joinContinuations(raw, limits.continuationCount) : raw;
}

type Section = Readonly<{ index: number; isEncoded: boolean; value: string }>;

/** `name*N` and `name*N*`; a plain `name*` is no section of its own. RFC 2231 §3. */
const SECTION = /^([^*]+)\*(\d{1,6})(\*?)$/;

function joinContinuations(raw: readonly Parameter[], maxCount: number): Parameter[] {
  const byName = new Map<string, { name: string; sections: Section[] }>();
  for (const [name, value] of raw) {
    const match = SECTION.exec(name);
    if (!match) continue;
    const base = match[1] ?? '';
    if (Number(match[2]) >= maxCount) continue;
    const group = byName.get(base.toLowerCase()) ?? { name: base, sections: [] };
    group.sections.push({ index: Number(match[2]), isEncoded: match[3] === '*', value });
    byName.set(base.toLowerCase(), group);
  }
  const joined: Parameter[] = [];
  const complete = new Set<string>();
  for (const [key, { name, sections }] of byName) {
    sections.sort((a, b) => a.index - b.index);
    if (!sections.every((section, place) => section.index === place)) continue;
    complete.add(key);
    const isEncoded = sections.some((section) => section.isEncoded);
    joined.push([isEncoded ? `${name}*` : name, sections.map((section) => section.value).join('')]);
  }
  const rest = raw.filter(([name]) => {
    const match = SECTION.exec(name);
    return !match || (Number(match[2]) < maxCount && !complete.has((match[1] ?? '').toLowerCase()));
  });
  return [...rest, ...joined];
}
