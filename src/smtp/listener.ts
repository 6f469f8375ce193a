/**
 * The listeners for mail from other servers and from our own users. The files listener*.ts are the only ones that know the smtp-server library, which
 * brings the life of the connection, the command dispatch and STARTTLS; everything that decides about mail is ours.
 * The library's own members that start with an underscore are used here: its version is pinned, and
 * test/smtp/listener.test.ts is the contract with it.
 *
 * L1  The certificate is always the operator's: the library's built-in one is never reached.
 * L2  Connections are bounded, in all and for each client address; who is over a limit is told 421.
 * L3  `stop` tells idle peers 421 at once, lets messages in flight finish within the grace period, then cuts.
 *
 * Called by app.ts.
 */
import { once } from 'node:events';
import { type AddressInfo, BlockList, isIP, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { SMTPServer } from 'smtp-server';
import type { Config } from '../config/schema.ts';
import type { Delivery } from '../delivery/deliver.ts';
import type { Logger } from '../observe/logger.ts';
import { type ConnectionContext, MailConnection } from './listener-connection.ts';
import { LMTP_POLICY } from './lmtp.ts';
import { mxPolicy } from './mx.ts';
import { type SubmissionDeps, submissionPolicy, submissionRules } from './submission.ts';
import type { ListenerPolicy } from './policy.ts';
import { REPLIES, type Reply } from './replies.ts';

type TlsIdentity = Readonly<{ key: string; cert: string; minimumVersion?: 'TLSv1.2' | 'TLSv1.3' }>;
type SmtpListenersDeps = Readonly<{
  config: Config['smtp'];
  hostname: string;
  tls: TlsIdentity;
  delivery: Delivery;
  /** Null where no user can log in: then nothing listens for them, whatever the configuration says. */
  submission: SubmissionDeps | null;
  logger: Logger;
}>;
/** Ports in the order of the `listen` options. */
type BoundPorts = Readonly<{
  mx: readonly number[];
  lmtp: readonly number[];
  submission: readonly number[];
  submissions: readonly number[];
}>;
type SmtpListeners = Readonly<{
  /** Throws the error of the first address that cannot be listened on; then none is. */
  start(): Promise<BoundPorts>;
  /** Stops within `graceMs` and a moment (L3). */
  stop(graceMs: number): Promise<void>;
  /** From now on new TLS sessions use this certificate. */
  reloadTls(tls: TlsIdentity): void;
  connectionsCount(): number;
}>;

const UNWANTED_COMMANDS = ['XCLIENT', 'XFORWARD', 'WIZ', 'SHELL', 'KILL'];
const ACCEPT_BACKLOG_COUNT = 1024;
const PACE_CHECK_MS = 5000;
const REFUSED_LINGER_MS = 1000;

/** Makes the listeners of the configuration; nothing is opened before `start`. Throws TypeError without a certificate. */
export function createSmtpListeners(deps: SmtpListenersDeps): SmtpListeners {
  const { mx, lmtp, submission, submissions } = deps.config;
  const serversOf = (policy: ListenerPolicy, count: number, isSecure?: 'secure'): MailServer[] =>
    Array.from({ length: count }, () => new MailServer(deps, policy, isSecure));
  const mxServers = serversOf(mxPolicy(deps.config), mx.listen.length);
  const lmtpServers = serversOf(LMTP_POLICY, lmtp.listen.length);
  const userPolicy = deps.submission && submissionPolicy(submissionRules(submission, deps.submission));
  const submissionServers = userPolicy ? serversOf(userPolicy, submission.listen.length) : [];
  const submissionsServers = userPolicy ? serversOf(userPolicy, submissions.listen.length, 'secure') : [];
  const all = [...mxServers, ...lmtpServers, ...submissionServers, ...submissionsServers];
  return {
    start: async () => {
      try {
        const bind = (servers: MailServer[], addresses: typeof mx.listen): Promise<number[]> =>
          Promise.all(addresses.map((address, index) => servers[index]?.bind(address) ?? Promise.resolve(0)));
        return {
          mx: await bind(mxServers, mx.listen),
          lmtp: await bind(lmtpServers, lmtp.listen),
          submission: await bind(submissionServers, submission.listen.slice(0, submissionServers.length)),
          submissions: await bind(submissionsServers, submissions.listen.slice(0, submissionsServers.length)),
        };
      } catch (error) {
        await Promise.all(all.map((server) => server.stop(0)));
        throw error;
      }
    },
    stop: async (graceMs) => {
      await Promise.all(all.map((server) => server.stop(graceMs)));
    },
    reloadTls: (tls) => {
      for (const server of all) server.updateSecureContext(secureOptions(tls));
    },
    connectionsCount: () => all.reduce((sum, server) => sum + server.openCount, 0),
  };
}

function secureOptions({ key, cert, minimumVersion = 'TLSv1.2' }: TlsIdentity) {
  if (key === '' || cert === '') throw new TypeError('SMTP needs a certificate and its key'); // L1
  return { key, cert, minVersion: minimumVersion };
}

/** One listening address. */
class MailServer extends SMTPServer {
  readonly #context: ConnectionContext;
  /** Until the socket is gone; the library forgets a connection as soon as it is being closed. */
  readonly #open = new Set<MailConnection>();
  readonly #byAddress = new Map<string, number>();
  #paceTimer: NodeJS.Timeout | undefined;
  #isStopping = false;

  constructor(deps: SmtpListenersDeps, policy: ListenerPolicy, isSecure?: 'secure') {
    super({
      ...secureOptions(deps.tls),
      name: deps.hostname,
      heloResponse: '%s',
      lmtp: policy.protocol === 'lmtp',
      size: deps.config.maxMessageBytes,
      secure: isSecure === 'secure',
      disabledCommands: policy.submission ? UNWANTED_COMMANDS : [...UNWANTED_COMMANDS, 'AUTH'],
      authOptional: true, // who may send is ours to say: session.ts
      hideENHANCEDSTATUSCODES: false,
      hideDSN: !policy.submission,
      hideREQUIRETLS: !policy.submission,
      disableReverseLookup: true,
      socketTimeout: deps.config.idleTimeoutMs,
      logger: false, // its lines carry addresses
    });
    const { config, delivery, logger } = deps;
    this.#context = {
      config,
      policy,
      delivery,
      logger,
      allowsCleartext: (address) => policy.submission?.allowsCleartext === true && isLoopback(address),
      isStopping: () => this.#isStopping,
    };
    this.on('error', (error) => {
      logger.debug('connection failed', { error });
    });
  }

  get openCount(): number {
    return this.#open.size;
  }

  async bind({ host, port }: Readonly<{ host: string | undefined; port: number }>): Promise<number> {
    const failed = Promise.withResolvers<never>();
    this.server.once('error', failed.reject);
    this.server.listen({ port, backlog: ACCEPT_BACKLOG_COUNT, ...(host === undefined ? {} : { host }) });
    await Promise.race([once(this.server, 'listening'), failed.promise]);
    this.server.off('error', failed.reject);
    const checkMs = Math.min(PACE_CHECK_MS, this.#context.config.dataTimeoutMs / 2);
    this.#paceTimer = setInterval(() => {
      for (const connection of this.#open) connection.checkPace(performance.now());
    }, checkMs).unref();
    return (this.server.address() as AddressInfo).port;
  }

  async stop(graceMs: number): Promise<void> {
    this.#isStopping = true;
    const closed = this.server.listening ? once(this.server, 'close') : Promise.resolve();
    this.server.close();
    for (const socket of this._pendingSockets.values()) socket.destroy(); // in their TLS handshake
    for (const connection of this.#open) connection.stopIfIdle();
    const cut = setTimeout(() => {
      for (const connection of this.#open) connection.cut();
    }, graceMs);
    await closed;
    clearTimeout(cut);
    clearInterval(this.#paceTimer);
  }

  /** Called by the library for each socket; the limits stand in front. */
  override connect(socket: Socket | TLSSocket): void {
    const address = socket.remoteAddress ?? '';
    const connection = this.#isFull(address) ? null : new MailConnection(this, socket, this.#context);
    if (!connection) {
      refuse(socket, this.#isStopping ? REPLIES.closing : REPLIES.tooManyConnections);
      return;
    }
    this.#open.add(connection);
    this.#count(address, 1);
    connection.onceClosed(() => {
      this.#open.delete(connection);
      this.#count(address, -1);
    });
    this.connections.add(connection);
    connection.on('error', (error: Error) => {
      this._onError(error);
    });
    connection.init();
  }

  #isFull(address: string): boolean {
    if (this.#isStopping || this.#open.size >= this.#context.config.maxConnectionsCount) return true;
    const ofAddress = this.#byAddress.get(address) ?? 0;
    return ofAddress >= this.#context.policy.maxConnectionsPerAddressCount && !isLoopback(address);
  }

  #count(address: string, change: 1 | -1): void {
    const count = (this.#byAddress.get(address) ?? 0) + change;
    if (count > 0) this.#byAddress.set(address, count);
    else this.#byAddress.delete(address);
  }
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

function isLoopback(address: string): boolean {
  const family = isIP(address);
  return family !== 0 && LOOPBACK.check(address, family === 6 ? 'ipv6' : 'ipv4'); // ::ffff:127.0.0.1 too
}

/** Answers instead of the greeting and closes. RFC 5321 §3.1. */
function refuse(socket: Socket, reply: Reply): void {
  socket.on('error', () => undefined);
  socket.end(`${String(reply.code)} ${reply.text}\r\n`);
  socket.resume();
  setTimeout(() => socket.destroy(), REFUSED_LINGER_MS).unref();
}
