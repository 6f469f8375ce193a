import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ServerError } from '../../src/base/errors.ts';
import { bodyId, epoch, mailboxId, messageId, organizationId } from '../../src/base/ids.ts';
import {
  heldMessage,
  LineReader,
  lineOf,
  rosterLine,
  type HeldMessage,
  type RosterLine,
} from '../../src/gateway/lines.ts';

const hexId = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString('hex'));
const bytes = fc.uint8Array({ maxLength: 200 }).map((content) => Buffer.from(content));
const line: fc.Arbitrary<RosterLine> = fc.oneof(
  fc.record({ kind: fc.constant('domain' as const), name: fc.string(), isSuspended: fc.boolean() }),
  fc.record({
    kind: fc.constant('mailbox' as const),
    organization: hexId.map(organizationId),
    mailbox: hexId.map(mailboxId),
    epoch: fc.integer({ min: 1, max: 0xffff_ffff }).map(epoch),
    publicKey: bytes,
  }),
  fc.record({
    kind: fc.constant('recipient' as const),
    domain: fc.string(),
    index: bytes,
    mailbox: hexId.map(mailboxId),
    isSuspended: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('end' as const), linesCount: fc.nat() }),
);

async function* pieces(whole: Buffer, sizeBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < whole.length; at += sizeBytes) yield await Promise.resolve(whole.subarray(at, at + sizeBytes));
}

test('lines come back as they were, cut anywhere, and what follows them too', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(line, { maxLength: 5 }),
      bytes,
      fc.integer({ min: 1, max: 50 }),
      async (all, rest, cut) => {
        const reader = new LineReader(pieces(Buffer.concat([Buffer.from(all.map(lineOf).join('')), rest]), cut));
        const read = [];
        for (let count = all.length; count > 0; count -= 1) read.push(rosterLine((await reader.line()) ?? ''));
        expect(read).toEqual(all);
        const left = [];
        for await (const piece of reader.bytes()) left.push(piece);
        expect(Buffer.concat(left).equals(rest)).toBe(true);
      },
    ),
  );
});

test('a held message comes back as it was', () => {
  const id = '0f'.repeat(16);
  const message: HeldMessage = {
    id: 7,
    message: messageId(id),
    epoch: epoch(3),
    body: bodyId(id),
    sizeBytes: 5_000_000_000,
    savedAtMs: 1,
    isJunk: true,
    sealedKey: Buffer.from([0, 255]),
    commitment: Buffer.alloc(32, 1),
    sealedSummary: Buffer.alloc(0),
  };
  expect(heldMessage(lineOf(message).trimEnd())).toEqual(message);
});

test('LN1 anything else is refused as what it is: never a throw of another kind', () => {
  const broken = fc.oneof(
    fc.string(),
    fc.json(),
    line.chain((good) => fc.string().map((junk) => JSON.stringify({ ...good, kind: junk }))),
    line.map((good) => lineOf({ ...good, mailbox: '../..' } as never).replace('"kind":"domain"', '"kind":"mailbox"')),
  );
  fc.assert(
    fc.property(broken, (text) => {
      for (const read of [rosterLine, heldMessage]) {
        try {
          read(text);
        } catch (error) {
          expect(error).toBeInstanceOf(ServerError);
          expect(error).toMatchObject({ code: 'invalid-argument' });
        }
      }
    }),
  );
  expect(() => heldMessage(JSON.stringify({ id: 1 }))).toThrow(ServerError);
  expect(() => rosterLine('{"kind":"end","linesCount":-1}')).toThrow(ServerError);
});
