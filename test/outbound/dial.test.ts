import { createServer, type AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { dial } from '../../src/outbound/dial.ts';

async function listen(host: string, port = 0): Promise<number> {
  const server = createServer((socket) => socket.on('error', () => undefined));
  await new Promise<void>((resolve) => server.listen(port, host, resolve));
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

const NOT_ROUTED = '192.0.2.1'; // TEST-NET-1: no answer, or a refusal of the router
const never = new AbortController().signal;

test('an address where nobody listens is passed over at once', async () => {
  const port = await listen('127.0.0.3');
  const started = performance.now();
  using socket = disposable(
    await dial(['127.0.0.1', '127.0.0.2', '127.0.0.3'], { port, sourceAddresses: [], timeoutMs: 10_000 }, never),
  );
  expect(socket.it.remoteAddress).toBe('127.0.0.3');
  expect(performance.now() - started).toBeLessThan(5000);
});

test('an address that does not answer holds up the next for a moment only (RFC 8305 §5)', async () => {
  const port = await listen('127.0.0.1');
  using socket = disposable(
    await dial([NOT_ROUTED, '127.0.0.1'], { port, sourceAddresses: [], timeoutMs: 10_000 }, never),
  );
  expect(socket.it.remoteAddress).toBe('127.0.0.1');
});

test('where nobody answers that is said, and what is given up is thrown', async () => {
  const port = await listen('127.0.0.4');
  const options = { port, sourceAddresses: [], timeoutMs: 10_000 };
  await expect(dial(['127.0.0.1', '127.0.0.2'], options, never)).rejects.toMatchObject({ fault: 'closed' });
  await expect(dial([], options, never)).rejects.toMatchObject({ fault: 'closed' });
  await expect(dial(['127.0.0.4'], options, AbortSignal.abort(new Error('stop')))).rejects.toThrow('stop');
});

test('the address to send from is that of the same family', async () => {
  const port = await listen('127.0.0.1');
  const sourceAddresses = ['::1', '127.0.0.9'];
  using socket = disposable(await dial(['127.0.0.1'], { port, sourceAddresses, timeoutMs: 10_000 }, never));
  expect(socket.it.localAddress).toBe('127.0.0.9');
});

function disposable<T extends { destroy(): void }>(it: T): { it: T } & Disposable {
  return {
    it,
    [Symbol.dispose]: () => {
      it.destroy();
    },
  };
}
