/**
 * The parameters by which a sender asks for reports. RFC 3461 §4. Pure.
 *
 * DP1  What comes out is decoded: whoever sends the mail on encodes it again.
 * DP2  Anything that the grammar does not allow is null, and refused by the caller.
 *
 * Called by command.ts.
 */
import type { NotifyOn } from '../queue/envelope.ts';

/** RFC 3461 §4.4. */
const MAX_ENVELOPE_ID_CHARS = 100;
/** RFC 3461 §4.2. */
const MAX_ORIGINAL_RECIPIENT_CHARS = 500;
const XTEXT = /^(?:[!-*,-<>-~]|\+[0-9A-F]{2})*$/;
const ADDRESS_TYPE = /^[A-Za-z0-9][A-Za-z0-9-]*$/;
const PRINTABLE = /^[\x20-\x7e]*$/;

/** NOTIFY: empty for NEVER. RFC 3461 §4.1. */
export function parseNotify(value: string): readonly NotifyOn[] | null {
  const words = value.toUpperCase().split(',');
  if (words.length === 1 && words[0] === 'NEVER') return [];
  const known: Readonly<Record<string, NotifyOn>> = { SUCCESS: 'success', FAILURE: 'failure', DELAY: 'delay' };
  const wanted = words.map((word) => known[word]).filter((one) => one !== undefined);
  return wanted.length === words.length && new Set(wanted).size === wanted.length ? wanted : null;
}

/** ORCPT: address type, `;`, address. RFC 3461 §4.2; addresses of type utf-8 stay as they are written, RFC 6533 §3. */
export function parseOriginalRecipient(value: string): string | null {
  const semicolon = value.indexOf(';');
  const [type, address] = [value.slice(0, semicolon), value.slice(semicolon + 1)];
  if (value.length > MAX_ORIGINAL_RECIPIENT_CHARS || semicolon < 1 || !ADDRESS_TYPE.test(type) || address === '') {
    return null;
  }
  const decoded = type.toLowerCase() === 'utf-8' ? address : decodeXtext(address);
  return decoded === null ? null : `${type};${decoded}`;
}

/** ENVID. RFC 3461 §4.4. */
export function parseEnvelopeId(value: string): string | null {
  return value.length > MAX_ENVELOPE_ID_CHARS ? null : decodeXtext(value);
}

/** RET. RFC 3461 §4.3. */
export function parseReturn(value: string): 'full' | 'headers' | null {
  const word = value.toUpperCase();
  return word === 'FULL' ? 'full' : word === 'HDRS' ? 'headers' : null;
}

/** RFC 3461 §4: what it stands for must be printable, since it is copied into reports. */
function decodeXtext(text: string): string | null {
  if (!XTEXT.test(text)) return null;
  const decoded = text.replaceAll(/\+([0-9A-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return PRINTABLE.test(decoded) ? decoded : null;
}
