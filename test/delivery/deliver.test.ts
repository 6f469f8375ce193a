import { describe, expect, test } from 'vitest';
import type { ErrorCode } from '../../src/base/errors.ts';
import { memoryDelivery, refOf, type Step } from './memory-mailboxes.ts';

const ENVELOPE = {
  transaction: 'abc123',
  sender: 'ann@example.net',
  protocol: 'ESMTP',
  peer: { address: '192.0.2.7', helo: 'out.example.net', tlsCipher: null },
  principal: { protocol: 'smtp' },
  settle: 'together',
  refusesLoops: true,
  isChecked: false,
} as const;
const BODY = Buffer.from('Subject: hi\r\n\r\nx\r\n');

async function deliver(
  options: Readonly<{
    users: readonly string[];
    settle?: 'together' | 'each';
    body?: Buffer;
    refusesLoops?: boolean;
    faults?: readonly (readonly [string, Step, ErrorCode])[];
  }>,
) {
  const { mailboxes, delivery } = memoryDelivery();
  for (const fault of options.faults ?? []) mailboxes.fail(...fault);
  const { settle = 'together', refusesLoops = true } = options;
  const transaction = delivery.begin({ ...ENVELOPE, settle, refusesLoops });
  for (const user of options.users)
    await transaction.add({ address: `${user}@example.org`, ref: refOf(user), keyKind: 'symmetric' });
  await transaction.write(options.body ?? BODY);
  const outcomes = await transaction.commit();
  return { mailboxes, kinds: outcomes.map((outcome) => outcome.kind), users: mailboxes.stored.map((one) => one.user) };
}

test('D1 one copy for each mailbox, one outcome for each recipient', async () => {
  const { mailboxes, kinds, users } = await deliver({ users: ['bob', 'eve', 'bob'] });
  expect(kinds).toEqual(['stored', 'stored', 'stored']);
  expect(users.toSorted()).toEqual(['bob', 'eve']);
  expect(mailboxes).toMatchObject({ openHandles: 0, openWriters: 0 });
});

test('D5 trace fields, then the message as it came; `for` names the only recipient', async () => {
  const one = await deliver({ users: ['bob'] });
  const text = one.mailboxes.stored[0]!.bytes.toString();
  expect(text).toMatch(/^Return-Path: <ann@example.net>\r\nReceived: from out.example.net /);
  expect(text).toContain('for <bob@example.org>');
  expect(text.endsWith(`+0000\r\n${BODY.toString()}`)).toBe(true);
  const two = await deliver({ users: ['bob', 'eve'] });
  expect(two.mailboxes.stored[0]!.bytes.toString()).not.toContain('for <');
  expect(two.mailboxes.stored[0]!.bytes).toEqual(two.mailboxes.stored[1]!.bytes);
});

test('an empty message still has its trace fields', async () => {
  const { mailboxes, delivery } = memoryDelivery();
  const transaction = delivery.begin(ENVELOPE);
  await transaction.add({ address: 'bob@example.org', ref: refOf('bob'), keyKind: 'symmetric' });
  await transaction.commit();
  expect(mailboxes.stored[0]!.bytes.toString()).toMatch(/^Return-Path: .*\+0000\r\n$/s);
});

describe('D2 failures', () => {
  const FAULTS = [
    ['write', 'storage-full'],
    ['finish', 'storage-failed'],
    ['folder', 'key-refused'], // the key is asked for once more before anything is appended
  ] as const;

  test.for(FAULTS)('together: a failed %s withdraws all, and nothing is appended', async ([step, code]) => {
    const { mailboxes, kinds } = await deliver({ users: ['bob', 'eve', 'joe'], faults: [['eve', step, code]] });
    expect(kinds).toEqual(['failed', 'failed', 'failed']);
    expect(mailboxes).toMatchObject({ stored: [], appendsStarted: 0, openHandles: 0, openWriters: 0 });
  });

  test.for(FAULTS)('each: a failed %s is that recipient’s alone', async ([step, code]) => {
    const faults = [['eve', step, code]] as const;
    const { mailboxes, kinds, users } = await deliver({ users: ['bob', 'eve', 'joe'], settle: 'each', faults });
    expect(kinds).toEqual(['stored', 'failed', 'stored']);
    expect(users.toSorted()).toEqual(['bob', 'joe']);
    expect(mailboxes).toMatchObject({ openHandles: 0, openWriters: 0 });
  });

  test.for(['together', 'each'] as const)(
    '%s: a failed append leaves the others stored and says so',
    async (settle) => {
      const faults = [['eve', 'append', 'storage-failed']] as const;
      const { kinds, users } = await deliver({ users: ['bob', 'eve'], settle, faults });
      expect(kinds).toEqual(['stored', 'failed']);
      expect(users).toEqual(['bob']);
    },
  );
});

describe('D6 while the key service cannot be reached', () => {
  test.for(['open', 'newMessage', 'folder'] as const)(
    'a copy whose key is away at %s is kept waiting',
    async (step) => {
      const faults = [['eve', step, 'key-unavailable']] as const;
      const { mailboxes, kinds, users } = await deliver({ users: ['bob', 'eve'], faults });
      expect(kinds).toEqual(['stored', 'stored']);
      expect(users).toEqual(['bob']);
      expect(mailboxes.waiting.map((each) => each.user)).toEqual(['eve']);
      expect(mailboxes.waiting[0]!.bytes).toEqual(mailboxes.stored[0]!.bytes);
      expect(mailboxes).toMatchObject({ openHandles: 0, openWriters: 0 });
    },
  );

  test('what cannot be kept is refused when it is added', async () => {
    const { mailboxes, delivery } = memoryDelivery();
    mailboxes.fail('eve', 'newMessage', 'key-unavailable');
    mailboxes.fail('eve', 'newWaitingMessage', 'limit-exceeded');
    const transaction = delivery.begin(ENVELOPE);
    await expect(
      transaction.add({ address: 'eve@example.org', ref: refOf('eve'), keyKind: 'symmetric' }),
    ).rejects.toMatchObject({
      code: 'limit-exceeded',
    });
    await transaction.discard();
    expect(mailboxes).toMatchObject({ waiting: [], openHandles: 0, openWriters: 0 });
  });

  test('D4 a copy that could not be kept is not stored', async () => {
    const faults = [
      ['eve', 'newMessage', 'key-unavailable'],
      ['eve', 'keepWaiting', 'storage-full'],
    ] as const;
    const { mailboxes, kinds } = await deliver({ users: ['eve'], faults });
    expect(kinds).toEqual(['failed']);
    expect(mailboxes).toMatchObject({ waiting: [], openHandles: 0, openWriters: 0 });
  });
});

test('a mailbox whose key is refused is refused when it is added; the others go on', async () => {
  const { mailboxes, delivery } = memoryDelivery();
  mailboxes.fail('eve', 'newMessage', 'key-refused');
  const transaction = delivery.begin(ENVELOPE);
  await transaction.add({ address: 'bob@example.org', ref: refOf('bob'), keyKind: 'symmetric' });
  await expect(
    transaction.add({ address: 'eve@example.org', ref: refOf('eve'), keyKind: 'symmetric' }),
  ).rejects.toMatchObject({
    code: 'key-refused',
  });
  await transaction.write(BODY);
  expect(await transaction.commit()).toEqual([{ kind: 'stored' }]);
  expect(mailboxes).toMatchObject({ openHandles: 0, openWriters: 0 });
});

test('more than 50 hops are looping for everybody', async () => {
  const body = Buffer.from('Received: x\r\n'.repeat(51) + '\r\n');
  const { kinds, mailboxes } = await deliver({ users: ['bob', 'eve'], settle: 'each', body });
  expect(kinds).toEqual(['looping', 'looping']);
  expect(mailboxes).toMatchObject({ stored: [], openWriters: 0 });
  expect((await deliver({ users: ['bob'], refusesLoops: false, body })).kinds).toEqual(['stored']);
});

describe('D3 discard', () => {
  test('leaves nothing, at any moment, and may be repeated', async () => {
    const { mailboxes, delivery } = memoryDelivery();
    const transaction = delivery.begin(ENVELOPE);
    await transaction.add({ address: 'bob@example.org', ref: refOf('bob'), keyKind: 'symmetric' });
    const write = transaction.write(BODY);
    await Promise.all([write, transaction.discard(), transaction.discard()]);
    expect((await transaction.commit()).map((outcome) => outcome.kind)).toEqual(['failed']);
    expect(mailboxes).toMatchObject({ stored: [], openHandles: 0, openWriters: 0 });
  });

  test('while a recipient is being added', async () => {
    const { mailboxes, delivery } = memoryDelivery();
    const gate = Promise.withResolvers<undefined>();
    mailboxes.gates.set('newMessage', gate.promise);
    const transaction = delivery.begin(ENVELOPE);
    const adding = transaction.add({ address: 'bob@example.org', ref: refOf('bob'), keyKind: 'symmetric' });
    await transaction.discard();
    gate.resolve(undefined);
    await expect(adding).rejects.toMatchObject({ code: 'shutting-down' });
    expect(mailboxes).toMatchObject({ openHandles: 0, openWriters: 0 });
  });

  test('D4 does not call off a commit under way', async () => {
    const { mailboxes, delivery } = memoryDelivery();
    const gate = Promise.withResolvers<undefined>();
    mailboxes.gates.set('append', gate.promise);
    const transaction = delivery.begin(ENVELOPE);
    await transaction.add({ address: 'bob@example.org', ref: refOf('bob'), keyKind: 'symmetric' });
    await transaction.write(BODY);
    let isTold = false;
    const commit = transaction.commit().then((outcomes) => {
      isTold = true;
      return outcomes;
    });
    await transaction.discard();
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(isTold).toBe(false);
    gate.resolve(undefined);
    expect(await commit).toEqual([{ kind: 'stored' }]);
    expect(mailboxes.stored).toHaveLength(1);
  });
});
