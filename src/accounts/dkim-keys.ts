/**
 * The keys with which mail of our domains is signed (DKIM): made here, sealed, changed with an overlap.
 *
 * DK1  A private key is stored only as a record under the organization's directory key, bound to domain and selector.
 * DK2  A key goes one way: `next` (published, not used yet), `signing`, `retired` (its private half is destroyed, its
 *      public one stays published for mail that is still on its way), gone. There is at most one of an algorithm that
 *      is `next`, and one that is `signing`.
 * DK3  RSA keys have 2048 bits: more does not fit one string of a DNS record, less is refused by receivers (RFC 8301 §3.2).
 * DK4  Private keys are opened for one signature, and not kept.
 *
 * Called by delivery/ for signing, and by admin/.
 */
import { createPrivateKey, generateKeyPair, randomInt, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import type { OrganizationId } from '../base/ids.ts';
import { adminUse, exists, invalid, notFound, openRecords, refused } from './directory.ts';
import type { DirectoryDeps } from './directory.ts';
import { normalizeDomain } from './domain-name.ts';
import type { Domains } from './domains.ts';
import type { DirectoryRecords } from './records.ts';

type DkimAlgorithm = (typeof DKIM_ALGORITHMS)[number];
type DkimState = 'next' | 'signing' | 'retired';
/** `publicKey` is the `p=` of its DNS record, in base64. RFC 6376 §3.6.1, RFC 8463 §4. */
export type DkimKey = Readonly<{
  domain: string;
  selector: string;
  algorithm: DkimAlgorithm;
  state: DkimState;
  publicKey: string;
  createdAtMs: number;
  changedAtMs: number;
}>;
type SigningKey = Readonly<{ selector: string; algorithm: DkimAlgorithm; privateKey: KeyObject }>;
/** A key that is made and sealed, and not in the directory yet. */
type PreparedKey = Readonly<{ selector: string; algorithm: DkimAlgorithm; publicKey: Buffer; sealed: Buffer }>;
type DkimKeysDeps = DirectoryDeps & Readonly<{ domains: Domains }>;

export const DKIM_ALGORITHMS = ['rsa', 'ed25519'] as const;
const RSA_BITS = 2048;
const SIGN_USE = { purpose: 'sign-mail', protocol: 'smtp', principal: 'delivery' };
/** One label. RFC 6376 §3.1 allows several; one is enough, and leaves room for the domain. */
const SELECTOR = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const COLUMNS = `domain, selector, algorithm, state, public_key AS publicKey, created_at_ms AS createdAtMs,
  changed_at_ms AS changedAtMs`;

const generateKeys = promisify(generateKeyPair);

export class DkimKeys {
  readonly #deps: DkimKeysDeps;

  constructor(deps: DkimKeysDeps) {
    this.#deps = deps;
  }

  /** The stored name of a domain, and all its keys. Throws ServerError 'not-found'. */
  ofDomain(domain: string): Readonly<{ name: string; keys: readonly DkimKey[] }> {
    return { name: this.#owned(domain).name, keys: this.list(domain) };
  }

  /** All keys of a domain, those that sign first. Throws ServerError 'not-found'. */
  list(domain: string): readonly DkimKey[] {
    const { name } = this.#owned(domain);
    const select = `SELECT ${COLUMNS} FROM dkim_keys WHERE domain = ?
      ORDER BY CASE state WHEN 'signing' THEN 0 WHEN 'next' THEN 1 ELSE 2 END, algorithm, selector`;
    return this.#deps.directory
      .prepare<Omit<DkimKey, 'publicKey'> & Readonly<{ publicKey: Buffer }>>(select)
      .all(name)
      .map((row) => ({ ...row, publicKey: row.publicKey.toString('base64') }));
  }

  /**
   * Makes a key that signs at once, or with `state` 'next' one that waits; durable when it resolves.
   * Throws ServerError 'not-found', 'invalid-argument' (selector), 'already-exists', key-*.
   */
  async create(
    domain: string,
    wanted: Readonly<{ algorithm: DkimAlgorithm; state: 'next' | 'signing'; selector?: string | undefined }>,
    signal?: AbortSignal,
  ): Promise<DkimKey> {
    const { name, organization } = this.#owned(domain);
    const { algorithm, state } = wanted;
    if (this.#selectorOf(name, algorithm, state) !== null) {
      throw exists(`${name} already has a key of kind ${algorithm} that is ${state}. See: sealpost domain dkim rotate`);
    }
    using records = await openRecords(this.#deps, organization, adminUse('create-dkim-key'), signal);
    const selector = this.#checkedSelector(wanted.selector ?? newSelector(this.#deps.nowMs(), algorithm));
    this.#insert(name, state, await prepare(records, { domain: name, selector, algorithm }));
    await this.#deps.directory.durable();
    const made = this.list(name).find((key) => key.selector === selector);
    if (!made) throw notFound(`The domain ${name} was deleted meanwhile.`);
    return made;
  }

  /** Creates a domain with a key of each algorithm, all or nothing. Throws as Domains.create, and key-*. */
  async createDomain(domain: string, organization: OrganizationId, signal?: AbortSignal): Promise<string> {
    const name = normalizeDomain(domain);
    if (name === null || this.#deps.domains.owner(name)) return this.#deps.domains.create(domain, organization); // throws
    using records = await openRecords(this.#deps, organization, adminUse('create-dkim-key'), signal);
    const prepared = await Promise.all(
      DKIM_ALGORITHMS.map((algorithm) =>
        prepare(records, { domain: name, selector: newSelector(this.#deps.nowMs(), algorithm), algorithm }),
      ),
    );
    return await this.#deps.domains.create(name, organization, () => {
      for (const key of prepared) this.#insert(name, 'signing', key);
    });
  }

  /**
   * The keys that wait sign from now on; the private halves of those they replace are destroyed (DK2). Durable when it
   * resolves. Gives the selectors of both. Throws ServerError 'not-found', 'not-allowed' where none waits.
   */
  async activate(domain: string): Promise<Readonly<{ signing: readonly string[]; retired: readonly string[] }>> {
    const { directory, nowMs } = this.#deps;
    const { name } = this.#owned(domain);
    const swapped = directory.transaction(() => {
      const waiting = this.list(name).filter(({ state }) => state === 'next');
      if (waiting.length === 0) throw refused(`No key of ${name} waits to be used.`);
      const replaced = this.list(name).filter(
        (key) => key.state === 'signing' && waiting.some(({ algorithm }) => algorithm === key.algorithm),
      );
      const update = `UPDATE dkim_keys SET state = ?, changed_at_ms = ?,
        sealed_private_key = CASE ? WHEN 'retired' THEN NULL ELSE sealed_private_key END WHERE domain = ? AND selector = ?`;
      const move = (keys: readonly DkimKey[], state: DkimState): readonly string[] => {
        for (const { selector } of keys) directory.prepare(update).run(state, nowMs(), state, name, selector);
        return keys.map(({ selector }) => selector);
      };
      return { retired: move(replaced, 'retired'), signing: move(waiting, 'signing') };
    });
    await directory.durable();
    directory.truncateLogSoon(); // what was destroyed leaves the log too
    return swapped;
  }

  /** Removes a key for good; durable when it resolves. Throws ServerError 'not-found'. */
  async remove(domain: string, selector: string): Promise<void> {
    const { directory } = this.#deps;
    const { name } = this.#owned(domain);
    const { changes } = directory
      .prepare('DELETE FROM dkim_keys WHERE domain = ? AND selector = ?')
      .run(name, selector);
    if (changes === 0) throw notFound(`${name} has no key ${selector}. See: sealpost domain dkim list ${name}`);
    await directory.durable();
    directory.truncateLogSoon();
  }

  /**
   * The keys that sign mail of `domain`, opened (DK4); none where it is not ours, or has none.
   * Throws ServerError key-*, 'content-damaged', or `signal.reason`.
   */
  async signingKeys(domain: string, signal?: AbortSignal): Promise<readonly SigningKey[]> {
    const name = normalizeDomain(domain);
    const owner = name === null ? null : this.#deps.domains.owner(name);
    if (name === null || owner?.state !== 'active') return [];
    const select = `SELECT selector, algorithm, sealed_private_key AS sealed FROM dkim_keys
      WHERE domain = ? AND state = 'signing' AND sealed_private_key IS NOT NULL ORDER BY algorithm DESC`;
    const rows = this.#deps.directory
      .prepare<Readonly<{ selector: string; algorithm: DkimAlgorithm; sealed: Buffer }>>(select)
      .all(name);
    if (rows.length === 0) return [];
    using records = await openRecords(this.#deps, owner.organization, SIGN_USE, signal);
    return rows.map(({ selector, algorithm, sealed }) => {
      const der = records.openDkimKey({ domain: name, selector }, sealed);
      try {
        return { selector, algorithm, privateKey: createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }) };
      } finally {
        der.fill(0);
      }
    });
  }

  #insert(domain: string, state: DkimState, { selector, algorithm, publicKey, sealed }: PreparedKey): void {
    const { directory, nowMs } = this.#deps;
    if (directory.prepare('SELECT 1 FROM dkim_keys WHERE domain = ? AND selector = ?').get(domain, selector)) {
      throw exists(`${domain} already has a key ${selector}.`);
    }
    const columns = 'domain, selector, algorithm, state, public_key, sealed_private_key, created_at_ms, changed_at_ms';
    directory
      .prepare(`INSERT INTO dkim_keys (${columns}) VALUES (?,?,?,?,?,?,?,?)`)
      .run(domain, selector, algorithm, state, publicKey, sealed, nowMs(), nowMs());
  }

  #selectorOf(domain: string, algorithm: DkimAlgorithm, state: DkimState): string | null {
    const select = 'SELECT selector FROM dkim_keys WHERE domain = ? AND algorithm = ? AND state = ?';
    const row = this.#deps.directory.prepare<{ selector: string }>(select).get(domain, algorithm, state);
    return row?.selector ?? null;
  }

  #checkedSelector(selector: string): string {
    if (SELECTOR.test(selector)) return selector;
    throw invalid('A selector has 1 to 63 lower-case letters, digits and hyphens.');
  }

  #owned(domain: string): Readonly<{ name: string; organization: OrganizationId }> {
    const name = normalizeDomain(domain);
    const owner = name === null ? null : this.#deps.domains.owner(name);
    if (name === null || !owner) throw notFound(`There is no domain ${domain}.`);
    return { name, organization: owner.organization };
  }
}

/** Said once and never again of the same domain: a date, and letters for keys of one day. */
function newSelector(nowMs: number, algorithm: DkimAlgorithm): string {
  const day = new Date(nowMs).toISOString().slice(0, 10).replaceAll('-', '');
  const letters = Array.from({ length: 3 }, () => String.fromCharCode(97 + randomInt(26))).join('');
  return `s${day}${letters}-${algorithm}`;
}

async function prepare(
  records: DirectoryRecords,
  at: Readonly<{ domain: string; selector: string; algorithm: DkimAlgorithm }>,
): Promise<PreparedKey> {
  const { publicKey, privateKey } = await generated(at.algorithm);
  return { ...at, publicKey, sealed: records.sealDkimKey(at, privateKey) };
}

/** `publicKey` as its record has it: RFC 6376 §3.6.1 for RSA, the 32 bytes alone for Ed25519 (RFC 8463 §4.2). */
async function generated(algorithm: DkimAlgorithm): Promise<{ publicKey: Buffer; privateKey: Buffer }> {
  const pair = algorithm === 'rsa' ? generateKeys('rsa', { modulusLength: RSA_BITS }) : generateKeys('ed25519');
  const { publicKey, privateKey } = await pair;
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  return {
    publicKey: algorithm === 'rsa' ? spki : spki.subarray(-ED25519_BYTES), // RFC 8410 §4: the key comes last
    privateKey: privateKey.export({ type: 'pkcs8', format: 'der' }),
  };
}

const ED25519_BYTES = 32;
