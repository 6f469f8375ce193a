/**
 * What the directory holds sealed, and how it is read: the only file of this folder that touches key material.
 *
 * R1  Names, addresses, display names and what is kept of passwords are stored only as records under the organization's
 *     directory key, each bound to its organization, epoch and row; a record moved to another row does not open.
 *     The same goes for the private keys of DKIM.
 * R2  Addresses are found by a blind index of the folded local part, bound to organization and domain.
 */
import { ServerError } from '../base/errors.ts';
import type { Epoch, MailboxId, OrganizationId } from '../base/ids.ts';
import { blindIndex } from '../crypto/blind-index.ts';
import type { PairOwner, RecordContext } from '../crypto/context.ts';
import { openRecord, sealRecord } from '../crypto/record.ts';
import type { MailboxKeyLease } from '../keys/mailbox-keys.ts';

/** What is known of a mailbox's user. */
type Profile = Readonly<{ address: string; displayName: string | null }>;

/** Seals and opens the rows of one organization while the lease of its directory key lasts. */
export class DirectoryRecords implements Disposable {
  readonly organization: OrganizationId;
  readonly #lease: MailboxKeyLease;

  /** Takes over `lease`: disposing this ends it. */
  constructor(organization: OrganizationId, lease: MailboxKeyLease) {
    this.organization = organization;
    this.#lease = lease;
  }

  /** The lookup key of a folded local part in `domain`, 16 bytes. */
  addressIndex(domain: string, foldedLocal: string): Buffer {
    const context = { kind: 'address-local', organization: this.organization, domain } as const;
    return blindIndex(this.#lease.keys.blindIndex, context, foldedLocal);
  }

  sealName(name: string): Buffer {
    return this.#seal({ kind: 'organization-name', ...this.#bound() }, name);
  }

  openName(sealed: Buffer): string {
    return this.#open({ kind: 'organization-name', ...this.#bound() }, sealed);
  }

  sealProfile(mailbox: MailboxId, profile: Profile): Buffer {
    return this.#seal({ kind: 'mailbox-profile', ...this.#bound(), mailbox }, JSON.stringify(profile));
  }

  openProfile(mailbox: MailboxId, sealed: Buffer): Profile {
    const text = this.#open({ kind: 'mailbox-profile', ...this.#bound(), mailbox }, sealed);
    const value: unknown = JSON.parse(text);
    if (!isProfile(value)) throw damaged(`profile of mailbox ${mailbox} has another shape`);
    return value;
  }

  sealCredential(mailbox: MailboxId, phc: string): Buffer {
    return this.#seal({ kind: 'credential', ...this.#bound(), mailbox }, phc);
  }

  openCredential(mailbox: MailboxId, sealed: Buffer): string {
    return this.#open({ kind: 'credential', ...this.#bound(), mailbox }, sealed);
  }

  openPublicKey(of: Readonly<{ mailbox: PairOwner; keyEpoch: Epoch }>, sealed: Buffer): void {
    this.#open({ kind: 'public-key', ...this.#bound(), ...of }, sealed);
  }

  sealScram(mailbox: MailboxId, text: string): Buffer {
    return this.#seal({ kind: 'scram', ...this.#bound(), mailbox }, text);
  }

  openScram(mailbox: MailboxId, sealed: Buffer): string {
    return this.#open({ kind: 'scram', ...this.#bound(), mailbox }, sealed);
  }

  sealAppPassword(at: Readonly<{ mailbox: MailboxId; appPassword: string }>, text: string): Buffer {
    return this.#seal({ kind: 'app-password', ...this.#bound(), ...at }, text);
  }

  openAppPassword(at: Readonly<{ mailbox: MailboxId; appPassword: string }>, sealed: Buffer): string {
    return this.#open({ kind: 'app-password', ...this.#bound(), ...at }, sealed);
  }

  sealLocal(at: Readonly<{ domain: string; index: Buffer }>, local: string): Buffer {
    return this.#seal({ kind: 'address-local', ...this.#bound(), ...at }, local);
  }

  openLocal(at: Readonly<{ domain: string; index: Buffer }>, sealed: Buffer): string {
    return this.#open({ kind: 'address-local', ...this.#bound(), ...at }, sealed);
  }

  /** `privateKey` is overwritten: what it was lies in the sealed form only. */
  sealDkimKey(at: Readonly<{ domain: string; selector: string }>, privateKey: Buffer): Buffer {
    try {
      return sealRecord(this.#lease.keys.record, { kind: 'dkim-key', ...this.#bound(), ...at }, privateKey);
    } finally {
      privateKey.fill(0);
    }
  }

  openDkimKey(at: Readonly<{ domain: string; selector: string }>, sealed: Buffer): Buffer {
    return openRecord(this.#lease.keys.record, { kind: 'dkim-key', ...this.#bound(), ...at }, sealed);
  }

  [Symbol.dispose](): void {
    this.#lease[Symbol.dispose]();
  }

  #bound(): Readonly<{ organization: OrganizationId; epoch: MailboxKeyLease['epoch'] }> {
    return { organization: this.organization, epoch: this.#lease.epoch };
  }

  #seal(context: RecordContext, text: string): Buffer {
    return sealRecord(this.#lease.keys.record, context, Buffer.from(text, 'utf8'));
  }

  #open(context: RecordContext, sealed: Buffer): string {
    return openRecord(this.#lease.keys.record, context, sealed).toString('utf8');
  }
}

function isProfile(value: unknown): value is Profile {
  if (typeof value !== 'object' || value === null || !('address' in value) || !('displayName' in value)) return false;
  return typeof value.address === 'string' && (value.displayName === null || typeof value.displayName === 'string');
}

function damaged(detail: string): ServerError {
  return new ServerError('content-damaged', { clientText: 'The directory is damaged.', detail });
}
