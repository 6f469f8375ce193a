import { expect, test } from 'vitest';
import { ServerError } from '../../src/base/errors.ts';
import { REPLIES, replyToFailure, replyToOutcome } from '../../src/smtp/replies.ts';

test('every reply is well-formed, and its enhanced code agrees with its code', () => {
  for (const { code, enhanced, text } of Object.values(REPLIES)) {
    expect(text).toMatch(/^[\x20-\x7e]{1,400}$/);
    if (enhanced !== null) expect(enhanced).toMatch(new RegExp(`^${String(code)[0]!}\\.\\d{1,3}\\.\\d{1,3}$`));
  }
});

test.for([
  ['key-unavailable', '451 4.3.0'],
  ['key-refused', '451 4.3.0'],
  ['key-lost', '451 4.3.0'],
  ['key-mismatch', '451 4.3.0'],
  ['storage-failed', '451 4.3.0'],
  ['storage-full', '452 4.3.1'],
  ['over-quota', '452 4.2.2'],
  ['suspended', '450 4.2.1'],
  ['not-found', '450 4.2.1'],
  ['message-too-large', '552 5.3.4'],
  ['dns-unavailable', '451 4.3.0'],
  ['shutting-down', '451 4.3.2'],
] as const)('%s is %s', ([code, expected]) => {
  const reply = replyToFailure(new ServerError(code, { clientText: 'never shown', detail: 'nor this' }));
  expect(`${String(reply.code)} ${String(reply.enhanced)}`).toBe(expected);
  expect(reply.text).not.toMatch(/never|nor/);
});

test('A2 what nobody foresaw is temporary and says nothing', () => {
  expect(replyToFailure(new Error('secret path /var/x'))).toBe(REPLIES.temporaryFailure);
  expect(replyToOutcome({ kind: 'failed', error: 'odd' }, 't')).toBe(REPLIES.temporaryFailure);
});

test('stored and looping', () => {
  expect(replyToOutcome({ kind: 'stored' }, 'abc')).toEqual({ code: 250, enhanced: '2.0.0', text: 'Stored as abc' });
  expect(replyToOutcome({ kind: 'looping' }, 'abc')).toMatchObject({ code: 554, enhanced: '5.4.6' });
});
