/**
 * Sessions with remote hosts: opened as their policy asks, and kept for a moment for the next message.
 *
 * SE1  A session serves a message only if it was opened under the same policy for the same host.
 * SE2  What the policy asks for is not lowered. Only where TLS is opportunistic, a handshake that fails is followed by a
 *      connection without: such a server would get no mail at all otherwise. RFC 7435 §3.
 * SE3  Idle sessions are few, and short.
 *
 * Called by deliver-domain.ts; made by worker.ts.
 */
import type { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import { checkServerIdentity, connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { isVouchedFor } from './dane.ts';
import { dial } from './dial.ts';
import type { Hop } from './routes.ts';
import { SessionError } from './session-error.ts';
import { SmtpClient, type ClientTimeouts } from './smtp-client.ts';
import type { TlsPolicy } from './tls-policy.ts';

type SessionSettings = Readonly<{
  /** What this host calls itself. */
  hostname: string;
  sourceAddresses: readonly string[];
  connectTimeoutMs: number;
  timeouts: ClientTimeouts;
  /** PEM of authorities; undefined: those that Node trusts. */
  ca?: readonly string[] | undefined;
  nowMs(): number;
}>;
export type Target = Readonly<{ hop: Hop; addresses: readonly string[]; policy: TlsPolicy }>;
type Idle = Readonly<{ key: string; client: SmtpClient; timer: NodeJS.Timeout }>;

const IDLE_MS = 5000;
const IDLE_MAX_COUNT = 50;
const MESSAGES_MAX_COUNT = 100;
const CHAIN_MAX_COUNT = 10;

export class Sessions {
  readonly #settings: SessionSettings;
  readonly #idle = new Set<Idle>(); // the oldest first
  readonly #messages = new WeakMap<SmtpClient, number>();
  readonly #open = new Set<SmtpClient>();

  constructor(settings: SessionSettings) {
    this.#settings = settings;
  }

  /** A session that is ready for MAIL: one that was kept, or a new one. Throws SessionError, or `signal.reason`. */
  async take(target: Target, signal: AbortSignal): Promise<SmtpClient> {
    const key = keyOf(target);
    for (const idle of [...this.#idle].filter((one) => one.key === key).toReversed()) {
      this.#forget(idle);
      if (await idle.client.reset()) return idle.client;
      this.#end(idle.client);
    }
    const client = await this.#connect(target, { withTls: true }, signal);
    this.#messages.set(client, 0);
    return client;
  }

  /** Gives a session back after a message. */
  async put(target: Target, client: SmtpClient): Promise<void> {
    const count = (this.#messages.get(client) ?? 0) + 1;
    this.#messages.set(client, count);
    if (!client.isUsable || count >= MESSAGES_MAX_COUNT) {
      await client.quit();
      this.#end(client);
      return;
    }
    const timer = setTimeout(() => {
      this.#forget(idle);
      void client.quit().then(() => {
        this.#end(client);
      });
    }, IDLE_MS);
    const idle = { key: keyOf(target), client, timer };
    this.#idle.add(idle);
    const [oldest] = this.#idle;
    if (oldest && this.#idle.size > IDLE_MAX_COUNT) {
      this.#forget(oldest);
      await oldest.client.quit();
      this.#end(oldest.client);
    }
  }

  /** Ends the idle sessions politely. */
  async close(): Promise<void> {
    const idle = [...this.#idle];
    for (const one of idle) this.#forget(one);
    await Promise.all(idle.map(({ client }) => client.quit()));
  }

  /** Cuts all sessions, also those in the middle of a message. */
  cut(): void {
    for (const client of this.#open) client.destroy();
    this.#open.clear();
  }

  #forget(idle: Idle): void {
    clearTimeout(idle.timer);
    this.#idle.delete(idle);
  }

  #end(client: SmtpClient): void {
    client.destroy();
    this.#open.delete(client);
  }

  async #connect(target: Target, { withTls }: { withTls: boolean }, signal: AbortSignal): Promise<SmtpClient> {
    const { hop, addresses, policy } = target;
    const { hostname, timeouts, sourceAddresses, connectTimeoutMs } = this.#settings;
    const plain = await dial(addresses, { port: hop.port, sourceAddresses, timeoutMs: connectTimeoutMs }, signal);
    const socket = hop.relay?.tls === 'tls' ? await this.#secured(plain, target) : plain;
    const client = new SmtpClient(socket, timeouts);
    this.#open.add(client);
    const onAbort = (): void => {
      client.destroy();
    };
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await client.greet(hostname);
      const isOffered = withTls && client.extensions.has('STARTTLS') && !client.tls;
      if (isOffered) await client.startTls(hostname, this.#tlsOptions(target), trusts(policy, this.#settings.nowMs));
      if (!client.tls && policy.kind !== 'opportunistic') throw new SessionError('tls', 'STARTTLS');
      const credentials = hop.relay?.credentials;
      if (credentials) await client.authenticate(credentials.user, credentials.password);
      return client;
    } catch (error) {
      this.#end(client);
      signal.throwIfAborted();
      const isOfTls = error instanceof SessionError && (error.fault === 'tls' || error.stage === 'STARTTLS');
      if (!isOfTls || !withTls || policy.kind !== 'opportunistic') throw error;
      return await this.#connect(target, { withTls: false }, signal); // SE2
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** TLS from the first byte, as relays offer it. */
  async #secured(plain: Socket, target: Target): Promise<TLSSocket> {
    const done = Promise.withResolvers<undefined>();
    const socket = connectTls({ ...this.#tlsOptions(target), socket: plain }, () => {
      done.resolve(undefined);
    });
    const onFailure = (): void => {
      done.reject(new SessionError('tls', 'TLS'));
    };
    socket.on('error', onFailure).on('close', onFailure);
    const timer = setTimeout(onFailure, this.#settings.timeouts.replyMs);
    try {
      await done.promise;
      return socket;
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      clearTimeout(timer);
      socket.off('close', onFailure);
    }
  }

  #tlsOptions({ hop, policy }: Target): ConnectionOptions {
    const { ca } = this.#settings;
    const servername = policy.kind === 'dane' ? (policy.names[0] ?? hop.name) : hop.name;
    const names = policy.kind === 'verified' ? policy.names : null;
    return {
      ...(/[a-z]/i.test(servername) && !servername.includes(':') ? { servername } : {}),
      ...(ca ? { ca: [...ca] } : {}),
      rejectUnauthorized: names !== null,
      ...(names ? { checkServerIdentity: (_, certificate) => identityFault(names, certificate) } : {}),
    };
  }
}

type PeerCertificate = Parameters<typeof checkServerIdentity>[1];

function identityFault(names: readonly string[], certificate: PeerCertificate): Error | undefined {
  const faults = names.map((name) => checkServerIdentity(name, certificate));
  return faults.includes(undefined) ? undefined : faults[0];
}

/** What is left to check once the handshake is done; certificates of authorities were checked in it. */
function trusts(policy: TlsPolicy, nowMs: () => number): (socket: TLSSocket) => boolean {
  if (policy.kind !== 'dane') return () => true;
  return (socket) => isVouchedFor(chainOf(socket), { ...policy, nowMs: nowMs() });
}

function chainOf(socket: TLSSocket): readonly X509Certificate[] {
  const chain: X509Certificate[] = [];
  let certificate = socket.getPeerX509Certificate();
  while (certificate && chain.length < CHAIN_MAX_COUNT) {
    chain.push(certificate);
    const issuer: X509Certificate | undefined = certificate.issuerCertificate;
    certificate = issuer?.fingerprint256 === certificate.fingerprint256 ? undefined : issuer;
  }
  return chain;
}

function keyOf({ hop, policy }: Target): string {
  const { name, port, relay } = hop;
  return JSON.stringify([name, port, relay?.tls, relay?.credentials?.user, policy], (_, value: unknown) =>
    value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value,
  );
}
