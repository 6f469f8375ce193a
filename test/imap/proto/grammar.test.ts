import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SyntaxFault } from '../../../src/imap/proto/codes.ts';
import { CommandReader } from '../../../src/imap/proto/command-reader.ts';
import { LIMITS_AFTER_LOGIN } from '../../../src/imap/proto/reader-events.ts';
import type { Command } from '../../../src/imap/proto/grammar.ts';
import { parseCommand } from '../../../src/imap/proto/grammar.ts';
import { fault, parse } from './parse.ts';

test.for(['CAPABILITY', 'NOOP', 'LOGOUT', 'NAMESPACE', 'STARTTLS', 'CLOSE', 'UNSELECT', 'CHECK', 'IDLE'])(
  '%s takes no argument',
  (name) => {
    expect(parse(name)).toEqual({ kind: name.toLowerCase() });
    expect(parse(`${name.toLowerCase()} `)).toEqual({ kind: name.toLowerCase() }); // some clients leave a space
    expect(fault(`${name} x`)).toBe('BAD');
  },
);

test('G2 what is not known is a value', () => {
  expect(parse('XYZZY (a "b')).toEqual({ kind: 'unknown' });
  expect(parse('__proto__')).toEqual({ kind: 'unknown' });
  expect(parse('constructor')).toEqual({ kind: 'unknown' });
  expect(parse('UID XYZZY x y')).toEqual({ kind: 'unknown' });
  expect(fault('UID')).toBe('BAD');
});

test('APPEND without a literal', () => {
  expect(fault('APPEND INBOX')).toBe('BAD');
});

const pieces = fc.constantFrom(
  'FETCH', 'UID', 'SEARCH', 'STORE', 'LIST', 'STATUS', 'CREATE', 'SELECT', 'LOGIN', 'ID', 'ENABLE', 'COPY', 'NOT', 'OR', 'HEADER', 'RETURN',
  'BODY', 'BODY.PEEK', 'BINARY', 'HEADER.FIELDS', 'FLAGS', '+FLAGS.SILENT', '\\Seen', 'INBOX', '1:*', '$', '1', '4294967296', 'NIL', 'CHARSET',
  'UTF-8', 'STATUS', 'QRESYNC', 'MODSEQ', 'UNCHANGEDSINCE', '(', ')', '[', ']', '<', '>', '"', '\\', '"a b"', ' ', ' ', ' ', '.', ',', '*', '%',
  '{3+}\r\nabc', '{2+}\r\n\u00c3\u00a9', '{1+}\r\n\0', '&AOk-', '&', '1-Feb-1994', '\u00e9', '~', '=', '+', '-', '\t',
); // prettier-ignore
const line = fc.oneof(
  fc.tuple(pieces, fc.array(pieces, { maxLength: 16 })).map(([name, rest]) => `a ${name} ${rest.join('')}`),
  fc.tuple(pieces, fc.array(pieces, { maxLength: 16 })).map(([name, rest]) => `a ${name} ${rest.join(' ')}`),
  fc.string({ unit: 'binary-ascii', maxLength: 60 }),
  fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
);

test('G1 L1 L2 any line gives a command or a SyntaxFault without input in its text', () => {
  const texts = new Set<string>();
  let parsed = 0;
  fc.assert(
    fc.property(line, fc.boolean(), (bytes, utf8) => {
      const reader = new CommandReader(LIMITS_AFTER_LOGIN);
      reader.push(Buffer.from(`${bytes}\r\n`, 'latin1'));
      for (let event = reader.next(); event; event = reader.next()) {
        if (event.kind === 'literal-wanted') reader.refuseLiteral();
        if (event.kind !== 'command') continue;
        try {
          expect(parseCommand(event.name, event.args, { utf8 }).kind).toBeTypeOf('string');
          parsed += 1;
        } catch (error) {
          if (!(error instanceof SyntaxFault)) throw error;
          texts.add(error.clientText);
        }
      }
    }),
    { numRuns: 12_000 },
  );
  expect(parsed).toBeGreaterThan(100);
  expect(texts.size).toBeLessThan(100); // constants only
});

test('every command value is plain data', () => {
  const command: Command = parse('UID FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (From "To")]<0.10>)');
  expect(structuredClone(command)).toEqual(command);
});
