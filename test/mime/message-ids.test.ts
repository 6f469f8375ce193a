import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseHeaderFields } from '../../src/mime/headers.ts';
import { parseMessageIds, parseReferences } from '../../src/mime/message-ids.ts';

/** RFC 5322 §3.6.4; RFC 5256 §3 has both spellings of the first pair mean one id. */
test.for([
  ['<01KF8JCEOCBS0045PS@xxx.yyy.com>', ['01KF8JCEOCBS0045PS@xxx.yyy.com']],
  ['<"01KF8JCEOCBS0045PS"@xxx.yyy.com>', ['01KF8JCEOCBS0045PS@xxx.yyy.com']],
  ['<a@b><c@d>\r\n\t<e@f>', ['a@b', 'c@d', 'e@f']],
  ['Your mail of <a@b> (<c@d>)', ['a@b', 'c@d']],
  ['< a @ b >', ['a@b']],
  ['<a(comment)@b>', ['a@b']],
  ['<a@[1.2.3.4]>', ['a@[1.2.3.4]']],
  ['<"a\\"b"@c>', ['a"b@c']],
  ['<a <b@c>', ['b@c']],
  ['<nothing> <@b> <a@> <> a@b', []],
  ['', []],
  ['<a@b', []],
] as const)('%s', ([value, ids]) => {
  expect(parseMessageIds(value)).toEqual(ids);
});

test('MI2 the first and the last are kept', () => {
  const many = Array.from({ length: 500 }, (_, at) => `<${String(at)}@x>`);
  const block = `To: a\r\nReferences: ${many.join('\r\n ')}\r\nReferences: <other@x>\r\n\r\n`;
  const kept = parseReferences(block, parseHeaderFields(block));
  expect(kept).toHaveLength(200);
  expect(kept.slice(0, 2)).toEqual(['0@x', '301@x']);
  expect(kept.at(-1)).toBe('499@x');
  const long = `References: ${many.map((id) => `<${'l'.repeat(1000)}${id.slice(1)}`).join(' ')}\r\n\r\n`;
  expect(parseReferences(long, parseHeaderFields(long)).length).toBeLessThan(17);
});

test('MI1 no value throws or takes long', () => {
  const piece = fc.constantFrom('<', '>', '@', '"', '(', ')', '[', ']', '\\', ' ', 'a', '\xff');
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
      for (const id of parseMessageIds(pieces.join(''))) expect(id).toContain('@');
    }),
  );
  for (const char of ['<', '<"', '<(', '<[', '<a@b>', '<\\']) parseMessageIds(char.repeat(1e5));
});
