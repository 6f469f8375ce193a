/** Incoming checks over a zone in memory, with signers of another implementation. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dkimSign } from 'mailauth/lib/dkim/sign.js';
import { onTestFinished } from 'vitest';
import { loadConfig } from '../../../src/config/load.ts';
import { IncomingChecks } from '../../../src/delivery/checks/incoming.ts';
import { ServerError } from '../../../src/base/errors.ts';
import type { Answer, DnsRecord, RecordType, Resolver } from '../../../src/dns/resolver.ts';
import type { Logger } from '../../../src/observe/logger.ts';
import { memoryDelivery, refOf } from '../memory-mailboxes.ts';

/** `'away'`: asking fails for the time being. */
type ZoneEntry = Partial<Record<RecordType, readonly string[]>> | 'away';
export type MemoryZone = Record<string, ZoneEntry>;
type MemoryResolver = Pick<Resolver, 'resolve'> & { readonly asked: string[]; delayMs: number };

export function memoryResolver(zone: MemoryZone): MemoryResolver {
  const asked: string[] = [];
  return {
    asked,
    delayMs: 0,
    async resolve(name, type, signal): Promise<Answer> {
      signal?.throwIfAborted();
      asked.push(`${type} ${name}`);
      if (this.delayMs > 0) {
        await new Promise((resolve, reject) => {
          setTimeout(resolve, this.delayMs).unref();
          signal?.addEventListener('abort', () => {
            reject(signal.reason as Error);
          });
        });
      }
      const entry = zone[name.toLowerCase()];
      if (entry === 'away') throw new ServerError('dns-unavailable', { clientText: 'x', retryable: true });
      const records = entry?.[type]?.map((written) => recordOf(type, written)) ?? [];
      if (records.length > 0) return { kind: 'records', records, secure: false, ttlS: 60 };
      return { kind: entry ? 'no-data' : 'no-name', secure: false, ttlS: 60 };
    },
  };
}

function recordOf(type: RecordType, written: string): DnsRecord {
  if (type === 'TXT') return { type, strings: written.match(/.{1,255}/gs) ?? [''] };
  if (type === 'A' || type === 'AAAA') return { type, address: written };
  if (type === 'MX') return { type, preference: 10, exchange: written };
  if (type === 'PTR' || type === 'CNAME' || type === 'NS') return { type, host: written };
  throw new Error(`no ${type} here`);
}

export type Signer = Readonly<{
  domain: string;
  selector: string;
  algorithm: 'rsa' | 'ed25519';
  privateKey: KeyObject;
  record: string;
}>;

const made = new Map<string, ReturnType<typeof generateKeyPairSync>>();
/** A key of a domain, and its record. RSA keys are made once. */
export function signerOf(domain: string, algorithm: 'rsa' | 'ed25519' = 'ed25519', bits = 2048): Signer {
  const id = `${algorithm}${String(bits)}`;
  const pair =
    (made.get(id) as { publicKey: KeyObject; privateKey: KeyObject } | undefined) ??
    (algorithm === 'rsa' ? generateKeyPairSync('rsa', { modulusLength: bits }) : generateKeyPairSync('ed25519'));
  made.set(id, pair);
  const spki = pair.publicKey.export({ type: 'spki', format: 'der' });
  const p = (algorithm === 'rsa' ? spki : spki.subarray(-32)).toString('base64');
  const record = `v=DKIM1; k=${algorithm}; p=${p}`;
  return { domain, selector: `sel-${id}`, algorithm, privateKey: pair.privateKey, record };
}

export const keyName = ({ domain, selector }: Signer): string => `${selector}._domainkey.${domain}`;

/** `message` with a signature on top, made by mailauth. */
export async function signedBy(
  signer: Signer,
  message: Buffer,
  options: Readonly<{ canonicalization?: string; headerList?: readonly string[]; maxBodyLength?: number }> = {},
): Promise<Buffer> {
  const { headerList, ...rest } = options;
  const { signatures, errors } = await dkimSign(message, {
    algorithm: `${signer.algorithm}-sha256`,
    ...rest,
    signatureData: [
      {
        signingDomain: signer.domain,
        selector: signer.selector,
        privateKey: signer.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
        ...(options.canonicalization === undefined ? {} : { canonicalization: options.canonicalization }),
        ...(options.maxBodyLength === undefined ? {} : { maxBodyLength: options.maxBodyLength }),
        ...(headerList ? { headerList } : {}),
      },
    ],
  } as never);
  if (errors.length > 0) throw new Error(`not signed: ${String(errors[0]?.err)}`);
  return Buffer.concat([Buffer.from(signatures), message]);
}

type CheckOptions = Readonly<{
  zone?: MemoryZone;
  mail?: Record<string, unknown>;
  sender?: string;
  address?: string;
  users?: readonly string[];
  pieceBytes?: number;
}>;

const QUIET: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => QUIET,
};
export const HOSTNAME = 'mx.example.org';

export function checksWith(zone: MemoryZone, mail: Record<string, unknown> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'sealpost-incoming-'));
  onTestFinished(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  const resolver = memoryResolver(zone);
  const { mail: defaults } = loadConfig({ env: {} });
  const config = { ...defaults, ...mail } as typeof defaults;
  const deps = { config, hostname: HOSTNAME, folder, resolver, logger: QUIET, nowMs: Date.now };
  return { checks: new IncomingChecks(deps), deps, resolver, folder };
}

/** Delivers a message from elsewhere to `users`, and says what came of it. */
export async function deliverChecked(message: Buffer, options: CheckOptions = {}) {
  const { zone = {}, mail = {}, sender = 'ann@example.net', address = '192.0.2.7', users = ['bob'] } = options;
  const { checks, resolver } = checksWith(zone, mail);
  const { mailboxes, delivery } = memoryDelivery(checks);
  const transaction = delivery.begin({
    transaction: 't1',
    sender,
    protocol: 'ESMTP',
    peer: { address, helo: 'out.example.net', tlsCipher: null },
    principal: { protocol: 'smtp' },
    settle: 'together',
    refusesLoops: true,
    isChecked: true,
  });
  for (const user of users)
    await transaction.add({ address: `${user}@example.org`, ref: refOf(user), keyKind: 'symmetric' });
  const { pieceBytes = message.length || 1 } = options;
  for (let at = 0; at < message.length; at += pieceBytes)
    await transaction.write(message.subarray(at, at + pieceBytes));
  const outcomes = await transaction.commit();
  const [stored] = mailboxes.stored;
  const results = /^Authentication-Results: (.*(?:\r\n[ \t].*)*)/m.exec(stored?.bytes.toString('latin1') ?? '')?.[1];
  return {
    outcomes: outcomes.map((one) => (one.kind === 'refused' ? `refused ${one.reason}` : one.kind)),
    folder: stored?.folder ?? null,
    bytes: stored?.bytes ?? Buffer.alloc(0),
    results: (results ?? '').replaceAll(/\r\n\s+/g, ' '),
    mailboxes,
    asked: resolver.asked,
  };
}

export function message(header: readonly string[], body = 'Hello\r\n'): Buffer {
  return Buffer.from(`${header.join('\r\n')}\r\n\r\n${body}`);
}

export const FROM_NET = [
  'From: Ann <ann@example.net>',
  'To: bob@example.org',
  'Subject: hi',
  'Date: Sat, 28 Nov 2026 09:00:00 +0000',
];
