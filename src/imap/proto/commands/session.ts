/** CAPABILITY, NOOP, LOGOUT, ID, ENABLE, NAMESPACE, COMPRESS, UNAUTHENTICATE. RFC 9051 §6.1, §6.3; RFC 2971; RFC 4978; RFC 8437. */
import { SyntaxFault } from '../codes.ts';
import type { Lexer } from '../lexer.ts';

export type SessionCommand =
  | Readonly<{ kind: 'capability' }>
  | Readonly<{ kind: 'noop' }>
  | Readonly<{ kind: 'logout' }>
  | Readonly<{ kind: 'namespace' }>
  | Readonly<{ kind: 'unauthenticate' }>
  /** The algorithm in upper case. */
  | Readonly<{ kind: 'compress'; algorithm: string }>
  /** Names in upper case, as sent; unknown ones are to be ignored (RFC 9051 §6.3.1). */
  | Readonly<{ kind: 'enable'; extensions: readonly string[] }>
  /** What the client says about itself, untrusted; null for NIL. */
  | Readonly<{ kind: 'id'; fields: readonly IdField[] | null }>;

type IdField = readonly [name: string, value: string | null];

const MAX_EXTENSIONS = 50;
/** RFC 2971 §3.3: at most 30 pairs, names of 30 and values of 1,024 bytes. */
const MAX_ID_FIELDS = 30;
const MAX_ID_NAME_LENGTH = 30;
const MAX_ID_VALUE_LENGTH = 1024;

export function parseEnable(lexer: Lexer): SessionCommand {
  const extensions: string[] = [];
  do {
    lexer.space();
    if (extensions.length === MAX_EXTENSIONS) throw new SyntaxFault('Too many capabilities');
    extensions.push(lexer.keyword());
  } while (!lexer.isAtEnd);
  return { kind: 'enable', extensions };
}

export function parseCompress(lexer: Lexer): SessionCommand {
  lexer.space();
  return { kind: 'compress', algorithm: lexer.keyword() };
}

export function parseId(lexer: Lexer): SessionCommand {
  lexer.space();
  if (lexer.takeKeyword('NIL')) return { kind: 'id', fields: null };
  const fields: IdField[] = [];
  lexer.list(MAX_ID_FIELDS, () => {
    const name = lexer.nstring();
    lexer.space();
    const value = lexer.nstring();
    if (name === null || name.length > MAX_ID_NAME_LENGTH || (value?.length ?? 0) > MAX_ID_VALUE_LENGTH) {
      throw new SyntaxFault('A field of ID is missing its name or too long');
    }
    fields.push([name, value]);
  });
  return { kind: 'id', fields };
}
