/**
 * Addresses: from what a peer wrote to a mailbox, and the aliases of mailboxes.
 *
 * A1  An address is found by blind index only; no address is stored or compared in plaintext.
 * A2  The whole local part is looked up first, then the part before its `+tag`.
 * A3  The answer for a local domain is never a guess: when the directory key cannot be had, the lookup throws.
 * A4  `postmaster` goes where an address of that name leads, in any case of letters (RFC 5321 §4.5.1).
 *
 * Called by delivery/route, smtp/ (recipients), login.ts and admin/.
 */
import { mailboxId, type MailboxId, type OrganizationId } from '../base/ids.ts';
import type { KeyUse } from '../keys/key-service.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';
import { foldLocal, isCreatableLocal, parseAddress, withoutTag, type ParsedAddress } from './address-text.ts';
import { adminUse, exists, invalid, notFound, openRecords, refused } from './directory.ts';
import type { DirectoryDeps } from './directory.ts';
import type { Domains } from './domains.ts';
import type { DirectoryRecords } from './records.ts';

/**
 * How incoming mail gets into a mailbox: `symmetric`, under its unwrapped key; `pair`, sealed to its public key, without the
 * key service, and adopted afterwards (mailbox/waiting.ts).
 */
export type KeyKind = 'symmetric' | 'pair';
export type Resolution =
  | Readonly<{ kind: 'mailbox'; ref: MailboxRef; keyKind: KeyKind }>
  | Readonly<{ kind: 'unknown-domain' }>
  | Readonly<{ kind: 'unknown-user' }>
  | Readonly<{ kind: 'suspended' }>;
type AddressKind = 'primary' | 'alias';
type Address = Readonly<{ address: string; kind: AddressKind; mailbox: MailboxId; createdAtMs: number }>;
type AddressesDeps = DirectoryDeps & Readonly<{ domains: Domains }>;

type Row = Readonly<{
  mailbox: string;
  state: 'active' | 'suspended' | 'deleting';
  keyKind: KeyKind;
  kind: AddressKind;
}>;
type ListedRow = Readonly<{
  domain: string;
  localIndex: Buffer;
  sealedLocal: Buffer;
  kind: AddressKind;
  mailbox: string;
  createdAtMs: number;
}>;
const SENDER_USE: KeyUse = { purpose: 'verify-sender', protocol: 'submission', principal: 'submission' };
const RECIPIENT_USE: KeyUse = { purpose: 'resolve-recipient', protocol: 'smtp', principal: 'delivery' };

export class Addresses {
  readonly #deps: AddressesDeps;

  constructor(deps: AddressesDeps) {
    this.#deps = deps;
  }

  /** Where mail for `address` goes. Throws ServerError key-* when the directory key cannot be had. */
  async resolveRecipient(address: string, signal?: AbortSignal): Promise<Resolution> {
    const parsed = parseAddress(address);
    const owner = parsed ? this.#deps.domains.owner(parsed.domain) : null;
    if (!parsed || !owner) return { kind: 'unknown-domain' };
    if (owner.state === 'suspended') return { kind: 'suspended' };
    using records = await openRecords(this.#deps, owner.organization, RECIPIENT_USE, signal);
    const folded = foldLocal(parsed.local);
    const untagged = withoutTag(folded);
    const row =
      this.#row(records, parsed.domain, folded) ??
      (untagged === null ? null : this.#row(records, parsed.domain, untagged));
    if (!row || row.state === 'deleting') return { kind: 'unknown-user' };
    if (row.state === 'suspended') return { kind: 'suspended' };
    const ref = { organization: owner.organization, mailbox: mailboxId(row.mailbox) };
    return { kind: 'mailbox', ref, keyKind: row.keyKind };
  }

  /** True for an address of this very mailbox, its `+tag`s included, that mail is taken for. Throws ServerError key-*. */
  async isOwnedBy({ organization, mailbox }: MailboxRef, address: string, signal?: AbortSignal): Promise<boolean> {
    const parsed = parseAddress(address);
    const owner = parsed ? this.#deps.domains.owner(parsed.domain) : null;
    if (!parsed || owner?.state !== 'active' || owner.organization !== organization) return false;
    using records = await openRecords(this.#deps, organization, SENDER_USE, signal);
    const folded = foldLocal(parsed.local);
    const untagged = withoutTag(folded);
    const row =
      this.#row(records, parsed.domain, folded) ??
      (untagged === null ? null : this.#row(records, parsed.domain, untagged));
    return row?.mailbox === mailbox && row.state === 'active';
  }

  /** Our domains that are in use, oldest first. */
  localDomains(maxCount: number): readonly string[] {
    return this.#deps.domains.active(maxCount);
  }

  /** True when this server is the final destination of `domain`. */
  isLocalDomain(domain: string): boolean {
    return this.#deps.domains.isLocal(domain);
  }

  /** The mailbox an address belongs to, exactly as it was created (no tag), whatever its state; null when none. */
  find(records: DirectoryRecords, address: ParsedAddress): MailboxId | null {
    const row = this.#row(records, address.domain, foldLocal(address.local));
    return row && row.state !== 'deleting' ? mailboxId(row.mailbox) : null;
  }

  /** Inserts an address; called inside a directory transaction. Throws ServerError 'already-exists'. */
  insert(
    records: DirectoryRecords,
    address: ParsedAddress,
    target: Readonly<{ mailbox: MailboxId; kind: AddressKind }>,
  ): void {
    const { directory, nowMs } = this.#deps;
    const { domain, local } = address;
    const index = records.addressIndex(domain, foldLocal(local));
    const taken = directory.prepare('SELECT 1 FROM addresses WHERE domain = ? AND local_index = ?').get(domain, index);
    if (taken) throw exists(`The address ${local}@${domain} is already in use.`);
    const columns = 'domain, local_index, mailbox, kind, sealed_local, created_at_ms';
    directory
      .prepare(`INSERT INTO addresses (${columns}) VALUES (?,?,?,?,?,?)`)
      .run(domain, index, target.mailbox, target.kind, records.sealLocal({ domain, index }, local), nowMs());
  }

  /**
   * Makes `alias` lead to the mailbox of `target`; durable when it resolves.
   * Throws ServerError 'invalid-argument', 'not-found', 'already-exists', 'not-allowed' (two organizations), key-*.
   */
  async createAlias(alias: string, target: string, signal?: AbortSignal): Promise<void> {
    const { directory, domains } = this.#deps;
    const [from, to] = [checkedNewAddress(alias), checkedAddress(target)];
    const owner = requireOwner(domains, to.domain);
    if (requireOwner(domains, from.domain) !== owner) {
      throw refused('An alias must be in a domain of the same organization as its mailbox.');
    }
    using records = await openRecords(this.#deps, owner, adminUse('create-alias'), signal);
    directory.transaction(() => {
      const mailbox = this.find(records, to);
      if (mailbox === null) throw notFound(`There is no mailbox ${target}.`);
      this.insert(records, from, { mailbox, kind: 'alias' });
    });
    await directory.durable();
  }

  /** Removes an alias. Throws ServerError 'not-found', 'not-allowed' (a primary address), key-*. */
  async deleteAlias(alias: string, signal?: AbortSignal): Promise<void> {
    const { directory, domains } = this.#deps;
    const { domain, local } = checkedAddress(alias);
    using records = await openRecords(this.#deps, requireOwner(domains, domain), adminUse('delete-alias'), signal);
    const folded = foldLocal(local);
    directory.transaction(() => {
      const row = this.#row(records, domain, folded);
      if (!row) throw notFound(`There is no alias ${alias}.`);
      if (row.kind === 'primary') throw refused(`${alias} is the address of a mailbox, not an alias.`);
      const index = records.addressIndex(domain, folded);
      directory.prepare('DELETE FROM addresses WHERE domain = ? AND local_index = ?').run(domain, index);
    });
    await directory.durable();
  }

  /** The addresses of an organization, or of one mailbox, opened; by domain, then address. */
  async list(
    organization: OrganizationId,
    mailbox: MailboxId | null,
    signal?: AbortSignal,
  ): Promise<readonly Address[]> {
    using records = await openRecords(this.#deps, organization, adminUse('list-addresses'), signal);
    return this.listOpened(records, mailbox);
  }

  /** As `list`, with records that are open already. */
  listOpened(records: DirectoryRecords, mailbox: MailboxId | null): readonly Address[] {
    const select = `SELECT a.domain AS domain, a.local_index AS localIndex, a.sealed_local AS sealedLocal, a.kind AS kind,
      a.mailbox AS mailbox, a.created_at_ms AS createdAtMs FROM addresses a JOIN mailboxes m ON m.id = a.mailbox
      WHERE m.organization = ? AND m.state <> 'deleting'`;
    const rows =
      mailbox === null
        ? this.#deps.directory.prepare<ListedRow>(select).all(records.organization)
        : this.#deps.directory.prepare<ListedRow>(`${select} AND a.mailbox = ?`).all(records.organization, mailbox);
    return rows
      .map((row) => ({
        address: `${records.openLocal({ domain: row.domain, index: row.localIndex }, row.sealedLocal)}@${row.domain}`,
        kind: row.kind,
        mailbox: mailboxId(row.mailbox),
        createdAtMs: row.createdAtMs,
      }))
      .sort((a, b) => (a.address < b.address ? -1 : 1));
  }

  #row(records: DirectoryRecords, domain: string, foldedLocal: string): Row | null {
    const select = `SELECT a.mailbox AS mailbox, a.kind AS kind, m.state AS state, m.key_kind AS keyKind
      FROM addresses a JOIN mailboxes m ON m.id = a.mailbox WHERE a.domain = ? AND a.local_index = ?`;
    const index = records.addressIndex(domain, foldedLocal);
    return this.#deps.directory.prepare<Row>(select).get(domain, index) ?? null;
  }
}

/** Takes an address of the operator apart. Throws ServerError 'invalid-argument'. */
export function checkedAddress(text: string): ParsedAddress {
  const parsed = parseAddress(text.trim());
  if (!parsed) throw invalid(`${JSON.stringify(text)} is not an address.`);
  return parsed;
}

/** As `checkedAddress`, for one that is to be created: NFC, and printable without quoting. */
export function checkedNewAddress(text: string): ParsedAddress {
  const { local, domain } = checkedAddress(text);
  if (!isCreatableLocal(local))
    throw invalid(`${JSON.stringify(text)} has characters that an address here may not have.`);
  return { local: local.normalize('NFC'), domain };
}

/** The organization of a domain. Throws ServerError 'not-found'. */
export function requireOwner(domains: Domains, domain: string): OrganizationId {
  const owner = domains.owner(domain);
  if (!owner) throw notFound(`There is no domain ${domain} here. Create it first: sealpost domain create ${domain}`);
  return owner.organization;
}
