/**
 * Looks through the directory for what should not be: its own consistency, and records that do not open.
 *
 * DX1  Looking changes nothing.
 * DX2  Places are ids and domain names; no address and no name of a user is told.
 *
 * Called by jobs/, for an operator.
 */
import { ServerError } from '../base/errors.ts';
import type { Fault } from '../base/fault.ts';
import { epoch, mailboxId, organizationId, type MailboxId, type OrganizationId } from '../base/ids.ts';
import { keyOwner } from '../crypto/context.ts';
import { checkDatabase, type Check } from '../db/checks.ts';
import type { Database } from '../db/database.ts';
import type { DatabaseReader } from '../db/reader.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';
import { foldLocal } from './address-text.ts';
import { adminUse, openRecords, type DirectoryDeps } from './directory.ts';
import type { DirectoryRecords } from './records.ts';

type ExamineDeps = DirectoryDeps & Readonly<{ reader: DatabaseReader; /** Of the directory. */ file: string }>;
type AddressRow = Readonly<{ domain: string; localIndex: Buffer; sealedLocal: Buffer }>;
type MailboxRow = Readonly<{
  id: string;
  sealedProfile: Buffer;
  sealedCredential: Buffer | null;
  sealedScram: Buffer | null;
}>;

const UNOPENED = 'a record of the directory does not open';
const CHECKS: readonly Check[] = [
  {
    what: 'an organization has no directory key',
    remedy: 'by-hand',
    sql: `SELECT 'organization ' || id AS place FROM organizations o WHERE length(sealed_name) > 0 AND NOT EXISTS
      (SELECT 1 FROM wrapped_keys w WHERE w.organization = o.id AND w.owner = 'directory')`,
  },
  {
    what: 'a mailbox has no key',
    remedy: 'by-hand',
    sql: `SELECT 'mailbox ' || id AS place FROM mailboxes m WHERE state <> 'deleting' AND NOT EXISTS
      (SELECT 1 FROM wrapped_keys w WHERE w.organization = m.organization AND w.owner = m.id)`,
  },
  {
    what: 'a key belongs to no mailbox',
    remedy: 'by-hand',
    sql: `SELECT 'key of ' || owner || ', epoch ' || epoch AS place FROM wrapped_keys
      WHERE owner NOT IN ('directory', 'transit') AND owner NOT IN (SELECT id FROM mailboxes)`,
  },
  {
    what: 'a mailbox has no address of its own, or several',
    remedy: 'by-hand',
    sql: `SELECT 'mailbox ' || id AS place FROM mailboxes m WHERE state <> 'deleting' AND
      (SELECT count(*) FROM addresses a WHERE a.mailbox = m.id AND a.kind = 'primary') <> 1`,
  },
  {
    what: 'an address is in the domain of another organization than its mailbox',
    remedy: 'by-hand',
    sql: `SELECT 'mailbox ' || a.mailbox || ', domain ' || a.domain AS place FROM addresses a
      JOIN domains d ON d.name = a.domain JOIN mailboxes m ON m.id = a.mailbox WHERE d.organization <> m.organization`,
  },
  {
    what: 'a deletion has not ended: the next start ends it',
    remedy: 'by-hand',
    sql: `SELECT 'mailbox ' || id AS place FROM mailboxes WHERE state = 'deleting'`,
  },
];

export class DirectoryExamination {
  readonly #deps: ExamineDeps;

  constructor(deps: ExamineDeps) {
    this.#deps = deps;
  }

  /** What can be told without a key. */
  async faults(): Promise<readonly Fault[]> {
    const { reader, file } = this.#deps;
    return (await checkDatabase(reader, file, CHECKS)).faults;
  }

  organizations(): readonly OrganizationId[] {
    const sql = 'SELECT id FROM organizations WHERE length(sealed_name) > 0 ORDER BY id';
    return this.#directory
      .prepare<{ id: string }>(sql)
      .all()
      .map((row) => organizationId(row.id));
  }

  /** Of one organization or all, those that are being deleted left out. */
  mailboxes(organization?: OrganizationId): readonly MailboxRef[] {
    const sql = `SELECT organization, id FROM mailboxes WHERE state <> 'deleting' AND organization = ifnull(?, organization)
      ORDER BY id`;
    return this.#directory
      .prepare<{ organization: string; id: string }>(sql)
      .all(organization ?? null)
      .map((row) => ({ organization: organizationId(row.organization), mailbox: mailboxId(row.id) }));
  }

  /** Records of an organization that do not open. Throws ServerError 'key-*'. */
  async recordFaults(organization: OrganizationId, signal?: AbortSignal): Promise<readonly Fault[]> {
    using records = await openRecords(this.#deps, organization, adminUse('examine'), signal);
    const name = this.#directory
      .prepare<{ sealed: Buffer }>('SELECT sealed_name AS sealed FROM organizations WHERE id = ?')
      .get(organization);
    const places = [
      ...(name && !opens(() => records.openName(name.sealed)) ? [`name of organization ${organization}`] : []),
      ...this.#mailboxRecords(records),
      ...this.#addressRecords(records),
      ...this.#appPasswordRecords(records),
    ];
    return places.map((where) => ({ what: UNOPENED, where, remedy: 'kept' }));
  }

  #mailboxRecords(records: DirectoryRecords): string[] {
    const sql = `SELECT id, sealed_profile AS sealedProfile, sealed_credential AS sealedCredential,
      sealed_scram AS sealedScram FROM mailboxes
      WHERE organization = ? AND state <> 'deleting'`;
    const places: string[] = [];
    for (const row of this.#directory.prepare<MailboxRow>(sql).all(records.organization)) {
      const id: MailboxId = mailboxId(row.id);
      if (!opens(() => records.openProfile(id, row.sealedProfile))) places.push(`profile of mailbox ${id}`);
      const { sealedCredential, sealedScram } = row;
      if (sealedCredential && !opens(() => records.openCredential(id, sealedCredential)))
        places.push(`credential of mailbox ${id}`);
      if (sealedScram && !opens(() => records.openScram(id, sealedScram)))
        places.push(`SCRAM secrets of mailbox ${id}`);
    }
    const keys = `SELECT owner, epoch, sealed_public AS sealed FROM wrapped_keys
      WHERE organization = ? AND sealed_public IS NOT NULL`;
    for (const row of this.#directory
      .prepare<{ owner: string; epoch: number; sealed: Buffer }>(keys)
      .all(records.organization)) {
      const owner = keyOwner(row.owner);
      if (owner === 'directory') continue; // it has none
      const of = { mailbox: owner, keyEpoch: epoch(row.epoch) };
      if (!opens(() => records.openPublicKey(of, row.sealed))) places.push(`public key of ${row.owner}`);
    }
    return places;
  }

  #appPasswordRecords(records: DirectoryRecords): string[] {
    const sql = `SELECT p.id, p.mailbox, p.sealed FROM app_passwords p JOIN mailboxes m ON m.id = p.mailbox
      WHERE m.organization = ?`;
    return this.#directory
      .prepare<{ id: string; mailbox: string; sealed: Buffer }>(sql)
      .all(records.organization)
      .filter(({ id, mailbox, sealed }) => {
        const at = { mailbox: mailboxId(mailbox), appPassword: id };
        return !opens(() => records.openAppPassword(at, sealed));
      })
      .map(({ id, mailbox }) => `app password ${id} of mailbox ${mailbox}`);
  }

  #addressRecords(records: DirectoryRecords): string[] {
    const sql = `SELECT a.domain, a.local_index AS localIndex, a.sealed_local AS sealedLocal FROM addresses a
      JOIN mailboxes m ON m.id = a.mailbox WHERE m.organization = ?`;
    const isRight = ({ domain, localIndex, sealedLocal }: AddressRow): boolean =>
      opens(() => {
        const local = records.openLocal({ domain, index: localIndex }, sealedLocal);
        if (!records.addressIndex(domain, foldLocal(local)).equals(localIndex)) throw otherIndex();
      });
    return this.#directory
      .prepare<AddressRow>(sql)
      .all(records.organization)
      .filter((row) => !isRight(row))
      .map(({ domain, localIndex }) => `address ${localIndex.toString('hex')} of domain ${domain}`);
  }

  get #directory(): Database {
    return this.#deps.directory;
  }
}

function opens(open: () => unknown): boolean {
  try {
    open();
    return true;
  } catch (error) {
    if (error instanceof ServerError && error.code === 'content-damaged') return false;
    throw error;
  }
}

function otherIndex(): ServerError {
  return new ServerError('content-damaged', { clientText: 'The directory is damaged.', detail: 'another index' });
}
