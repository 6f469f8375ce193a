/**
 * The roster of a gateway: for which recipients it takes in mail, and by which public keys. The main server sends it.
 *
 * RO1  It knows no address: recipients are found by a blind index, and everything but ids is sealed with the gateway's key,
 *      so who writes to the disk can neither add a recipient nor put another public key in the place of a right one.
 * RO2  Before the first roster came, and for nobody who is in none, no answer is a guess: then mail is deferred.
 * RO3  A roster takes the place of the one before as a whole, in one transaction; one that breaks off changes nothing.
 *
 * Called by the delivery of a gateway, as its directory and key service, and by collection-server.ts.
 */
import { foldLocal, parseAddress, withoutTag } from '../accounts/address-text.ts';
import type { Resolution } from '../accounts/addresses.ts';
import { Slice } from '../base/abort.ts';
import { ServerError } from '../base/errors.ts';
import { epoch, mailboxId, organizationId, type Epoch, type MailboxId } from '../base/ids.ts';
import { blindIndex } from '../crypto/blind-index.ts';
import type { GatewayKeys } from '../crypto/gateway-secret.ts';
import { openRecord, sealRecord } from '../crypto/record.ts';
import type { Database } from '../db/database.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';
import { malformed, type RosterLine } from './lines.ts';

type RosterDeps = Readonly<{ database: Database; keys: GatewayKeys; nowMs(): number }>;
/** `version`: the main server's name of this state. */
type RosterState = Readonly<{ version: string; receivedAtMs: number }>;
/** A mailbox and the epoch of the key that its mail is sealed to. */
type MailboxEpoch = Readonly<{ ref: MailboxRef; epoch: Epoch }>;

type ListedLine = Exclude<RosterLine, { kind: 'end' }>;
type KeyRow = Readonly<{ organization: string; epoch: number; sealedPublic: Buffer }>;

const BATCH_COUNT = 200;

export class Roster {
  readonly #deps: RosterDeps;

  constructor(deps: RosterDeps) {
    this.#deps = deps;
  }

  /** The roster in force; null before the first (RO2). */
  state(): RosterState | null {
    const select = 'SELECT version, received_at_ms AS receivedAtMs FROM roster';
    return this.#deps.database.prepare<RosterState>(select).get() ?? null;
  }

  /** As `Addresses.resolveRecipient`. Throws ServerError 'key-unavailable' before the first roster, 'content-damaged'. */
  resolveRecipient(address: string): Promise<Resolution> {
    return Promise.resolve().then(() => this.#resolve(address));
  }

  /** Our domains that are in use. */
  localDomains(maxCount: number): readonly string[] {
    const select = 'SELECT name FROM domains WHERE generation = ? AND is_suspended = 0 ORDER BY name LIMIT ?';
    return this.#deps.database
      .prepare<{ name: string }>(select)
      .all(this.#generation(), maxCount)
      .map(({ name }) => name);
  }

  /** The public half of a mailbox key's pair. Throws ServerError 'key-unavailable' for another epoch than the roster's. */
  publicKey(ref: MailboxRef & Readonly<{ epoch: Epoch }>): Promise<Uint8Array> {
    return Promise.resolve().then(() => {
      const row = this.#key(ref.mailbox);
      if (row?.epoch !== ref.epoch) throw notKnown(`no public key of ${ref.mailbox}, epoch ${String(ref.epoch)}`);
      const { organization, mailbox, epoch: keyEpoch } = ref;
      const context = { kind: 'gateway-public-key', organization, mailbox, keyEpoch } as const;
      return openRecord(this.#deps.keys.record, context, row.sealedPublic);
    });
  }

  /** Whose key a mailbox's mail is sealed to; null where the roster has none. */
  mailbox(mailbox: MailboxId): MailboxEpoch | null {
    const row = this.#key(mailbox);
    if (!row) return null;
    return { ref: { organization: organizationId(row.organization), mailbox }, epoch: epoch(row.epoch) };
  }

  /**
   * Puts a roster in force (RO3); durable when it resolves. Gives the mailboxes whose epoch is another one than before.
   * Throws ServerError 'invalid-argument' for one that is not whole.
   */
  async replace(version: string, lines: AsyncIterable<RosterLine>): Promise<readonly MailboxEpoch[]> {
    const { database, nowMs } = this.#deps;
    const before = this.#generation();
    const generation = before + 1;
    await this.#remove('>', before); // what another one left that broke off
    await this.#write(generation, lines);
    const moved = database
      .prepare<{ mailbox: string; organization: string; epoch: number }>(
        `SELECT n.mailbox, n.organization, n.epoch FROM mailbox_keys n JOIN mailbox_keys b ON b.mailbox = n.mailbox
         WHERE n.generation = ? AND b.generation = ? AND b.epoch <> n.epoch`,
      )
      .all(generation, before);
    database
      .prepare('INSERT OR REPLACE INTO roster (only_row, generation, version, received_at_ms) VALUES (1, ?, ?, ?)')
      .run(generation, version, nowMs());
    await database.durable();
    await this.#remove('<', generation);
    return moved.map((row) => ({
      ref: { organization: organizationId(row.organization), mailbox: mailboxId(row.mailbox) },
      epoch: epoch(row.epoch),
    }));
  }

  #resolve(address: string): Resolution {
    if (!this.state()) throw notKnown('no roster has come yet');
    const parsed = parseAddress(address);
    const domain = parsed && this.#domain(parsed.domain);
    if (!parsed || !domain) return { kind: 'unknown-domain' };
    if (domain.isSuspended === 1) return { kind: 'suspended' };
    const folded = foldLocal(parsed.local);
    const untagged = withoutTag(folded);
    const found =
      this.#recipient(parsed.domain, folded) ?? (untagged === null ? null : this.#recipient(parsed.domain, untagged));
    if (!found) return { kind: 'unknown-user' };
    if (found.isSuspended) return { kind: 'suspended' };
    const mailbox = this.mailbox(found.mailbox);
    if (!mailbox) throw notKnown(`no public key of ${found.mailbox}`);
    return { kind: 'mailbox', ref: mailbox.ref, keyKind: 'pair' };
  }

  #domain(name: string): Readonly<{ isSuspended: number }> | undefined {
    const select = 'SELECT is_suspended AS isSuspended FROM domains WHERE generation = ? AND name = ?';
    return this.#deps.database.prepare<{ isSuspended: number }>(select).get(this.#generation(), name);
  }

  #recipient(domain: string, folded: string): Readonly<{ mailbox: MailboxId; isSuspended: boolean }> | null {
    const { database, keys } = this.#deps;
    const index = blindIndex(keys.blindIndex, { kind: 'gateway-recipient', domain }, folded);
    const select = 'SELECT sealed FROM recipients WHERE generation = ? AND domain = ? AND local_index = ?';
    const row = database.prepare<{ sealed: Buffer }>(select).get(this.#generation(), domain, index);
    if (!row) return null;
    const opened = openRecord(keys.record, { kind: 'gateway-recipient', domain, index }, row.sealed).toString();
    const [mailbox = '', state] = opened.split(' ');
    return { mailbox: mailboxId(mailbox), isSuspended: state !== 'active' };
  }

  #key(mailbox: MailboxId): KeyRow | undefined {
    const select = `SELECT organization, epoch, sealed_public AS sealedPublic FROM mailbox_keys
      WHERE generation = ? AND mailbox = ?`;
    return this.#deps.database.prepare<KeyRow>(select).get(this.#generation(), mailbox);
  }

  #generation(): number {
    return this.#deps.database.prepare<{ generation: number }>('SELECT generation FROM roster').get()?.generation ?? 0;
  }

  async #write(generation: number, lines: AsyncIterable<RosterLine>): Promise<void> {
    const { database } = this.#deps;
    const slice = new Slice();
    let batch: ListedLine[] = [];
    let [linesCount, isWhole] = [0, false];
    const flush = (): void => {
      database.transaction(() => {
        for (const line of batch) this.#insert(generation, line);
      });
      batch = [];
    };
    for await (const line of lines) {
      if (isWhole) throw malformed('a roster goes on after its end');
      if (line.kind === 'end') {
        if (line.linesCount !== linesCount) throw malformed('a roster lacks lines');
        isWhole = true;
        continue;
      }
      linesCount += 1;
      batch.push(line);
      if (batch.length < BATCH_COUNT) continue;
      flush();
      await slice.pause();
    }
    if (!isWhole) throw malformed('a roster breaks off');
    flush();
  }

  #insert(generation: number, line: ListedLine): void {
    const { database, keys } = this.#deps;
    switch (line.kind) {
      case 'domain':
        database
          .prepare('INSERT INTO domains (generation, name, is_suspended) VALUES (?, ?, ?)')
          .run(generation, line.name, line.isSuspended ? 1 : 0);
        break;
      case 'mailbox': {
        const { organization, mailbox, epoch: keyEpoch, publicKey } = line;
        const context = { kind: 'gateway-public-key', organization, mailbox, keyEpoch } as const;
        database
          .prepare(
            'INSERT INTO mailbox_keys (generation, mailbox, organization, epoch, sealed_public) VALUES (?,?,?,?,?)',
          )
          .run(generation, mailbox, organization, keyEpoch, sealRecord(keys.record, context, publicKey));
        break;
      }
      case 'recipient': {
        const { domain, index, mailbox, isSuspended } = line;
        const text = `${mailbox} ${isSuspended ? 'suspended' : 'active'}`;
        const sealed = sealRecord(keys.record, { kind: 'gateway-recipient', domain, index }, Buffer.from(text));
        database
          .prepare('INSERT INTO recipients (generation, domain, local_index, sealed) VALUES (?, ?, ?, ?)')
          .run(generation, domain, index, sealed);
        break;
      }
    }
  }

  async #remove(sign: '<' | '>', generation: number): Promise<void> {
    const slice = new Slice();
    for (const [table, key] of [
      ['domains', 'name'],
      ['recipients', 'local_index'],
      ['mailbox_keys', 'mailbox'],
    ] as const) {
      const sql = `DELETE FROM ${table} WHERE (generation, ${key}) IN
        (SELECT generation, ${key} FROM ${table} WHERE generation ${sign} ? LIMIT ${String(BATCH_COUNT)})`;
      while (this.#deps.database.prepare(sql).run(generation).changes > 0) await slice.pause();
    }
  }
}

/** RO2: the sender comes again. */
function notKnown(detail: string): ServerError {
  return new ServerError('key-unavailable', { clientText: 'Not known at the moment', detail, retryable: true });
}
