/**
 * Connects to one of several addresses: the first that answers. RFC 8305 §5.
 *
 * An address that is slow holds up the next for a moment only, and is not given up for it.
 */
import { connect, type Socket } from 'node:net';
import { SessionError } from './session-error.ts';

type DialOptions = Readonly<{
  port: number;
  /** Of this host, from which to connect: at most one of each family. */
  sourceAddresses: readonly string[];
  timeoutMs: number;
}>;

const STAGGER_MS = 300;

/** A connected socket. Throws SessionError when no address answers, or `signal.reason`. */
export async function dial(addresses: readonly string[], options: DialOptions, signal: AbortSignal): Promise<Socket> {
  signal.throwIfAborted();
  const won = Promise.withResolvers<Socket>();
  const left = [...addresses];
  const dialing = new Set<Socket>();
  let stagger: NodeJS.Timeout | undefined;
  const next = (): void => {
    clearTimeout(stagger);
    const address = left.shift();
    if (address === undefined) {
      if (dialing.size === 0) won.reject(new SessionError('closed', 'connect'));
      return;
    }
    const socket = connectTo(address, options);
    dialing.add(socket);
    socket.once('connect', () => {
      dialing.delete(socket);
      socket.removeAllListeners('error');
      won.resolve(socket);
    });
    socket.once('error', () => {
      dialing.delete(socket);
      next();
    });
    stagger = setTimeout(next, STAGGER_MS);
  };
  const timer = setTimeout(() => {
    won.reject(new SessionError('timeout', 'connect'));
  }, options.timeoutMs);
  const onAbort = (): void => {
    won.reject(signal.reason as Error);
  };
  signal.addEventListener('abort', onAbort, { once: true });
  next();
  try {
    return await won.promise;
  } finally {
    clearTimeout(timer);
    clearTimeout(stagger);
    left.length = 0;
    signal.removeEventListener('abort', onAbort);
    for (const socket of dialing) socket.on('error', () => undefined).destroy();
  }
}

function connectTo(address: string, { port, sourceAddresses }: DialOptions): Socket {
  const isIpv6 = address.includes(':');
  const localAddress = sourceAddresses.find((source) => source.includes(':') === isIpv6);
  return connect({ host: address, port, ...(localAddress === undefined ? {} : { localAddress }) });
}
