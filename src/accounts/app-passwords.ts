/**
 * App passwords: a password for one device or program, beside the mailbox's own.
 *
 * AP1  It is 128 random bits, made here, shown once; what is kept is a digest, sealed, and its SCRAM secrets.
 * AP2  It may be limited to protocols. Its name is sealed; the day of its last use lies in the clear.
 * AP3  A revoked one logs nobody in from then on; who revokes it ends the sessions of its mailbox.
 *
 * Called by admin/ and by the logins of this folder.
 */
import { hash, randomBytes, timingSafeEqual } from 'node:crypto';
import { ServerError } from '../base/errors.ts';
import { randomHexId, type MailboxId } from '../base/ids.ts';
import type { ScramParameters } from '../crypto/scram.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';
import { adminUse, checkedName, notFound, openRecords, type DirectoryDeps } from './directory.ts';
import type { DirectoryRecords } from './records.ts';
import { formatScramSecrets, parseScramSecrets, scramSecretsOf } from './scram-secrets.ts';
import type { ScramOptions, ScramSecrets } from './scram-secrets.ts';

export const APP_PASSWORD_PROTOCOLS = ['imap', 'smtp'] as const;
type AppPasswordProtocol = (typeof APP_PASSWORD_PROTOCOLS)[number];
/** `protocols` null: all of them. */
type NewAppPassword = Readonly<{ name: string; protocols: readonly AppPasswordProtocol[] | null }>;
type AppPassword = NewAppPassword &
  Readonly<{
    id: string;
    createdAtMs: number;
    /** `2026-11-28`; null: never used. */
    lastUsedDay: string | null;
  }>;
/** An opened row, for comparing. */
export type OpenAppPassword = NewAppPassword & Readonly<{ id: string; digest: Buffer; scram: ScramSecrets | null }>;
type AppPasswordsDeps = DirectoryDeps & Readonly<{ scram: ScramOptions }>;

type Row = Readonly<{ id: string; sealed: Buffer; lastUsedDay: number | null; createdAtMs: number }>;
type Kept = Readonly<{
  name: string;
  protocols: readonly AppPasswordProtocol[] | null;
  digest: string;
  scram: string | null;
}>;

const SELECT = `SELECT id, sealed, last_used_day AS lastUsedDay, created_at_ms AS createdAtMs
  FROM app_passwords WHERE mailbox = ? ORDER BY created_at_ms, id`;
const SECRET_BYTES = 16;
const PER_MAILBOX_MAX_COUNT = 50;
const DAY_MS = 86_400_000;
const GROUP = /.{4}(?=.)/g;
/** RFC 4648 §6, in lower case: 26 letters and digits hold 128 bits. */
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';
const WRITTEN = /^[a-z2-7]{26}$/;

export class AppPasswords {
  readonly #deps: AppPasswordsDeps;

  constructor(deps: AppPasswordsDeps) {
    this.#deps = deps;
  }

  /** Makes one; durable when it resolves. Throws ServerError 'invalid-argument', 'limit-exceeded', key-*. */
  async create(
    { organization, mailbox }: MailboxRef,
    wanted: NewAppPassword,
    signal?: AbortSignal,
  ): Promise<Readonly<{ id: string; password: string }>> {
    const { directory, nowMs } = this.#deps;
    const name = checkedName(wanted.name);
    const id = randomHexId();
    const password = written(randomBytes(SECRET_BYTES));
    const use = adminUse('create-app-password');
    const known = await this.#parameters({ organization, mailbox }, signal);
    const scram = await scramSecretsOf(password, this.#deps.scram, known);
    using records = await openRecords(this.#deps, organization, use, signal);
    const kept: Kept = {
      name,
      protocols: wanted.protocols,
      digest: digestOf(password).toString('base64'),
      scram: scram && formatScramSecrets(scram),
    };
    directory.transaction(() => {
      const { count } = directory
        .prepare<{ count: number }>('SELECT count(*) AS count FROM app_passwords WHERE mailbox = ?')
        .get(mailbox) ?? { count: 0 };
      if (count >= PER_MAILBOX_MAX_COUNT) {
        const clientText = `A mailbox has at most ${String(PER_MAILBOX_MAX_COUNT)} app passwords. Revoke one first.`;
        throw new ServerError('limit-exceeded', { clientText });
      }
      directory
        .prepare('INSERT INTO app_passwords (id, mailbox, sealed, last_used_day, created_at_ms) VALUES (?,?,?,NULL,?)')
        .run(id, mailbox, records.sealAppPassword({ mailbox, appPassword: id }, JSON.stringify(kept)), nowMs());
    });
    await directory.durable();
    return { id, password: password.replaceAll(GROUP, '$&-') };
  }

  /** Oldest first. Throws ServerError key-*. */
  async list({ organization, mailbox }: MailboxRef, signal?: AbortSignal): Promise<readonly AppPassword[]> {
    const rows = this.#deps.directory.prepare<Row>(SELECT).all(mailbox);
    if (rows.length === 0) return [];
    using records = await openRecords(this.#deps, organization, adminUse('list-app-passwords'), signal);
    return rows.map((row) => {
      const { name, protocols } = openRow(records, mailbox, row);
      const { id, createdAtMs, lastUsedDay } = row;
      return { id, name, protocols, createdAtMs, lastUsedDay: lastUsedDay === null ? null : dayText(lastUsedDay) };
    });
  }

  /** Revokes one; durable when it resolves. Throws ServerError 'not-found'. */
  async revoke({ mailbox }: MailboxRef, id: string): Promise<void> {
    const { directory } = this.#deps;
    const { changes } = directory.prepare('DELETE FROM app_passwords WHERE mailbox = ? AND id = ?').run(mailbox, id);
    if (changes === 0) throw notFound('The mailbox has no app password of that id.');
    await directory.durable();
    directory.truncateLogSoon();
  }

  async #parameters({ organization, mailbox }: MailboxRef, signal?: AbortSignal): Promise<ScramParameters | undefined> {
    const select = 'SELECT sealed_scram AS sealed FROM mailboxes WHERE id = ?';
    const row = this.#deps.directory.prepare<{ sealed: Buffer | null }>(select).get(mailbox);
    using records = await openRecords(this.#deps, organization, adminUse('create-app-password'), signal);
    if (row?.sealed) return parseScramSecrets(records.openScram(mailbox, row.sealed)).parameters;
    return appPasswordParameters(this.#deps, records, mailbox);
  }
}

/** The salt of a mailbox's app passwords, if it has any: V1 of scram-secrets.ts. */
export function appPasswordParameters(
  deps: Pick<DirectoryDeps, 'directory'>,
  records: DirectoryRecords,
  mailbox: MailboxId,
): ScramParameters | undefined {
  return openAppPasswords(deps, records, mailbox).find((one) => one.scram)?.scram?.parameters;
}

/** All of a mailbox, opened. */
export function openAppPasswords(
  { directory }: Pick<DirectoryDeps, 'directory'>,
  records: DirectoryRecords,
  mailbox: MailboxId,
): readonly OpenAppPassword[] {
  return directory
    .prepare<Row>(SELECT)
    .all(mailbox)
    .map((row) => openRow(records, mailbox, row));
}

/** The one that `password` is, however its groups are written; null when it is none of them. */
export function matchingAppPassword(all: readonly OpenAppPassword[], password: string): OpenAppPassword | null {
  const bare = password.replaceAll(/[- ]/g, '').toLowerCase();
  if (!WRITTEN.test(bare)) return null;
  const digest = digestOf(bare);
  return all.find((one) => timingSafeEqual(one.digest, digest)) ?? null;
}

/** Whether it may be used for `protocol` (AP2). */
export function servesProtocol({ protocols }: OpenAppPassword, protocol: string | undefined): boolean {
  const asked = protocol === 'submission' ? 'smtp' : protocol;
  return protocols === null || protocols.some((allowed) => allowed === asked);
}

/** Notes the day; no answer waits for it. */
export function noteUse({ directory, nowMs }: DirectoryDeps, id: string): void {
  const day = Math.floor(nowMs() / DAY_MS);
  directory
    .prepare('UPDATE app_passwords SET last_used_day = ? WHERE id = ? AND last_used_day IS NOT ?')
    .run(day, id, day);
}

function openRow(records: DirectoryRecords, mailbox: MailboxId, { id, sealed }: Row): OpenAppPassword {
  const kept = JSON.parse(records.openAppPassword({ mailbox, appPassword: id }, sealed)) as Kept;
  const { name, protocols, digest, scram } = kept;
  return {
    id,
    name,
    protocols,
    digest: Buffer.from(digest, 'base64'),
    scram: scram === null ? null : parseScramSecrets(scram),
  };
}

/** No slow hash: 128 random bits cannot be guessed. */
function digestOf(bare: string): Buffer {
  return hash('sha256', bare, 'buffer');
}

function written(secret: Buffer): string {
  let [bits, held, text] = [0, 0, ''];
  for (const byte of secret) {
    held = (held << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += ALPHABET[(held >> (bits - 5)) & 31] ?? '';
    held &= (1 << bits) - 1;
  }
  return text + (ALPHABET[(held << (5 - bits)) & 31] ?? '');
}

function dayText(day: number): string {
  return new Date(day * DAY_MS).toISOString().slice(0, 10);
}
