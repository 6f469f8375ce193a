/** STARTTLS, AUTHENTICATE, LOGIN. RFC 9051 §6.2, RFC 4959 (initial response). */
import { SyntaxFault } from '../codes.ts';
import type { Lexer } from '../lexer.ts';

export type LoginCommand =
  | Readonly<{ kind: 'starttls' }>
  /** `mechanism` in upper case; `initialResponse` decoded, null when the client waits to be asked. */
  | Readonly<{ kind: 'authenticate'; mechanism: string; initialResponse: Buffer | null }>
  | Readonly<{ kind: 'login'; user: string; password: string }>;

const BASE64_FAULT = 'The authentication response is not base64';

export function parseAuthenticate(lexer: Lexer): LoginCommand {
  lexer.space();
  const mechanism = lexer.keyword();
  if (lexer.isAtEnd) return { kind: 'authenticate', mechanism, initialResponse: null };
  lexer.space();
  const written = lexer.astringBytes();
  // RFC 4959 §3: `=` is a response of no bytes.
  return {
    kind: 'authenticate',
    mechanism,
    initialResponse: written === '=' ? Buffer.alloc(0) : decodeBase64(written),
  };
}

export function parseLogin(lexer: Lexer): LoginCommand {
  lexer.space();
  const user = lexer.astring();
  lexer.space();
  return { kind: 'login', user, password: lexer.astring() };
}

/**
 * The client's answer to a `+` of AUTHENTICATE, as a byte string; null when it is `*`, which cancels.
 * Throws SyntaxFault. RFC 9051 §6.2.2.
 */
export function decodeSaslLine(line: string): Buffer | null {
  return line === '*' ? null : decodeBase64(line);
}

/** Canonical base64 only: Node alone would take any garbage. RFC 4648 §4. */
function decodeBase64(written: string): Buffer {
  const bytes = Buffer.from(written, 'base64');
  if (bytes.toString('base64') !== written) throw new SyntaxFault(BASE64_FAULT);
  return bytes;
}
