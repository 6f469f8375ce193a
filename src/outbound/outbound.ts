/** Puts the parts of sending together, as the configuration says. Made by app.ts. */
import { readFileSync } from 'node:fs';
import { rootCertificates } from 'node:tls';
import type { DkimKeys } from '../accounts/dkim-keys.ts';
import { ServerError } from '../base/errors.ts';
import type { Config } from '../config/schema.ts';
import type { Delivery } from '../delivery/deliver.ts';
import type { Resolver } from '../dns/resolver.ts';
import type { Logger } from '../observe/logger.ts';
import type { Queue } from '../queue/queue.ts';
import type { RetrySchedule } from '../queue/retry.ts';
import { DomainDelivery } from './deliver-domain.ts';
import { StsPolicies } from './mta-sts.ts';
import { Reports } from './reports.ts';
import { Routes, type HopTls, type Transport } from './routes.ts';
import { Sessions } from './sessions.ts';
import { fetchStsPolicy } from './sts-fetch.ts';
import { OutboundWorker } from './worker.ts';

type OutboundDeps = Readonly<{
  config: Config['outbound'];
  schedule: RetrySchedule;
  serverHostname: string;
  queue: Queue;
  delivery: Delivery;
  resolver: Resolver;
  dkimKeys: Pick<DkimKeys, 'signingKeys'>;
  logger: Logger;
}>;

const HTTPS_PORT = 443;
const DATA_BLOCK_MS = 3 * 60_000; // RFC 5321 §4.5.3.2.5

/** The worker, not yet started. Throws ServerError 'not-found', 'invalid-argument' for what the configuration names. */
export function createOutbound(deps: OutboundDeps): OutboundWorker {
  const { config, schedule, serverHostname, queue, delivery, resolver, logger } = deps;
  const hostname = config.hostname ?? serverHostname;
  const ca = config.caFile === undefined ? undefined : [...rootCertificates, readAuthorities(config.caFile)];
  const ownNames = new Set([hostname, serverHostname]);
  const routes = newRoutes(config, { resolver, isOwnName: (name) => ownNames.has(name), random: Math.random });
  const fetchPolicy = (domain: string, signal: AbortSignal): Promise<string> =>
    fetchStsPolicy({ routes, port: HTTPS_PORT, ca }, domain, signal);
  const sts = new StsPolicies({ resolver, fetchPolicy, nowMs: Date.now });
  const sessions = new Sessions({
    hostname,
    sourceAddresses: config.sourceAddresses,
    connectTimeoutMs: config.connectTimeoutMs,
    timeouts: {
      replyMs: config.replyTimeoutMs,
      dataBlockMs: Math.min(DATA_BLOCK_MS, config.dataTimeoutMs),
      dataEndMs: config.dataTimeoutMs,
    },
    ca,
    nowMs: Date.now,
  });
  const tls = { resolver, sts, isTlsRequired: config.tls === 'required' };
  return new OutboundWorker({
    queue,
    delivery,
    domains: new DomainDelivery({ routes, sessions, tls }),
    sessions,
    signingKeys: (domain, signal) => deps.dkimKeys.signingKeys(domain, signal),
    reports: new Reports({ queue, hostname: serverHostname, nowMs: Date.now }),
    schedule,
    hostname: serverHostname,
    maxDeliveriesCount: config.maxConnectionsCount,
    maxDeliveriesPerDomainCount: config.maxConnectionsPerDomainCount,
    logger,
    nowMs: Date.now,
    random: Math.random,
  });
}

function newRoutes(config: Config['outbound'], deps: ConstructorParameters<typeof Routes>[1]): Routes {
  const { port, refusedNetworks } = config;
  const { host, port: smarthostPort, tls, user, password } = config.smarthost;
  const credentials = user !== undefined && password !== undefined ? { user, password } : undefined;
  const smarthost = host === undefined ? null : { host, port: smarthostPort, tls, credentials };
  const transports = new Map(config.transports.map(parseTransport));
  try {
    return new Routes({ port, smarthost, transports, refusedNetworks }, deps);
  } catch (cause) {
    const clientText = 'outbound.refusedNetworks holds something that is no network.';
    throw new ServerError('invalid-argument', { clientText, cause });
  }
}

/** As the configuration has checked it. */
function parseTransport(written: string): [string, Transport] {
  const [domain = '', place = '', tls = ''] = written.split(' ');
  const colon = place.lastIndexOf(':');
  const host = place.slice(0, colon).replaceAll(/[[\]]/g, '');
  return [domain, { host, port: Number(place.slice(colon + 1)), tls: tls as HopTls }];
}

function readAuthorities(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new ServerError('not-found', { clientText: `outbound.caFile cannot be read: ${file}`, cause });
  }
}
