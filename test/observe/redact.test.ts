import { expect, test, vi } from 'vitest';
import { redactFields } from '../../src/observe/redact.ts';

test.for([
  'password',
  'passphrase',
  'clientSecret',
  'grantToken',
  'privateKey',
  'mailboxKey',
  'key',
  'subject',
  'body',
])('R1 %s is replaced at any depth', (name) => {
  const written = JSON.stringify(redactFields({ [name]: 'canary', inner: { list: [{ [name]: 'canary' }] } }));
  expect(written).not.toContain('canary');
  expect(written.match(/\[redacted\]/g)).toHaveLength(2);
});

test('R1 names that only look alike are kept', () => {
  const fields = { mailbox: 'm', keyId: 'k', bodyId: 'b', messageId: 'i', rootKey: 'arn' };
  expect(redactFields(fields)).toEqual(fields);
});

test('R2 bytes become their number', () => {
  const bytes = Buffer.from('canary');
  expect(redactFields({ a: bytes, b: new Uint8Array(3), c: new ArrayBuffer(9), d: { e: [bytes] } })).toEqual({
    a: '[6 bytes]',
    b: '[3 bytes]',
    c: '[9 bytes]',
    d: { e: ['[6 bytes]'] },
  });
});

test('R3 depth, members and texts are bounded; a circle ends', () => {
  const circle: Record<string, unknown> = { long: 'x'.repeat(5000) };
  circle['self'] = circle;
  const many = Object.fromEntries(Array.from({ length: 1000 }, (_, n) => [`n${String(n)}`, n]));
  const written = JSON.stringify(redactFields({ circle, many, list: Array.from({ length: 1000 }, () => 'y') }));
  expect(written.length).toBeLessThan(12_000);
  expect(written).toContain('[3976 more]');
  expect(written).toContain('"omittedCount":968');
});

test('R2 an error keeps name, message, code and cause, not what a library attached', () => {
  const cause = Object.assign(new Error('socket'), { code: 'ECONNRESET', $response: { body: 'canary' } });
  const error = Object.assign(new TypeError('failed', { cause }), { request: 'canary', requestId: 'r-1' });
  const safe = redactFields({ error })['error'];
  expect(safe).toMatchObject({ name: 'TypeError', message: 'failed', requestId: 'r-1', cause: { code: 'ECONNRESET' } });
  expect(JSON.stringify(safe)).not.toContain('canary');
});

test('values that JSON does not know are written', () => {
  const fields = {
    big: 10n,
    when: new Date(0),
    never: new Date(Number.NaN),
    call: () => 1,
    none: null,
    absent: undefined,
  };
  expect(JSON.parse(JSON.stringify(redactFields(fields)))).toEqual({
    big: '10',
    when: '1970-01-01T00:00:00.000Z',
    never: '[no date]',
    call: '[function]',
    none: null,
  });
});

const pseudonym = /^addr-[0-9a-f]{12}$/;

test.for(['ann@example.org', 'Ann.Lee+x@sub.example.org', '"ann lee"@example.org', 'ünï@exämple.org', 'a@b'])(
  'R4 %s is a pseudonym',
  (address) => {
    expect(redactFields({ address })['address']).toMatch(pseudonym);
  },
);

test('R4 addresses inside texts and errors, too', () => {
  const error = new Error('no mailbox <ann@example.org>, nor bob@example.org.');
  const { message, stack } = redactFields({ error })['error'] as { message: string; stack: string };
  expect(message).toMatch(/^no mailbox <addr-\w{12}>, nor addr-\w{12}\.$/);
  expect(stack).not.toContain('example.org');
  expect(stack).toContain('redact.test.ts');
});

test('R4 what is no address is kept', () => {
  const path = 'at send (/app/node_modules/@aws-sdk/client-kms/index.js:1:2)';
  expect(redactFields({ path, at: 'a @ b', twice: '@@' })).toEqual({ path, at: 'a @ b', twice: '@@' });
});

test('R4 a pseudonym is stable in one process and differs in another', async () => {
  const of = (address: string) => redactFields({ address })['address'];
  expect(of('A@Example.org')).toBe(of('a@example.org'));
  expect(of('a@example.org')).not.toBe(of('b@example.org'));
  vi.resetModules(); // as another process would load it
  const other = await import('../../src/observe/redact.ts');
  expect(other.redactFields({ address: 'a@example.org' })['address']).not.toBe(of('a@example.org'));
});

test('R4 hostile texts take no long time', () => {
  const startedMs = performance.now();
  for (const text of ['"'.repeat(1024), 'a'.repeat(1024), `a@${'a.'.repeat(500)}`, 'a@'.repeat(500)])
    redactFields({ text });
  expect(performance.now() - startedMs).toBeLessThan(250);
});
