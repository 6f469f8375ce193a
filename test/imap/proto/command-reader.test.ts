import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CommandReader } from '../../../src/imap/proto/command-reader.ts';
import type { ReaderEvent, ReaderLimits } from '../../../src/imap/proto/reader-events.ts';
import { LIMITS_AFTER_LOGIN, LIMITS_BEFORE_LOGIN } from '../../../src/imap/proto/reader-events.ts';

type Decide = (event: Extract<ReaderEvent, { kind: 'literal-wanted' }>) => 'accept' | 'refuse';

/** Runs the bytes through a reader in these pieces; gives the events as short lines of text. */
function run(pieces: readonly string[], options: { limits?: ReaderLimits; decide?: Decide } = {}): string[] {
  const reader = new CommandReader(options.limits ?? LIMITS_AFTER_LOGIN);
  const out: string[] = [];
  let body = '';
  for (const piece of pieces) {
    reader.push(Buffer.from(piece, 'latin1'));
    for (let event = reader.next(); event; event = reader.next()) {
      if (event.kind === 'literal-chunk') {
        body += Buffer.from(event.bytes).toString('latin1');
        continue;
      }
      if (event.kind === 'literal-end') {
        out.push(`body ${body}`);
        body = '';
        continue;
      }
      out.push(show(event));
      if (event.kind !== 'literal-wanted') continue;
      if ((options.decide?.(event) ?? 'accept') === 'accept') reader.acceptLiteral();
      else reader.refuseLiteral();
    }
  }
  if (body !== '') out.push(`part ${body}`);
  return out;
}

function show(event: ReaderEvent): string {
  switch (event.kind) {
    case 'command':
    case 'literal-wanted': {
      const literals = event.args.literals.map(
        ({ bytes, isBinary }) => `${isBinary ? '~' : ''}${bytes.toString('latin1')}`,
      );
      const head = `${event.tag} ${event.name}|${event.args.text}|${literals.join(';')}`;
      if (event.kind === 'command') return `command ${head}`;
      return `wanted ${head} ${String(event.sizeBytes)}${event.synchronising ? '' : '+'}${event.isMessage ? ' message' : ''}`;
    }
    case 'line':
      return `line ${event.text}`;
    case 'bad-line':
      return `bad ${event.tag ?? '*'} ${event.reason}`;
    default:
      return event.kind;
  }
}

test.for([
  ['a NOOP\r\n', ['command a NOOP||']],
  ['a noop\nb Login x y\r\n', ['command a NOOP||', 'command b LOGIN| x y|']],
  ['a LOGIN {1+}\r\nu {2+}\r\npw\r\n', ['command a LOGIN| {1+} {2+}|u;pw']],
  [
    'a LOGIN {1}\r\nu {2}\r\npw\r\n',
    ['wanted a LOGIN| | 1', 'wanted a LOGIN| {1} |u 2', 'command a LOGIN| {1} {2}|u;pw'],
  ],
  ['a X ~{3+}\r\n\0\r\n\r\n', ['command a X| ~{3+}|~\0\r\n']],
  ['a X {0+}\r\n\r\n', ['command a X| {0+}|']],
  ['a X "{3}"\r\n', ['command a X| "{3}"|']],
  ['a LOGIN "x{y" z}\r\n', ['command a LOGIN| "x{y" z}|']],
  ['\r\n', ['bad * malformed']],
  ['  NOOP\r\n', ['bad * malformed']],
  ['a\r\n', ['bad a malformed']],
  ['a+ NOOP\r\n', ['bad * malformed']],
  ['a (\r\n', ['bad a malformed']],
  ['a NOOP\0\r\nb NOOP\r\n', ['bad a malformed', 'command b NOOP||']],
  ['a NOOP \rx\r\n', ['bad a malformed']],
  [`${'t'.repeat(129)} NOOP\r\n`, ['bad * malformed']],
] as const)('frames %j', ([bytes, events]) => {
  expect(run([bytes])).toEqual(events);
});

test('R5 the message of APPEND is streamed; several, too', () => {
  const bytes =
    'a APPEND INBOX (\\Seen) {5}\r\nhello (\\Draft) {3+}\r\n\r\nx {0+}\r\n\r\nb APPEND {5+}\r\ninbox {2+}\r\nhi\r\nc APPEND "a b" ~{1+}\r\nx\r\n';
  expect(run([bytes])).toEqual([
    'wanted a APPEND| INBOX (\\Seen) | 5 message',
    'body hello',
    'wanted a APPEND| (\\Draft) | 3+ message',
    'body \r\nx',
    'wanted a APPEND| | 0+ message',
    'body ',
    'command a APPEND||',
    'wanted b APPEND| {5+} |inbox 2+ message',
    'body hi',
    'command b APPEND||',
    'wanted c APPEND| "a b" | 1+ message',
    'body x',
    'command c APPEND||',
  ]);
});

test('R5 a message larger than every limit passes in chunks', () => {
  const reader = new CommandReader(LIMITS_AFTER_LOGIN);
  reader.push(Buffer.from('a APPEND INBOX {10000000+}\r\n'));
  expect(reader.next()).toMatchObject({ kind: 'literal-wanted', sizeBytes: 10_000_000, isMessage: true });
  reader.acceptLiteral();
  let count = 0;
  for (let sent = 0; sent < 10_000_000; sent += 50_000) {
    reader.push(Buffer.alloc(50_000));
    for (let event = reader.next(); event?.kind === 'literal-chunk'; event = reader.next()) count += event.bytes.length;
    expect(reader.bufferedBytes).toBe(0);
  }
  expect(count).toBe(10_000_000);
});

test.for([
  ['a LOGIN {400000000}\r\nb NOOP\r\n', ['bad a literal-too-large', 'command b NOOP||']],
  ['a LOGIN {2147483647}\r\n', ['bad a literal-too-large']],
  ['a LOGIN {99999999999999999999}\r\nb NOOP\r\n', ['bad a literal-too-large', 'command b NOOP||']],
  ['a LOGIN {-1}\r\nb NOOP\r\n', ['bad a literal-too-large', 'command b NOOP||']],
  ['a LOGIN {}\r\nb NOOP\r\n', ['bad a literal-too-large', 'command b NOOP||']],
  ['a LOGIN {99999999999999999999+}\r\nb NOOP\r\n', ['bad a literal-too-large', 'fatal']],
  ['a LOGIN {4294967296+}\r\nb NOOP\r\n', ['bad a literal-too-large', 'fatal']],
  ['a APPEND INBOX {99999999+}\r\nb LOGOUT\r\n', ['bad a literal-too-large', 'fatal']],
  [
    `a LOGIN {17000+}\r\nb LOGOUT\r\n${'x'.repeat(16990)} c\r\nd NOOP\r\n`,
    ['bad a literal-too-large', 'command d NOOP||'],
  ],
  [
    `a LOGIN {17000+}\r\n${'x'.repeat(17000)} {5+}\r\nb X\r\n\r\nd NOOP\r\n`,
    ['bad a literal-too-large', 'command d NOOP||'],
  ],
  [`a LOGIN {17000+}\r\n${'x'.repeat(17000)} {4}\r\nd NOOP\r\n`, ['bad a literal-too-large', 'command d NOOP||']],
  [`a LOGIN {14000+}\r\n${'x'.repeat(14000)} {2500}\r\nd NOOP\r\n`, ['bad a literal-too-large', 'command d NOOP||']],
] as const)('I1 I2 R3 R4 before login: case %#', ([bytes, events]) => {
  expect(run([bytes], { limits: LIMITS_BEFORE_LOGIN })).toEqual(events);
});

test('R4 a refused message literal is not read as commands', () => {
  const refuse = { decide: (): 'refuse' => 'refuse' };
  const swallowed = 'a APPEND INBOX {12+}\r\nb LOGOUT\r\n\r\n\r\nc NOOP\r\n';
  expect(run([swallowed], refuse).filter((line) => line.startsWith('command'))).toEqual(['command c NOOP||']);
  expect(run(['a APPEND INBOX {12}\r\nc NOOP\r\n'], refuse).slice(1)).toEqual(['command c NOOP||']);
  expect(run(['a APPEND INBOX {99999999+}\r\nb LOGOUT\r\n'], refuse).slice(1)).toEqual(['fatal']);
});

test('R4 refusal amid a message swallows the rest of it and of the command', () => {
  const reader = new CommandReader(LIMITS_AFTER_LOGIN);
  reader.push(Buffer.from('a APPEND INBOX {10}\r\n'));
  reader.next();
  reader.acceptLiteral();
  reader.push(Buffer.from('12345'));
  expect(reader.next()?.kind).toBe('literal-chunk');
  reader.refuseLiteral();
  reader.push(Buffer.from('a NOP {4+}\r\nxx\r\n rest\r\nb NOOP\r\n'));
  expect(reader.next()).toMatchObject({ kind: 'command', tag: 'b' });
});

test('the limits of a line: at it, past it, and no memory for what is dropped', () => {
  const { lineBytes, discardBytes } = LIMITS_BEFORE_LOGIN;
  const fits = `a NOOP ${'('.repeat(lineBytes - 7)}`;
  expect(run([`${fits}\r\n`], { limits: LIMITS_BEFORE_LOGIN })[0]).toMatch(/^command/);
  expect(run([`${fits}(\r\nb NOOP\r\n`], { limits: LIMITS_BEFORE_LOGIN })).toEqual([
    'bad a line-too-long',
    'command b NOOP||',
  ]);
  expect(run([`${fits}(\nb NOOP\r\n`], { limits: LIMITS_BEFORE_LOGIN })).toEqual([
    'bad a line-too-long',
    'command b NOOP||',
  ]);
  expect(run([`a NOOP ${'('.repeat(1_000_000)}`], { limits: LIMITS_BEFORE_LOGIN })).toEqual([
    'bad a line-too-long',
    'fatal',
  ]);
  const long = `a X ${'y'.repeat(lineBytes * 2)} {7+}\r\nb NOOP\n\r\nc NOOP\r\n`;
  expect(run([long], { limits: LIMITS_BEFORE_LOGIN })).toEqual(['bad a line-too-long', 'command c NOOP||']);
  expect(discardBytes).toBeGreaterThan(lineBytes * 2);
});

test('R2 many small literals are bounded by the text they take', () => {
  const events = run([`a LOGIN ${'{1+}\r\nx'.repeat(5_000)}\r\nb NOOP\r\n`], { limits: LIMITS_BEFORE_LOGIN });
  expect(events[0]).toMatch(/^bad a /);
  expect(events.at(-1)).toBe('command b NOOP||');
});

test('a line on request: AUTHENTICATE and IDLE', () => {
  const reader = new CommandReader(LIMITS_BEFORE_LOGIN);
  reader.push(Buffer.from('a IDLE\r\nDONE {3+}\r\nb NOOP\r\n'));
  expect(reader.next()).toMatchObject({ kind: 'command', name: 'IDLE' });
  reader.expectLine();
  expect(reader.next()).toEqual({ kind: 'line', text: 'DONE {3+}' });
  expect(reader.next()).toMatchObject({ kind: 'command', tag: 'b' });
});

test('I4 reset drops what came with STARTTLS', () => {
  const reader = new CommandReader(LIMITS_BEFORE_LOGIN);
  reader.push(Buffer.from('a STARTTLS\r\nb LOGIN u p\r\nc LOG'));
  reader.push(Buffer.from('IN u p\r\n'));
  expect(reader.next()).toMatchObject({ name: 'STARTTLS' });
  reader.reset();
  expect(reader.next()).toBeNull();
  reader.push(Buffer.from('d NOOP\r\n'));
  expect(reader.next()).toMatchObject({ tag: 'd' });
});

const small: ReaderLimits = { lineBytes: 40, commandBytes: 60, discardBytes: 120, streamsAppend: true };
const words = fc.constantFrom(
  'a NOOP\r\n', 'b LOGIN ', '{3+}\r\nabc', '{3}\r\nabc', ' x', '"q', '\r\n', '\n', '\r', '\0', '{50+}\r\n', '{61}\r\n', '~{2+}\r\n\0\0',
  'c APPEND box (\\Seen) ', 'd APPEND {3+}\r\nbox ', '{0+}\r\n', 'y'.repeat(30), '{+}\r\n', '{9999999999+}\r\n', '{-1}\r\n', 'e {', '}',
); // prettier-ignore

test('R1 any split gives the same events', () => {
  // The decision depends on the event only.
  const decide: Decide = (event) => (event.sizeBytes % 5 === 0 ? 'refuse' : 'accept');
  fc.assert(
    fc.property(
      fc.array(words, { maxLength: 25 }),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
      (parts, sizes) => {
        const bytes = parts.join('');
        const pieces: string[] = [];
        for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
          const size = sizes[turn % sizes.length] ?? 1;
          pieces.push(bytes.slice(at, at + size));
          at += size;
        }
        const whole = run([bytes], { limits: small, decide });
        expect(run(pieces, { limits: small, decide })).toEqual(whole);
        expect(run(bytes.split(''), { limits: small, decide })).toEqual(whole);
      },
    ),
    { numRuns: 3_000 },
  );
});
