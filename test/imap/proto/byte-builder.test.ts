import { expect, test } from 'vitest';
import { ByteBuilder } from '../../../src/imap/proto/byte-builder.ts';

test('gathers pieces of any size and starts anew after take', () => {
  const builder = new ByteBuilder();
  let expected = '';
  for (let size = 0; size < 300; size += 7) {
    builder.append(Buffer.alloc(size, 65 + (size % 26)));
    expected += String.fromCharCode(65 + (size % 26)).repeat(size);
    expect(builder.length).toBe(expected.length);
  }
  expect(builder.bytes.toString('latin1')).toBe(expected);
  expect(builder.take().toString('latin1')).toBe(expected);
  expect(builder.length).toBe(0);
  builder.append(Buffer.from('x'));
  expect(builder.take().toString('latin1')).toBe('x');
});

test('keeps its own copy: the caller may reuse the piece', () => {
  const builder = new ByteBuilder();
  const piece = Buffer.from('abc');
  builder.append(piece);
  piece.fill(0);
  expect(builder.take().toString('latin1')).toBe('abc');
});
