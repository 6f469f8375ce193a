/** Which name servers are asked: those of the configuration, or those of the system. */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';

export type NameServer = Readonly<{ address: string; port: number }>;

const DNS_PORT = 53;
const SYSTEM_FILE = '/etc/resolv.conf';
const SYSTEM_MAX_COUNT = 3; // MAXNS of resolv.conf(5)

/** Those of the system; without any, this host itself, as resolv.conf(5) says. */
export function systemNameServers(file = SYSTEM_FILE): readonly NameServer[] {
  const addresses = readLines(file).flatMap((line) => /^nameserver\s+(\S+)/.exec(line)?.[1] ?? []);
  const usable = addresses.filter((address) => isIP(address.split('%', 1)[0] ?? '') > 0).slice(0, SYSTEM_MAX_COUNT);
  return (usable.length > 0 ? usable : ['127.0.0.1']).map((address) => ({ address, port: DNS_PORT }));
}

function readLines(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n');
  } catch {
    return []; // no such file: the default holds
  }
}

/** Nobody sits between us and a resolver on this host. */
export function isLoopback({ address }: NameServer): boolean {
  return /^127\./.test(address) || address === '::1' || /^::ffff:127\./i.test(address);
}
