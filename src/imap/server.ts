/**
 * The IMAP listeners: 143 with STARTTLS, 993 with TLS from the first byte.
 *
 * L1  Connections are bounded, in all and for each client address; who is over a limit is told BYE.
 * L2  A new certificate counts for the sessions that begin after it.
 * L3  `stop` says BYE where no command is under way, lets commands finish within the grace period, then cuts.
 * L4  Once `endSessions` returned, none of these sessions takes another command. A login that was verified before and
 *     is not over yet fails by itself (`isCurrent` of LoginService).
 *
 * Made by app.ts.
 */
import type { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { BlockList, createServer, isIP, type AddressInfo, type Server, type Socket } from 'node:net';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { OrganizationId } from '../base/ids.ts';
import type { Config } from '../config/schema.ts';
import { ServerError } from '../base/errors.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';
import type { Mailboxes } from '../mailbox/mailboxes.ts';
import type { Logger } from '../observe/logger.ts';
import type { Sasl } from '../sasl/mechanisms.ts';
import { Connection } from './connection.ts';
import { canBeOff, namesToSwitchOff } from './extensions.ts';
import * as print from './proto/responses.ts';
import type { LoginService, SessionSelection } from './session.ts';

type TlsIdentity = Readonly<{
  key: string;
  cert: string;
  minimumVersion: 'TLSv1.2' | 'TLSv1.3';
  /** Who signs client certificates; none: no client is asked for one. */
  clientAuthorities?: readonly X509Certificate[];
}>;
type ImapServerDeps = Readonly<{
  config: Config['imap'];
  hostname: string;
  tls: TlsIdentity;
  login: LoginService;
  sasl: Sasl;
  capabilitiesOff(mailbox: MailboxRef): readonly string[];
  mailboxes: Mailboxes;
  logger: Logger;
  /** Replaced by tests. */
  heldOutputGraceMs?: number;
  progressEveryMs?: number;
}>;
type ImapServer = Readonly<{
  /** Ports in the order of the `listen` options. Throws the error of the first address that cannot be listened on. */
  start(): Promise<Readonly<{ imap: number[]; imaps: number[] }>>;
  /** Stops within `graceMs` and a moment (L3). */
  stop(graceMs: number): Promise<void>;
  /** From now on new TLS sessions use this certificate (L2). */
  updateTls(tls: TlsIdentity): void;
  connectionsCount(): number;
  /** Names of capabilities that can be switched off. */
  capabilityNames: readonly string[];
  /** Opened content that is held for clients of this organization is dropped with them if they do not take it soon. */
  expireOutput(organization: OrganizationId): void;
  /** Ends the sessions that are logged in to these mailboxes, now; `text` is what they are told with BYE (L4). */
  endSessions(selection: SessionSelection, text: string): void;
}>;

const ACCEPT_BACKLOG_COUNT = 1024;
const REFUSED_LINGER_MS = 1_000;
/** Within a minute of the first refusal nothing is read any more. */
const HELD_OUTPUT_GRACE_MS = 50_000;

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/**
 * Makes the server; nothing is opened before `start`. Throws for a certificate or key that is none, and ServerError
 * 'not-allowed' for a name in `disabledCapabilities` that cannot be switched off.
 */
export function createImapServer(deps: ImapServerDeps): ImapServer {
  for (const name of deps.config.disabledCapabilities) {
    if (canBeOff(name.toUpperCase())) continue;
    throw new ServerError('not-allowed', { clientText: `imap.disabledCapabilities: ${name} cannot be switched off.` });
  }
  const server = new Listeners(deps);
  return {
    start: () => server.start(),
    stop: (graceMs) => server.stop(graceMs),
    updateTls: (tls) => {
      server.updateTls(tls);
    },
    connectionsCount: () => server.connectionsCount,
    capabilityNames: namesToSwitchOff(),
    expireOutput: (organization) => {
      server.expireOutput(organization);
    },
    endSessions: (selection, text) => {
      server.endSessions(selection, text);
    },
  };
}

class Listeners {
  readonly #deps: ImapServerDeps;
  readonly #servers: Server[] = [];
  readonly #connections = new Map<Connection, Promise<void>>();
  readonly #byAddress = new Map<string, number>();
  #secureContext: SecureContext;
  #clientAuthorities: readonly X509Certificate[];
  #isStopping = false;

  constructor(deps: ImapServerDeps) {
    this.#deps = deps;
    this.#secureContext = contextOf(deps.tls);
    this.#clientAuthorities = deps.tls.clientAuthorities ?? [];
  }

  get connectionsCount(): number {
    return this.#connections.size;
  }

  updateTls(tls: TlsIdentity): void {
    this.#secureContext = contextOf(tls);
    this.#clientAuthorities = tls.clientAuthorities ?? [];
  }

  expireOutput(organization: OrganizationId): void {
    const graceMs = this.#deps.heldOutputGraceMs ?? HELD_OUTPUT_GRACE_MS;
    for (const connection of this.#connections.keys()) connection.expireOutput({ organization }, graceMs);
  }

  endSessions(selection: SessionSelection, text: string): void {
    for (const connection of this.#connections.keys()) connection.revoke(selection, text);
  }

  async start(): Promise<{ imap: number[]; imaps: number[] }> {
    const { listen, listenTls } = this.#deps.config;
    try {
      const imap = await Promise.all(listen.map((address) => this.#bind(address, false)));
      const imaps = await Promise.all(listenTls.map((address) => this.#bind(address, true)));
      return { imap, imaps };
    } catch (error) {
      await this.stop(0);
      throw error;
    }
  }

  async stop(graceMs: number): Promise<void> {
    this.#isStopping = true;
    const closed = Promise.all(
      this.#servers.filter((server) => server.listening).map((server) => once(server, 'close')),
    );
    for (const server of this.#servers) server.close();
    for (const connection of this.#connections.keys()) connection.stop();
    const cut = setTimeout(() => {
      for (const connection of this.#connections.keys()) connection.destroy();
    }, graceMs);
    await Promise.all(this.#connections.values());
    clearTimeout(cut);
    await closed;
  }

  async #bind(
    { host, port }: Readonly<{ host: string | undefined; port: number }>,
    isImplicitTls: boolean,
  ): Promise<number> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
      this.#accept(socket, isImplicitTls);
    });
    this.#servers.push(server);
    server.listen({ port, backlog: ACCEPT_BACKLOG_COUNT, ...(host === undefined ? {} : { host }) });
    await once(server, 'listening'); // rejects with the error of the address
    server.on('error', (error) => {
      this.#deps.logger.warn('connection failed', { error });
    });
    return (server.address() as AddressInfo).port;
  }

  #accept(socket: Socket, isImplicitTls: boolean): void {
    const address = socket.remoteAddress ?? '';
    const isLoopback = isLoopbackAddress(address);
    if (this.#isFull(address, isLoopback)) {
      refuse(socket, isImplicitTls);
      return;
    }
    const { hostname } = this.#deps;
    const tls = { secureContext: this.#secureContext, clientAuthorities: this.#clientAuthorities };
    const options = { isImplicitTls, isLoopback, hostname, ...tls };
    const connection = new Connection(socket, this.#deps, options);
    this.#count(address, 1);
    const over = connection.run().finally(() => {
      this.#count(address, -1);
      this.#connections.delete(connection);
    });
    this.#connections.set(connection, over);
  }

  #isFull(address: string, isLoopback: boolean): boolean {
    const { maxConnectionsCount, maxConnectionsPerAddressCount } = this.#deps.config;
    if (this.#isStopping || this.#connections.size >= maxConnectionsCount) return true;
    return !isLoopback && (this.#byAddress.get(address) ?? 0) >= maxConnectionsPerAddressCount;
  }

  #count(address: string, change: 1 | -1): void {
    const count = (this.#byAddress.get(address) ?? 0) + change;
    if (count > 0) this.#byAddress.set(address, count);
    else this.#byAddress.delete(address);
  }
}

function contextOf({ key, cert, minimumVersion, clientAuthorities = [] }: TlsIdentity): SecureContext {
  if (key === '' || cert === '') throw new TypeError('IMAP needs a certificate and its key');
  const asking =
    clientAuthorities.length > 0 ? { ca: clientAuthorities.map(String), sessionIdContext: 'sealpost-imap' } : {};
  return createSecureContext({ key, cert, minVersion: minimumVersion, ...asking });
}

/** ::ffff:127.0.0.1 too. */
function isLoopbackAddress(address: string): boolean {
  const family = isIP(address);
  return family !== 0 && LOOPBACK.check(address, family === 6 ? 'ipv6' : 'ipv4');
}

/** Under TLS nobody could read the text: no handshake is spent on it. */
function refuse(socket: Socket, isImplicitTls: boolean): void {
  socket.on('error', () => undefined);
  if (isImplicitTls) {
    socket.destroy();
    return;
  }
  socket.end(print.untaggedLine('BYE', 'UNAVAILABLE', 'Too many connections, try again later'));
  socket.resume();
  setTimeout(() => socket.destroy(), REFUSED_LINGER_MS).unref();
}
