/**
 * The manifest of a backup, and the names of its objects.
 *
 *     backups/<id>.json      the manifest: written last, so that a backup without one is no backup
 *     databases/<sha256>     copies of directory.db and of mailbox databases
 *     indexes/<sha256>       JSON: the blobs of one mailbox, with their hashes
 *     files/<sha256>         receipts
 *     blobs/<mailbox>/<xx>/<body id>   sealed bodies
 *
 * BM1  An object is named by what it is: backups share what has not changed, and what is there need not be sent again.
 * BM2  An unknown format, or a member of another shape, is an error, never a guess.
 *
 * Pure. Called by the other files of this folder.
 */
import { createHash } from 'node:crypto';
import { ServerError } from '../base/errors.ts';
import { bodyId, mailboxId, organizationId, type BodyId, type MailboxId, type OrganizationId } from '../base/ids.ts';

const FORMAT = 'sealpost-backup-1';
const INDEX_FORMAT = 'sealpost-blobs-1';
const ID = /^\d{8}T\d{6}Z-[0-9a-f]{8}$/;
const SHA256 = /^[0-9a-f]{64}$/;
const RECEIPT = /^(?:[0-9a-f]{32}\.json|public-key\.pem)$/;

/** An object by its hash, in hexadecimal. */
export type HashedObject = Readonly<{ sha256: string; sizeBytes: number }>;
export type BackedUpMailbox = Readonly<{
  organization: OrganizationId;
  mailbox: MailboxId;
  database: HashedObject;
  index: HashedObject;
  messagesCount: number;
  /** Of the blobs. */
  blobsCount: number;
  blobBytes: number;
  /** Epochs of the mailbox key that its rows are under. */
  epochs: readonly number[];
  /** The state of its files, by which it is known to be unchanged; null when they had just been written. */
  signature: string | null;
}>;
export type Manifest = Readonly<{
  format: typeof FORMAT;
  id: string;
  createdAt: string;
  /** Of the program. */
  version: string;
  directory: HashedObject;
  receipts: readonly (HashedObject & Readonly<{ name: string }>)[];
  mailboxes: readonly BackedUpMailbox[];
  /** Blobs that were missing on disk already. */
  missingBlobsCount: number;
}>;
/** `sha256` is null for a blob that was missing on disk. */
export type IndexedBlob = Readonly<{ body: BodyId; sizeBytes: number; sha256: string | null }>;

export const MANIFESTS = 'backups';
export const manifestName = (id: string): string => `${MANIFESTS}/${id}.json`;
export const databaseName = ({ sha256 }: HashedObject): string => `databases/${sha256}`;
export const indexName = ({ sha256 }: HashedObject): string => `indexes/${sha256}`;
export const fileName = ({ sha256 }: HashedObject): string => `files/${sha256}`;
export const blobName = (mailbox: MailboxId, body: BodyId): string => `blobs/${mailbox}/${body.slice(0, 2)}/${body}`;

export function newBackupId(nowMs: number, random: string): string {
  const time = new Date(nowMs).toISOString().replaceAll(/[-:]|\.\d+/g, '');
  return `${time}-${random.slice(0, 8)}`;
}

export function encodeManifest(manifest: Omit<Manifest, 'format'>): Buffer {
  return Buffer.from(`${JSON.stringify({ format: FORMAT, ...manifest })}\n`);
}

export function encodeIndex(blobs: readonly IndexedBlob[]): Buffer {
  const rows = blobs.map(({ body, sizeBytes, sha256 }) => [body, sizeBytes, sha256]);
  return Buffer.from(`${JSON.stringify({ format: INDEX_FORMAT, blobs: rows })}\n`);
}

export function hashOf(bytes: Uint8Array): HashedObject {
  return { sha256: createHash('sha256').update(bytes).digest('hex'), sizeBytes: bytes.length };
}

/** Throws ServerError 'content-damaged' (BM2). */
export function parseManifest(bytes: Buffer): Manifest {
  return parsed(bytes, (raw) => {
    if (raw['format'] !== FORMAT) throw new TypeError(`format ${String(raw['format'])}`);
    return {
      format: FORMAT,
      id: text(raw['id'], ID),
      createdAt: text(raw['createdAt'], /^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      version: text(raw['version'], /^[\w.+-]{1,64}$/),
      directory: object(raw['directory']),
      receipts: list(raw['receipts']).map((each) => ({ ...object(each), name: text(record(each)['name'], RECEIPT) })),
      mailboxes: list(raw['mailboxes']).map(parseMailbox),
      missingBlobsCount: count(raw['missingBlobsCount']),
    };
  });
}

/** Throws ServerError 'content-damaged' (BM2). */
export function parseIndex(bytes: Buffer): readonly IndexedBlob[] {
  return parsed(bytes, (raw) => {
    if (raw['format'] !== INDEX_FORMAT) throw new TypeError(`format ${String(raw['format'])}`);
    return list(raw['blobs']).map((each) => {
      const [body, sizeBytes, sha256] = list(each);
      return {
        body: bodyId(text(body, /./)),
        sizeBytes: count(sizeBytes),
        sha256: sha256 === null ? null : text(sha256, SHA256),
      };
    });
  });
}

function parseMailbox(value: unknown): BackedUpMailbox {
  const raw = record(value);
  return {
    organization: organizationId(text(raw['organization'], /./)),
    mailbox: mailboxId(text(raw['mailbox'], /./)),
    database: object(raw['database']),
    index: object(raw['index']),
    messagesCount: count(raw['messagesCount']),
    blobsCount: count(raw['blobsCount']),
    blobBytes: count(raw['blobBytes']),
    epochs: list(raw['epochs']).map(count),
    signature: raw['signature'] === null ? null : text(raw['signature'], /^[\d/-]{1,200}$/),
  };
}

function parsed<T>(bytes: Buffer, read: (raw: Record<string, unknown>) => T): T {
  try {
    return read(record(JSON.parse(bytes.toString('utf8'))));
  } catch (cause) {
    const detail = cause instanceof Error ? cause.message : 'unknown';
    throw new ServerError('content-damaged', {
      clientText: 'The backup is damaged, or of a newer version: its manifest cannot be read.',
      detail,
      cause,
    });
  }
}

function record(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new TypeError('not an object');
  return value as Record<string, unknown>;
}

function list(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new TypeError('not a list');
  return value;
}

function text(value: unknown, pattern: RegExp): string {
  if (typeof value !== 'string' || !pattern.test(value)) throw new TypeError('not such a text');
  return value;
}

function count(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw new TypeError('not a count');
  return value;
}

function object(value: unknown): HashedObject {
  const raw = record(value);
  return { sha256: text(raw['sha256'], SHA256), sizeBytes: count(raw['sizeBytes']) };
}
