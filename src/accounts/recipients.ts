/**
 * All that mail is taken in for, told to gateways: domains, mailboxes with the public half of their keys, and recipients.
 *
 * RC1  `version` changes whenever anything of it does: triggers of the directory see to it, whoever made the change.
 * RC2  An address is told folded, as it is looked up; a tag is not part of it.
 *
 * Called by gateway/.
 */
import { Slice } from '../base/abort.ts';
import { mailboxId, organizationId, type Epoch, type MailboxId, type OrganizationId } from '../base/ids.ts';
import type { KeyUse } from '../keys/key-service.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';
import { foldLocal } from './address-text.ts';
import { openRecords, type AccountState, type DirectoryDeps } from './directory.ts';

type RecipientEntry =
  | Readonly<{ kind: 'domain'; name: string; isSuspended: boolean }>
  | Readonly<{ kind: 'mailbox'; ref: MailboxRef; epoch: Epoch; publicKey: Uint8Array }>
  | Readonly<{ kind: 'recipient'; domain: string; foldedLocal: string; mailbox: MailboxId; isSuspended: boolean }>;

type AddressRow = Readonly<{
  domain: string;
  localIndex: Buffer;
  sealedLocal: Buffer;
  mailbox: string;
  state: AccountState;
}>;

const USE: KeyUse = { purpose: 'tell-gateways', protocol: 'gateway', principal: 'roster' };
const PAGE_COUNT = 500;

export class Recipients {
  readonly #deps: DirectoryDeps;

  constructor(deps: DirectoryDeps) {
    this.#deps = deps;
  }

  /** RC1. */
  version(): number {
    return this.#deps.directory.prepare<{ value: number }>('SELECT value FROM roster_version').get()?.value ?? 0;
  }

  /** The organization of a mailbox; null where there is none. */
  refOf(mailbox: MailboxId): MailboxRef | null {
    const select = "SELECT organization FROM mailboxes WHERE id = ? AND state <> 'deleting'";
    const row = this.#deps.directory.prepare<{ organization: string }>(select).get(mailbox);
    return row ? { organization: organizationId(row.organization), mailbox } : null;
  }

  /** Everything, a domain and a mailbox before its recipients. Throws ServerError key-*. */
  async *all(signal: AbortSignal): AsyncGenerator<RecipientEntry> {
    const select = `SELECT d.name, d.organization, d.state, o.state AS ownerState
      FROM domains d JOIN organizations o ON o.id = d.organization ORDER BY d.name`;
    const domains = this.#deps.directory
      .prepare<{ name: string; organization: string; state: AccountState; ownerState: AccountState }>(select)
      .all();
    for (const { name, state, ownerState } of domains) {
      yield { kind: 'domain', name, isSuspended: state === 'suspended' || ownerState === 'suspended' };
    }
    for (const organization of new Set(domains.map((row) => row.organization))) {
      yield* this.#mailboxes(organizationId(organization), signal);
      yield* this.#addresses(organizationId(organization), signal);
    }
  }

  async *#mailboxes(organization: OrganizationId, signal: AbortSignal): AsyncGenerator<RecipientEntry> {
    const { directory, keys } = this.#deps;
    const slice = new Slice();
    const select = `SELECT id FROM mailboxes WHERE organization = ? AND state <> 'deleting' AND id > ? ORDER BY id LIMIT ?`;
    for (let after = ''; ;) {
      const rows = directory.prepare<{ id: string }>(select).all(organization, after, PAGE_COUNT);
      for (const { id } of rows) {
        const ref = { organization, mailbox: mailboxId(id) };
        const found = await keys.newestPublicKey(ref, { use: USE, signal });
        if (found) yield { kind: 'mailbox', ref, ...found };
        await slice.pause();
      }
      const last = rows.at(-1);
      if (!last) return;
      after = last.id;
    }
  }

  async *#addresses(organization: OrganizationId, signal: AbortSignal): AsyncGenerator<RecipientEntry> {
    const slice = new Slice();
    const select = `SELECT a.domain AS domain, a.local_index AS localIndex, a.sealed_local AS sealedLocal, a.mailbox AS mailbox,
      m.state AS state FROM addresses a JOIN mailboxes m ON m.id = a.mailbox
      WHERE m.organization = ? AND m.state <> 'deleting' AND (a.domain, a.local_index) > (?, ?)
      ORDER BY a.domain, a.local_index LIMIT ?`;
    let [domain, index]: [string, Buffer] = ['', Buffer.alloc(0)];
    for (;;) {
      const rows = this.#deps.directory.prepare<AddressRow>(select).all(organization, domain, index, PAGE_COUNT);
      const last = rows.at(-1);
      if (!last) return;
      [domain, index] = [last.domain, last.localIndex];
      using records = await openRecords(this.#deps, organization, USE, signal);
      for (const row of rows) {
        const local = records.openLocal({ domain: row.domain, index: row.localIndex }, row.sealedLocal);
        const mailbox = mailboxId(row.mailbox);
        const isSuspended = row.state === 'suspended';
        yield { kind: 'recipient', domain: row.domain, foldedLocal: foldLocal(local), mailbox, isSuspended };
        await slice.pause();
      }
    }
  }
}
