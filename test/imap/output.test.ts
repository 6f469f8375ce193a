import { PassThrough, Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { Output } from '../../src/imap/output.ts';

/** A socket that keeps what it gets and takes it when told. */
function slowSocket() {
  const writes: string[] = [];
  const waiting: (() => void)[] = [];
  const socket = new Writable({
    highWaterMark: 1,
    write: (chunk: Buffer, _encoding, done) => {
      writes.push(chunk.toString('latin1'));
      waiting.push(done);
    },
  });
  return { socket, writes, takeOne: () => waiting.shift()?.() };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('O1 what is said within a turn is one write, bytes and texts in order', async () => {
  const { socket, writes } = slowSocket();
  const output = new Output(socket, { maxBytes: 100, stallMs: 1_000 }, () => undefined);
  output.write('a\xff');
  output.write(Buffer.from('bc'));
  output.write('');
  output.write('d');
  expect(writes).toEqual([]);
  await turn();
  await turn();
  expect(writes).toEqual(['a\xffbcd']);
});

test('O2 room comes back when the client takes what is held', async () => {
  const { socket, takeOne } = slowSocket();
  const output = new Output(socket, { maxBytes: 10, stallMs: 1_000 }, () => undefined);
  output.write('x'.repeat(10));
  await output.room();
  output.write('y');
  let hasRoom = false;
  const room = output.room().then(() => {
    hasRoom = true;
  });
  await turn();
  expect(hasRoom).toBe(false);
  takeOne();
  takeOne();
  await room;
  expect(hasRoom).toBe(true);
});

test('O3 who takes nothing is cut off, once somebody waits', async () => {
  const { socket } = slowSocket();
  const stalled = Promise.withResolvers<void>();
  const output: Output = new Output(socket, { maxBytes: 1, stallMs: 20 }, () => {
    output.close();
    stalled.resolve();
  });
  output.write('too much');
  await output.room(); // released by close
  await stalled.promise;
  expect(output.heldBytes).toBeGreaterThan(0);
});

test('after close nothing is written and nobody waits', async () => {
  const socket = new PassThrough();
  const output = new Output(socket, { maxBytes: 1, stallMs: 1_000 }, () => undefined);
  output.write('abc');
  output.close();
  output.write('def');
  await output.room();
  await output.drained();
  await turn();
  expect(socket.read()).toBeNull();
});
