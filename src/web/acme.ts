/**
 * The certificate from an ACME authority (RFC 8555), by HTTP-01: asked for when the one at hand is self-signed, lacks a name
 * or runs out within a month, and looked at twice a day.
 *
 * AC1  Key and certificate are replaced only when a whole new pair is there; a failure keeps the old one.
 * AC2  The keys of account and certificate are files of mode 0600. Each certificate has a new key.
 * AC3  What was put in place is served at once, without a restart.
 *
 * Called by app.ts. acme-client is loaded when a certificate has to be asked for.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:https';
import { dirname } from 'node:path';
import type { Logger } from '../observe/logger.ts';

export type AcmeOptions = Readonly<{
  directoryUrl: string;
  email: string | null;
  /** The first is the certificate's common name. */
  names: readonly string[];
  accountKeyFile: string;
  certificateFile: string;
  keyFile: string;
  /** PEM of the authority of a test service. */
  ca: string | null;
}>;
/** A key and a certificate chain, PEM. */
type Issued = Readonly<{ key: string; certificate: string }>;
type AcmeDeps = Readonly<{
  options: AcmeOptions;
  logger: Logger;
  /** Has the new pair served. */
  reload(): void;
  nowMs(): number;
  /** Replaced by tests. */
  issue?: (options: AcmeOptions, tokens: Map<string, string>) => Promise<Issued>;
}>;

const LOOK_EVERY_MS = 12 * 3_600_000;
const RETRY_MS = 3_600_000;
const RENEW_BEFORE_MS = 30 * 86_400_000;

export class AcmeCertificate implements Disposable {
  readonly #deps: AcmeDeps;
  readonly #tokens = new Map<string, string>();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(deps: AcmeDeps) {
    this.#deps = deps;
  }

  /** What the listener answers for a token (RFC 8555 §8.3), or null. */
  challenge(token: string): string | null {
    return this.#tokens.get(token) ?? null;
  }

  /** Looks now, and from then on by itself. */
  start(): void {
    void this.#lookAndPlan();
  }

  /** Asks for a certificate if one is due; says whether it put a new one in place. Throws what the authority answers. */
  async renewIfDue(): Promise<boolean> {
    const { options, issue = issueByHttp, reload } = this.#deps;
    if (!isDue(options, this.#deps.nowMs())) return false;
    const { key, certificate } = await issue(options, this.#tokens);
    if (!new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))) {
      throw new Error('the authority sent a certificate for another key'); // AC1
    }
    for (const [file, content] of [
      [options.keyFile, key],
      [options.certificateFile, certificate],
    ] as const) {
      mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
      writeFileSync(`${file}.new`, content, { mode: 0o600 });
      chmodSync(`${file}.new`, 0o600);
    }
    renameSync(`${options.keyFile}.new`, options.keyFile);
    renameSync(`${options.certificateFile}.new`, options.certificateFile);
    reload(); // AC3
    return true;
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  async #lookAndPlan(): Promise<void> {
    const { logger, options } = this.#deps;
    let nextMs = LOOK_EVERY_MS;
    try {
      if (await this.renewIfDue()) logger.info('a certificate was issued', { names: options.names.length });
    } catch (error) {
      logger.error('no certificate was issued; the old one stays', { error, retryAfterMs: RETRY_MS });
      nextMs = RETRY_MS;
    }
    if (this.#closed) return;
    this.#timer = setTimeout(() => void this.#lookAndPlan(), nextMs);
    this.#timer.unref();
  }
}

function isDue({ certificateFile, names }: AcmeOptions, nowMs: number): boolean {
  if (!existsSync(certificateFile)) return true;
  const certificate = new X509Certificate(readFileSync(certificateFile));
  const isSelfSigned = certificate.issuer === certificate.subject;
  const isComplete = names.every((name) => certificate.checkHost(name) !== undefined);
  return isSelfSigned || !isComplete || certificate.validToDate.getTime() - nowMs < RENEW_BEFORE_MS;
}

async function issueByHttp(options: AcmeOptions, tokens: Map<string, string>): Promise<Issued> {
  const { default: acme } = await import('acme-client');
  if (options.ca !== null) acme.axios.defaults.httpsAgent = new Agent({ ca: options.ca });
  const client = new acme.Client({ directoryUrl: options.directoryUrl, accountKey: await accountKey(options) });
  const [commonName = '', ...altNames] = options.names;
  const [key, csr] = await acme.crypto.createCsr(
    { commonName, altNames: [commonName, ...altNames] },
    await acme.crypto.createPrivateEcdsaKey(),
  );
  const certificate = await client.auto({
    csr,
    ...(options.email === null ? {} : { email: options.email }),
    termsOfServiceAgreed: true, // acme.acceptTerms
    challengePriority: ['http-01'],
    skipChallengeVerification: true, // the authority does it; we may not reach ourselves
    challengeCreateFn: (_authorization, { token }, answer) => Promise.resolve(tokens.set(token, answer)),
    challengeRemoveFn: (_authorization, { token }) => Promise.resolve(tokens.delete(token)),
  });
  return { key: key.toString(), certificate };
}

/** AC2: made once. */
async function accountKey({ accountKeyFile }: AcmeOptions): Promise<string> {
  if (existsSync(accountKeyFile)) return readFileSync(accountKeyFile, 'utf8');
  const { default: acme } = await import('acme-client');
  const key = (await acme.crypto.createPrivateEcdsaKey()).toString();
  mkdirSync(dirname(accountKeyFile), { recursive: true, mode: 0o700 });
  writeFileSync(accountKeyFile, key, { mode: 0o600, flag: 'wx' });
  return key;
}
