import fc from 'fast-check';
import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { BodyContext } from '../../src/crypto/context.ts';
import { BodyOpener, BodySealer, SEALED_BODY_HEADER_BYTES, sealedBodySizeBytes } from '../../src/crypto/sealed-body.ts';
import { SecretBytes } from '../../src/crypto/secret-bytes.ts';
import * as ids from './fixtures.ts';
import { codeOf, flipped } from './fixtures.ts';

const CHUNK = 16_384;
const SEALED_CHUNK = CHUNK + 16;
const HEADER = SEALED_BODY_HEADER_BYTES;
const EDGES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 1, 5 * CHUNK + 77];
const context: BodyContext = { kind: 'body', organization: ids.organization, body: ids.body };
const key = SecretBytes.random(32);

type Sealed = Readonly<{ bytes: Buffer; commitment: Buffer; plain: Buffer }>;
function seal(plain: Buffer, options: { pieceBytes?: number; under?: SecretBytes; as?: BodyContext } = {}): Sealed {
  using sealer = new BodySealer(options.under ?? key, options.as ?? context);
  const pieceBytes = options.pieceBytes ?? plain.length;
  const parts = [sealer.header];
  for (let at = 0; at < plain.length; at += pieceBytes) parts.push(...sealer.push(plain.subarray(at, at + pieceBytes)));
  parts.push(...sealer.end());
  return { bytes: Buffer.concat(parts), commitment: Buffer.from(sealer.commitment), plain };
}

function opener(sealed: Sealed, options: { bytes?: Buffer; under?: SecretBytes; as?: BodyContext } = {}): BodyOpener {
  const header = (options.bytes ?? sealed.bytes).subarray(0, HEADER);
  const expected = { commitment: sealed.commitment, plainSizeBytes: sealed.plain.length };
  return new BodyOpener(options.under ?? key, options.as ?? context, header, expected);
}

/** Reads [start, end) as the store does: exactly the range that the opener names, shorter where the file ends. */
function read(
  sealed: Sealed,
  range: [start: number, end: number] = [0, sealed.plain.length],
  bytes = sealed.bytes,
): Buffer {
  using open = opener(sealed, { bytes });
  const { offset, lengthBytes } = open.sealedRange(...range);
  return open.open(bytes.subarray(offset, offset + lengthBytes), ...range);
}

test.for(EDGES)('SB1 a body of %d bytes opens again, in any pieces', (sizeBytes) => {
  const plain = randomBytes(sizeBytes);
  for (const pieceBytes of [1000, CHUNK - 1, CHUNK, CHUNK + 1, 65_536]) {
    const sealed = seal(plain, { pieceBytes });
    expect(sealed.bytes).toHaveLength(sealedBodySizeBytes(sizeBytes));
    expect(read(sealed).equals(plain)).toBe(true);
  }
});

test('SB1 the caller may reuse its buffer after push', () => {
  using sealer = new BodySealer(key, context);
  const buffer = Buffer.alloc(100, 1);
  const parts = [sealer.header, ...sealer.push(buffer)];
  buffer.fill(2);
  parts.push(...sealer.push(buffer), ...sealer.end());
  const plain = Buffer.concat([Buffer.alloc(100, 1), Buffer.alloc(100, 2)]);
  expect(read({ bytes: Buffer.concat(parts), commitment: sealer.commitment, plain })).toEqual(plain);
});

test('SB1 two seals of one body share nothing but their length', () => {
  const [one, two] = [seal(Buffer.alloc(100)), seal(Buffer.alloc(100))];
  expect(one.commitment).not.toEqual(two.commitment);
  expect(one.bytes.subarray(HEADER)).not.toEqual(two.bytes.subarray(HEADER));
  expect(one.bytes.includes(Buffer.alloc(20))).toBe(false);
});

test('SB1 SB2 another key, organization or body id is a mismatch', () => {
  const sealed = seal(randomBytes(100));
  for (const options of [
    { under: SecretBytes.random(32) },
    { as: { ...context, organization: ids.otherOrganization } },
    { as: { ...context, body: ids.otherBody } },
  ]) {
    expect(codeOf(() => opener(sealed, options))).toBe('key-mismatch');
  }
});

test('SB2 every byte of the header counts, before any chunk is read', () => {
  const sealed = seal(randomBytes(100));
  for (let at = 0; at < HEADER; at += 1) {
    const expected = at < 8 ? 'content-damaged' : 'key-mismatch';
    expect(
      codeOf(() => opener(sealed, { bytes: flipped(sealed.bytes, at) })),
      `byte ${String(at)}`,
    ).toBe(expected);
  }
  for (let lengthBytes = 0; lengthBytes < HEADER; lengthBytes += 1) {
    expect(codeOf(() => opener(sealed, { bytes: sealed.bytes.subarray(0, lengthBytes) }))).toBe('content-damaged');
  }
});

test('SB2 a body that is whole, but not the one the wrapped key is bound to, is a mismatch', () => {
  const [bound, planted] = [seal(Buffer.from('the mail')), seal(Buffer.from('another.'))];
  expect(read(planted)).toEqual(planted.plain);
  expect(codeOf(() => opener(bound, { bytes: planted.bytes }))).toBe('key-mismatch');
  expect(codeOf(() => opener({ ...bound, commitment: Buffer.alloc(0) }))).toBe('key-mismatch');
});

describe('SB3 SB4 tampering', () => {
  const sealed = seal(randomBytes(2 * CHUNK + 500));
  const chunks = [0, 1, 2].map((index) => {
    const at = HEADER + index * SEALED_CHUNK;
    return sealed.bytes.subarray(at, Math.min(at + SEALED_CHUNK, sealed.bytes.length));
  });
  const [a = Buffer.of(), b = Buffer.of(), c = Buffer.of()] = chunks;
  const header = sealed.bytes.subarray(0, HEADER);
  const sealedElsewhere = seal(randomBytes(2 * CHUNK + 500)).bytes.subarray(HEADER);

  const offsets = [0, 1, CHUNK - 1, CHUNK, CHUNK + 15].flatMap((at) =>
    [0, 1].map((chunk) => HEADER + chunk * SEALED_CHUNK + at),
  );
  const lastOffsets = [0, 499, 500, 515].map((at) => HEADER + 2 * SEALED_CHUNK + at);
  test.for([...offsets, ...lastOffsets])('the byte at %d', (at) => {
    for (const mask of [0x01, 0x80]) {
      const bytes = flipped(sealed.bytes, at, mask);
      expect(codeOf(() => read(sealed, [0, sealed.plain.length], bytes))).toBe('content-damaged');
    }
  });

  test.for([
    ['chunks exchanged', [header, b, a, c]],
    ['a chunk repeated', [header, a, a, c]],
    ['a chunk dropped', [header, a, c]],
    ['the last chunk dropped', [header, a, b]],
    ['the last chunk repeated', [header, a, b, c, c]],
    ['a chunk added', [header, a, b, a, c]],
    ['one byte added', [header, a, b, c, Buffer.alloc(1)]],
    ['the chunks of another body', [header, sealedElsewhere]],
    ['no chunks', [header]],
  ] as const)('%s', ([, parts]) => {
    const bytes = Buffer.concat(parts);
    using open = opener(sealed);
    // as a whole file of whatever length, and as the range that the store reads of it
    expect(codeOf(() => open.open(bytes.subarray(HEADER), 0, sealed.plain.length))).toBe('content-damaged');
    const isLonger = bytes.length > sealed.bytes.length && bytes.subarray(0, sealed.bytes.length).equals(sealed.bytes);
    // What only follows the body is not read; the store compares the file's size with sealedBodySizeBytes.
    const expected = isLonger ? 'opened' : 'content-damaged';
    if (isLonger) expect(bytes.length).not.toBe(sealedBodySizeBytes(sealed.plain.length));
    expect(codeOf(() => read(sealed, [0, sealed.plain.length], bytes))).toBe(expected);
  });

  test('a range is whole or fails, though its first chunks are fine', () => {
    const bytes = flipped(sealed.bytes, sealed.bytes.length - 1);
    expect(read(sealed, [0, 2 * CHUNK], bytes)).toEqual(sealed.plain.subarray(0, 2 * CHUNK));
    expect(codeOf(() => read(sealed, [0, 2 * CHUNK + 1], bytes))).toBe('content-damaged');
  });
});

test.for([0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])(
  'SB3 SB5 a body of %d bytes cut at and inside every edge',
  (sizeBytes) => {
    const sealed = seal(randomBytes(sizeBytes));
    const edges = [0, 1, 2].map((index) => HEADER + index * SEALED_CHUNK);
    const cuts = edges.flatMap((edge) => [edge - 1, edge, edge + 1, edge + 15, edge + 16, edge + 17]);
    for (const cut of [...cuts, sealed.bytes.length - 1]) {
      if (cut < HEADER || cut >= sealed.bytes.length) continue;
      const bytes = sealed.bytes.subarray(0, cut);
      expect(
        codeOf(() => read(sealed, [0, sizeBytes], bytes)),
        `cut at ${String(cut)}`,
      ).toBe('content-damaged');
    }
  },
);

test('SB3 a body is not taken for a shorter or longer one', () => {
  const sealed = seal(randomBytes(2 * CHUNK));
  for (const sizeBytes of [0, CHUNK - 1, CHUNK, 2 * CHUNK - 1, 2 * CHUNK + 1, 3 * CHUNK]) {
    const expected = { commitment: sealed.commitment, plainSizeBytes: sizeBytes };
    using open = new BodyOpener(key, context, sealed.bytes.subarray(0, HEADER), expected);
    const { offset, lengthBytes } = open.sealedRange(0, sizeBytes);
    const bytes = sealed.bytes.subarray(offset, offset + lengthBytes);
    expect(
      codeOf(() => open.open(bytes, 0, sizeBytes)),
      `taken for ${String(sizeBytes)}`,
    ).toBe('content-damaged');
  }
});

test('SB5 the end of a body is authenticated where the last chunk is empty', () => {
  const sealed = seal(randomBytes(CHUNK));
  const damagedEnd = flipped(sealed.bytes, sealed.bytes.length - 1);
  expect(codeOf(() => read(sealed, [0, CHUNK], damagedEnd))).toBe('content-damaged');
  expect(codeOf(() => read(sealed, [CHUNK, CHUNK], damagedEnd))).toBe('content-damaged');
  expect(read(sealed, [0, CHUNK - 1], damagedEnd)).toEqual(sealed.plain.subarray(0, CHUNK - 1));
});

test('ranges give exactly the bytes they name and read only the chunks they touch', () => {
  const bodies = EDGES.map((sizeBytes) => seal(randomBytes(sizeBytes)));
  const position = fc.oneof(fc.nat(6 * CHUNK), fc.constantFrom(...EDGES), fc.constantFrom(CHUNK - 2, CHUNK + 2));
  fc.assert(
    fc.property(fc.constantFrom(...bodies), position, position, (sealed, one, two) => {
      const sizeBytes = sealed.plain.length;
      const [start, end] = [Math.min(one, two, sizeBytes), Math.min(Math.max(one, two), sizeBytes)];
      using open = opener(sealed);
      const { lengthBytes } = open.sealedRange(start, end);
      expect(lengthBytes).toBeLessThanOrEqual((Math.ceil((end - start) / CHUNK) + 2) * SEALED_CHUNK);
      expect(read(sealed, [start, end]).equals(sealed.plain.subarray(start, end))).toBe(true);
    }),
    { numRuns: 300 },
  );
});

test('ranges outside the body are refused', () => {
  using open = opener(seal(randomBytes(10)));
  for (const [start, end] of [
    [-1, 5],
    [0, 11],
    [6, 5],
    [0.5, 5],
    [0, NaN],
  ] as const) {
    expect(() => open.sealedRange(start, end)).toThrow(RangeError);
    expect(() => open.open(Buffer.alloc(0), start, end)).toThrow(RangeError);
  }
  expect(() => sealedBodySizeBytes(-1)).toThrow(RangeError);
  expect(() => sealedBodySizeBytes(2 ** 47)).toThrow(RangeError);
});

test('a sealer or opener that ended or was disposed does nothing more', () => {
  const sealer = new BodySealer(key, context);
  sealer.end();
  expect(() => sealer.end()).toThrow(TypeError);
  expect(() => sealer.push(Buffer.alloc(1))).toThrow(TypeError);
  const sealed = seal(randomBytes(10));
  const open = opener(sealed);
  open[Symbol.dispose]();
  expect(() => open.open(sealed.bytes.subarray(HEADER), 0, 10)).toThrow(TypeError);
});
