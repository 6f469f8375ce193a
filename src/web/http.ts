/** Small HTTP servers of our own: bounded, without bodies, and with nothing about themselves in their answers. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';

type Listen = Readonly<{ host: string | undefined; port: number }>;
type Tls = Readonly<{ key: string; cert: string; minimumVersion: 'TLSv1.2' | 'TLSv1.3' }>;
export type Answer = Readonly<{
  status: number;
  type: string;
  body: string | Buffer;
  headers?: Readonly<Record<string, string>>;
}>;

const LIMITS = { requestTimeout: 10_000, headersTimeout: 5000, keepAliveTimeout: 5000, maxHeaderSize: 16_384 };
const CONNECTIONS_MAX_COUNT = 256;

export class HttpListeners implements AsyncDisposable {
  readonly #servers: (Server | TlsServer)[] = [];
  readonly #secure: TlsServer[] = [];

  /** Opens all addresses; gives their ports. Throws the error of the first that cannot be listened on. */
  async open(addresses: readonly Listen[], handler: RequestListener, tls?: Tls): Promise<number[]> {
    const ports: number[] = [];
    for (const { host, port } of addresses) {
      const server = tls ? createTlsServer({ ...LIMITS, ...contextOf(tls) }, handler) : createServer(LIMITS, handler);
      if (tls) this.#secure.push(server as TlsServer);
      server.maxConnections = CONNECTIONS_MAX_COUNT;
      this.#servers.push(server);
      server.listen({ port, ...(host === undefined ? {} : { host }) });
      await once(server, 'listening');
      server.on('clientError', (_error, socket) => {
        socket.destroy();
      });
      ports.push((server.address() as AddressInfo).port);
    }
    return ports;
  }

  /** From now on new TLS sessions use this certificate. */
  updateTls(tls: Tls): void {
    for (const server of this.#secure) server.setSecureContext(contextOf(tls));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) {
      const closed = server.listening ? once(server, 'close') : Promise.resolve();
      server.close();
      server.closeAllConnections();
      await closed;
    }
  }
}

type Ask = (
  path: string,
  query: URLSearchParams,
  of: Readonly<{ request: IncomingMessage }>,
) => Promise<Answer | null> | Answer | null;

/** A handler of these methods; what it throws is 500 without a word. `answer` gives null for what is not there. */
export function answering(answer: Ask, methods: readonly string[] = ['GET', 'HEAD']): RequestListener {
  return (request, response) => {
    if (request.method !== 'POST') request.resume();
    const send = ({ status, type, body, headers = {} }: Answer): void => {
      const length = Buffer.byteLength(body);
      response.writeHead(status, {
        'content-type': type,
        'content-length': length,
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        ...headers,
      });
      response.end(request.method === 'HEAD' ? undefined : body);
    };
    if (!methods.includes(request.method ?? '')) {
      send({ ...NOT_ALLOWED, headers: { allow: methods.join(', '), connection: 'close' } });
      return;
    }
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://host.invalid');
    Promise.resolve()
      .then(() => answer(pathname, searchParams, { request }))
      .then(
        (found) => {
          send(found ?? NOT_FOUND);
        },
        () => {
          send(FAILED);
        },
      );
  };
}

const text = (status: number, body: string): Answer => ({
  status,
  type: 'text/plain; charset=utf-8',
  body: `${body}\n`,
});
const NOT_FOUND = text(404, 'Not found');
const NOT_ALLOWED = text(405, 'Method not allowed');
const FAILED = text(500, 'Failed');

function contextOf({
  key,
  cert,
  minimumVersion,
}: Tls): Readonly<{ key: string; cert: string; minVersion: Tls['minimumVersion'] }> {
  return { key, cert, minVersion: minimumVersion };
}
