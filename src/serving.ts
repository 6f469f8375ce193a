/**
 * What every process that serves has in common: its log, its certificate, how it says that it is ready, and how it ends.
 *
 * SV1  When the disk fails the process says so in its log and exits with 70 at once: nothing more is acknowledged, and
 *      the next start recovers from what is durable.
 * SV2  SIGTERM and SIGINT end it in order, a second one at once.
 *
 * Called by app.ts and gateway-app.ts.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ServerError } from './base/errors.ts';
import type { Config } from './config/schema.ts';
import { IncomingChecks } from './delivery/checks/incoming.ts';
import { systemNameServers } from './dns/servers.ts';
import { StubResolver } from './dns/stub-resolver.ts';
import { createLogger, type Logger } from './observe/logger.ts';

export const EXIT_STORAGE_FAILED = 70; // EX_SOFTWARE of sysexits.h

export type OnFailure = (error: Error) => void;
export type Observers = Readonly<{ logger: Logger; onFailure: OnFailure }>;
/** Ports by listener, named as tools expect them (`imap`, `imaps`, `smtp`, `lmtp`, `submission`, `submissions`). */
export type Ports = Readonly<Record<string, number>>;
export type ServeOptions = Readonly<{ config: Config; readyFile?: string | undefined }>;
type Tls = Readonly<{
  cert: string;
  key: string;
  minimumVersion: Config['tls']['minimumVersion'];
  /** Who signs client certificates; none: no client is asked for one. */
  clientAuthorities: readonly X509Certificate[];
}>;
/** Starts everything; `running` takes it down again, last first. */
type Start = (config: Config, running: AsyncDisposableStack, observers: Observers) => Promise<Ports>;

/** Serves what `start` starts, until a signal (SV2); resolves when everything is down. Throws what `start` throws. */
export async function serveUntilStopped({ config, readyFile }: ServeOptions, start: Start): Promise<void> {
  process.umask(0o077);
  await using log = createLogger(config.log);
  const { logger } = log;
  const onFailure: OnFailure = (error) => {
    logger.error('storage failed: stopping without acknowledging anything more', { error });
    log.flushNow();
    process.exit(EXIT_STORAGE_FAILED); // SV1
  };
  const stopping = stopSignal(logger);
  await using running = new AsyncDisposableStack();
  const ports = await start(config, running, { logger, onFailure });
  if (readyFile !== undefined) announce(readyFile, ports, running);
  logger.info('serving', { ports });
  await stopping;
  logger.info('stopping');
}

/** Certificate and key, read and matched, so that a wrong pair stops the start and not the first client. */
export function readTls({ tls }: Config): Tls {
  const [cert, key] = [readPem(tls.certificateFile), readPem(tls.keyFile)];
  if (!isPair(cert, key)) {
    const clientText = `${tls.certificateFile} and ${tls.keyFile} are not a certificate and its private key in PEM.`;
    throw new ServerError('not-allowed', { clientText });
  }
  return { cert, key, minimumVersion: tls.minimumVersion, clientAuthorities: readAuthorities(tls.clientAuthorityFile) };
}

function readPem(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const clientText = `The TLS file ${file} cannot be read. Set the files of [tls], or run: sealpost init`;
    throw new ServerError('not-found', { clientText, cause });
  }
}

function readAuthorities(file: string | undefined): readonly X509Certificate[] {
  if (file === undefined) return [];
  const pems = readPem(file).match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  try {
    const authorities = pems.map((pem) => new X509Certificate(pem));
    if (authorities.length > 0 && authorities.every(({ ca }) => ca)) return authorities;
  } catch {
    // falls to the refusal below
  }
  throw new ServerError('not-allowed', {
    clientText: `${file} must hold certificates of authorities in PEM, and no others.`,
  });
}

function isPair(cert: string, key: string): boolean {
  try {
    return new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
}

export function firstPorts(bound: Readonly<Record<string, readonly number[]>>): Ports {
  const entries = Object.entries(bound).flatMap(([name, [first]]) => (first === undefined ? [] : [[name, first]]));
  return Object.fromEntries(entries) as Ports;
}

/** Tells whoever waits for `readyFile` that all ports are open; gone again when the server stops. */
function announce(readyFile: string, ports: Ports, running: AsyncDisposableStack): void {
  running.defer(() => {
    rmSync(readyFile, { force: true });
  });
  writeFileSync(`${readyFile}.new`, `${JSON.stringify({ pid: process.pid, ports })}\n`);
  renameSync(`${readyFile}.new`, readyFile);
}

/** Resolves at the first SIGTERM or SIGINT; at the second the process goes at once. */
function stopSignal(logger: Logger): Promise<void> {
  const stop = Promise.withResolvers<void>();
  let isStopping = false;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (isStopping) process.exit(1);
    isStopping = true;
    logger.info('signal', { signal });
    stop.resolve();
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  return stop.promise;
}

/** The resolver of the configuration. */
export function openResolver({ dns }: Config): StubResolver {
  const servers = dns.servers.length > 0 ? dns.servers : systemNameServers();
  return new StubResolver({ ...dns, servers }, () => performance.now());
}

/** The checks of mail from other servers; ready when others can reach the MX listener. */
export async function openChecks(
  { mail, server, data, smtp }: Config,
  deps: Readonly<{ resolver: StubResolver; logger: Logger }>,
): Promise<IncomingChecks> {
  const folder = join(data.directory, 'incoming');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { mode: 0o700 });
  const { hostname } = server;
  const checks = new IncomingChecks({ ...deps, config: mail, hostname, folder, nowMs: Date.now });
  const isReachable = smtp.mx.listen.some(({ host }) => host !== '127.0.0.1' && host !== '::1' && host !== 'localhost');
  if (isReachable) await checks.prepare();
  return checks;
}
