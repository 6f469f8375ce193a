import { expect, test } from 'vitest';
import { ServerError } from '../../../src/base/errors.ts';
import { failureAnswer, SyntaxFault } from '../../../src/imap/proto/codes.ts';

test.for([
  ['key-unavailable', 'NO', 'UNAVAILABLE'],
  ['key-refused', 'NO', 'UNAVAILABLE'],
  ['key-mismatch', 'NO', 'SERVERBUG'],
  ['content-damaged', 'NO', 'CORRUPTION'],
  ['over-quota', 'NO', 'OVERQUOTA'],
  ['message-too-large', 'NO', 'TOOBIG'],
  ['not-found', 'NO', 'NONEXISTENT'],
  ['already-exists', 'NO', 'ALREADYEXISTS'],
  ['invalid-argument', 'BAD', 'CLIENTBUG'],
] as const)('C1 %s gives %s [%s] and its client text', ([errorCode, status, code]) => {
  const error = new ServerError(errorCode, { clientText: 'for the client', detail: 'for the log' });
  expect(failureAnswer(error)).toEqual({ status, code, text: 'for the client' });
});

test('C1 C2 a syntax fault says its own; anything else is generic', () => {
  expect(failureAnswer(new SyntaxFault('Wrong'))).toEqual({ status: 'BAD', code: null, text: 'Wrong' });
  expect(failureAnswer(new SyntaxFault('Too much', { status: 'NO', code: 'LIMIT' }))).toEqual({
    status: 'NO',
    code: 'LIMIT',
    text: 'Too much',
  });
  for (const thrown of [new Error('/secret/path'), 'text', null, undefined]) {
    expect(failureAnswer(thrown)).toEqual({
      status: 'NO',
      code: 'UNAVAILABLE',
      text: 'Internal error, try again later',
    });
  }
});
