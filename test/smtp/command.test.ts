import { describe, expect, test } from 'vitest';
import { parseMail, parseRcpt } from '../../src/smtp/command.ts';

const mail = (line: string) => {
  const parsed = parseMail(`MAIL FROM:${line}`);
  return parsed.kind === 'refused' ? `${String(parsed.reply.code)} ${String(parsed.reply.enhanced)}` : parsed;
};
const rcpt = (line: string, isUtf8 = false) => {
  const parsed = parseRcpt(`RCPT TO:${line}`, { isUtf8 });
  return parsed.kind === 'refused' ? `${String(parsed.reply.code)} ${String(parsed.reply.enhanced)}` : parsed.address;
};

test('MAIL with every parameter', () => {
  expect(mail('<a@b.example> SIZE=123 BODY=8BITMIME SMTPUTF8')).toEqual({
    kind: 'mail',
    address: 'a@b.example',
    sizeBytes: 123,
    isUtf8: true,
    envelopeId: null,
    returnContent: null,
    requiresTls: false,
  });
  expect(mail('<>')).toMatchObject({ address: '', sizeBytes: null, isUtf8: false });
  expect(parseMail('mail from: <a@b.example> body=7bit ')).toMatchObject({ address: 'a@b.example' });
  expect(mail('<j\u00f6rg@b.example> SMTPUTF8')).toMatchObject({ address: 'j\u00f6rg@b.example' });
});

test.for([
  ['<a@b.example> RET=FULL', '555 5.5.4'], // P2
  ['<a@b.example> AUTH=<>', '555 5.5.4'],
  ['<a@b.example> SIZE=1 SIZE=2', '501 5.5.4'],
  ['<a@b.example> SIZE=', '501 5.5.4'],
  ['<a@b.example> SIZE=-1', '501 5.5.4'],
  ['<a@b.example> SIZE=1e3', '501 5.5.4'],
  ['<a@b.example> BODY=BINARYMIME', '501 5.5.4'],
  ['<a@b.example> SMTPUTF8=1', '501 5.5.4'],
  ['<a@b.example> =x', '501 5.5.4'],
  ['<a@b.example>SIZE=1', '501 5.1.7'],
  ['a@b.example', '501 5.1.7'],
  ['<a@b.example', '501 5.1.7'],
  ['<a>', '501 5.1.7'],
  ['<@b.example>', '501 5.1.7'],
  ['<a@>', '501 5.1.7'],
  ['', '501 5.1.7'],
  ['<j\u00f6rg@b.example>', '553 5.6.7'],
  ['<a\u200bb@b.example> SMTPUTF8', '501 5.1.7'],
  ['<a\ufffdb@b.example> SMTPUTF8', '501 5.1.7'],
])('MAIL FROM:%s is %s', ([line, expected]) => {
  expect(mail(line!)).toBe(expected);
});

describe('addresses', () => {
  test.for([
    ['<bob@Example.ORG>', 'bob@Example.ORG'],
    ['<@relay.example,@other.example:bob@example.org>', 'bob@example.org'],
    ['<"bob"@example.org>', 'bob@example.org'], // P1
    ['<"b\\ob"@example.org>', 'bob@example.org'],
    ['<"b b"@example.org>', '"b b"@example.org'],
    ['<"b@c"@example.org>', '"b@c"@example.org'],
    ['<"b\\"c"@example.org>', '"b\\"c"@example.org'],
    ['<"a>b"@example.org>', '"a>b"@example.org'],
    ['<""@example.org>', '""@example.org'],
    ['<a..b@example.org>', '"a..b"@example.org'],
    ['<a.@example.org>', '"a."@example.org'],
    ['<bob@[192.0.2.1]>', 'bob@[192.0.2.1]'],
    ['<bob@[IPv6:2001:db8::1]>', 'bob@[IPv6:2001:db8::1]'],
    ['<PostMaster>', 'postmaster'],
    ['<a%b@example.org>', 'a%b@example.org'],
    [`<${'l'.repeat(64)}@example.org>`, `${'l'.repeat(64)}@example.org`],
    [`<${'l'.repeat(242)}@example.org>`, `${'l'.repeat(242)}@example.org`], // a path of 256
  ])('RCPT TO:%s', ([line, expected]) => {
    expect(rcpt(line!)).toBe(expected);
  });

  test.for([
    '<>',
    '<bob>',
    '<bob@>',
    '<a@b@example.org>',
    '<bob@exa mple.org>',
    '<b b@example.org>',
    '<"bob@example.org>',
    '<"b"b"@example.org>',
    '<bob@-a.example>',
    '<bob@a..b>',
    '<bob@[300.1.1.1]>',
    '<bob@[IPv6:zz]>',
    '<bob@[::1]>',
    '<bob@a.example.>',
    '<<bob@example.org>>',
    `<${'l'.repeat(243)}@example.org>`,
  ])('RCPT TO:%s is refused', (line) => {
    expect(rcpt(line)).toBe('501 5.1.3');
  });

  test('SMTPUTF8 is for the transaction that announced it', () => {
    expect(rcpt('<jos\u00e9@example.org>')).toBe('553 5.6.7');
    expect(rcpt('<jos\u00e9@example.org>', true)).toBe('jos\u00e9@example.org');
    expect(rcpt('<bob@b\u00fccher.example>', true)).toBe('bob@b\u00fccher.example');
  });

  test('P2 no RCPT parameter is announced', () => {
    expect(rcpt('<bob@example.org> NOTIFY=NEVER')).toBe('555 5.5.4');
  });
});
