/**
 * The receipts of this installation: `<data>/receipts/<id>.json`, one for each deleted mailbox and organization.
 *
 * R1  A receipt is on disk, whole, before the deletion is reported; written again under the same id it says the same,
 *     but for its time.
 * R2  The signing key is made at first use and lies beside them in `signing-key.pem`, mode 0600, not sealed: whoever
 *     reads this directory as its owner can make receipts. What it proves, it proves to those who trust the operator's
 *     host and got `public-key.pem` before.
 *
 * Made by app.ts; used by the admin operations.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Destruction } from '../accounts/destructions.ts';
import { ServerError } from '../base/errors.ts';
import { syncFolder } from '../db/sync-folder.ts';
import { keyName, parseReceipt, signStatement, type Receipt } from './receipt.ts';

type WrittenReceipt = Readonly<{ file: string; receipt: Receipt }>;

const EXCLUDES =
  'backups, snapshots of the file system, and blocks that a disk has put aside; the log of the database, for up to a minute';
const LIST_MAX_COUNT = 10_000;
const RECEIPT_FILE = /^[0-9a-f]{32}\.json$/;

export class Receipts {
  readonly #folder: string;
  readonly #nowMs: () => number;

  /** `folder` is made when it is first needed. */
  constructor(folder: string, nowMs: () => number) {
    this.#folder = folder;
    this.#nowMs = nowMs;
  }

  /** Writes the receipt of a deletion that is done; durable when it resolves (R1). Throws ServerError 'storage-failed'. */
  async certify(destruction: Destruction): Promise<WrittenReceipt> {
    const { id, organization, mailbox, keys, addressesCount, keysDestroyedAtMs, by } = destruction;
    const receipt = signStatement(
      {
        id,
        what: mailbox === null ? 'organization deleted' : 'mailbox deleted',
        organization,
        mailbox,
        keys: keys.map(({ owner, epoch, provider, rootKey }) => ({ owner, epoch, provider, rootKey })),
        addressesCount,
        keysDestroyedAt: new Date(keysDestroyedAtMs).toISOString(),
        completedAt: new Date(this.#nowMs()).toISOString(),
        by,
        excludes: EXCLUDES,
      },
      await this.#signingKey(),
    );
    const file = join(this.#folder, `${id}.json`);
    await this.#write(file, `${JSON.stringify(receipt, null, 2)}\n`);
    return { file, receipt };
  }

  /** Oldest first, at most 10,000. Files that are no receipts are left out. */
  list(): readonly WrittenReceipt[] {
    if (!existsSync(this.#folder)) return [];
    const names = readdirSync(this.#folder).filter((name) => RECEIPT_FILE.test(name));
    return names
      .slice(0, LIST_MAX_COUNT)
      .flatMap((name) => {
        const file = join(this.#folder, name);
        const receipt = parseReceipt(readFileSync(file, 'utf8'));
        return receipt ? [{ file, receipt }] : [];
      })
      .sort((a, b) => (a.receipt.statement.completedAt < b.receipt.statement.completedAt ? -1 : 1));
  }

  /** With which receipts are checked, PEM. */
  async publicKey(): Promise<Readonly<{ pem: string; key: string }>> {
    const publicKey = createPublicKey(await this.#signingKey());
    return { pem: publicKey.export({ type: 'spki', format: 'pem' }).toString(), key: keyName(publicKey) };
  }

  async #signingKey(): Promise<KeyObject> {
    const file = join(this.#folder, 'signing-key.pem');
    if (existsSync(file)) return createPrivateKey(readFileSync(file));
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    await this.#write(join(this.#folder, 'public-key.pem'), publicKey.export({ type: 'spki', format: 'pem' }));
    await this.#write(file, privateKey.export({ type: 'pkcs8', format: 'pem' }));
    return createPrivateKey(readFileSync(file));
  }

  async #write(file: string, content: string | Buffer): Promise<void> {
    try {
      if (mkdirSync(this.#folder, { recursive: true, mode: 0o700 }) !== undefined) {
        await syncFolder(dirname(this.#folder));
      }
      const made = await open(`${file}.new`, 'w', 0o600);
      try {
        await made.writeFile(content);
        await made.sync();
      } finally {
        await made.close();
      }
      await rename(`${file}.new`, file);
      await syncFolder(this.#folder);
    } catch (cause) {
      const clientText = 'The receipt could not be written. The deletion is taken up again at the next start.';
      throw new ServerError('storage-failed', { clientText, cause });
    }
  }
}
