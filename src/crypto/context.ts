/**
 * Contexts: what a sealed thing is and where it belongs, as canonical bytes. They are the associated
 * data of every seal, so a row or blob that is moved, swapped or paired with another key does not open.
 *
 * C1  Two contexts that differ in anything, or in the suite, have different bytes.
 * C2  A context's bytes never change: a new kind or a new field set is a new kind name.
 * C3  The same organization and owner make the key service's encryption context (`encryptionContext`).
 *
 * Format: README.md, Contexts.
 *
 * Called by the other files of crypto/, and by keys/ for encryption contexts and the audit's chain.
 */
import {
  mailboxId,
  type BodyId,
  type Epoch,
  type FolderId,
  type MailboxId,
  type MessageId,
  type OrganizationId,
} from '../base/ids.ts';

/** Whose key pair seals message keys: a mailbox's, or that of the organization's transit key, for mail on its way out. */
export type PairOwner = MailboxId | 'transit';
/** Whose key it is: a mailbox's, or the organization's directory key or transit key. */
export type KeyOwner = PairOwner | 'directory';

type InOrganization = Readonly<{ organization: OrganizationId }>;
type UnderMailboxKey = InOrganization & Readonly<{ mailbox: MailboxId; epoch: Epoch }>;
type UnderDirectoryKey = InOrganization & Readonly<{ epoch: Epoch }>;

export type BodyContext = InOrganization & Readonly<{ kind: 'body'; body: BodyId }>;
type UnderPairKey = InOrganization & Readonly<{ mailbox: PairOwner; epoch: Epoch }>;
/** In the queue `message` names the item. */
type Queued = InOrganization & Readonly<{ message: MessageId }>;
export type MessageKeyContext = UnderPairKey &
  Readonly<{ kind: 'message-key'; message: MessageId; body: BodyId; commitment: Uint8Array }>;
/** Sealed once and never again under a key derived from one message key. */
export type OnceContext = InOrganization & Readonly<{ kind: 'summary'; body: BodyId }>;
/**
 * Sealed under a long-lived subkey of a mailbox key or of the directory key, under a keyring's or a gateway's, or more than
 * once under a message's.
 */
export type RecordContext =
  | (InOrganization & Readonly<{ kind: 'search-text'; body: BodyId }>)
  | (Queued & Readonly<{ kind: 'queued-envelope' }>)
  | (Queued & Readonly<{ kind: 'queued-recipient' | 'queued-outcome'; recipient: number }>)
  | (UnderMailboxKey & Readonly<{ kind: 'folder-name'; folder: FolderId }>)
  | (UnderMailboxKey & Readonly<{ kind: 'subscription'; index: Uint8Array }>)
  | (UnderMailboxKey & Readonly<{ kind: 'keyword-name'; keyword: number }>)
  | (UnderMailboxKey & Readonly<{ kind: 'import-key' }>)
  /** `folder` 0: of the mailbox itself. */
  | (UnderMailboxKey & Readonly<{ kind: 'annotation'; folder: number; index: Uint8Array }>)
  | (UnderDirectoryKey & Readonly<{ kind: 'organization-name' }>)
  | (UnderDirectoryKey & Readonly<{ kind: 'mailbox-profile'; mailbox: MailboxId }>)
  | (UnderDirectoryKey & Readonly<{ kind: 'credential' | 'scram'; mailbox: MailboxId }>)
  | (UnderDirectoryKey & Readonly<{ kind: 'app-password'; mailbox: MailboxId; appPassword: string }>)
  | (UnderDirectoryKey & Readonly<{ kind: 'public-key'; mailbox: PairOwner; keyEpoch: Epoch }>)
  | (UnderDirectoryKey & Readonly<{ kind: 'address-local'; domain: string; index: Uint8Array }>)
  | (UnderDirectoryKey & Readonly<{ kind: 'dkim-key'; domain: string; selector: string }>)
  | Readonly<{ kind: 'gateway-recipient'; domain: string; index: Uint8Array }>
  | (InOrganization & Readonly<{ kind: 'gateway-public-key'; mailbox: MailboxId; keyEpoch: Epoch }>)
  | Readonly<{ kind: 'keyring'; key: string; version: number; context: Uint8Array }>
  | Readonly<{ kind: 'keyring-secret'; key: string; version: number; salt: Uint8Array }>;
/** Everything that is sealed. */
export type Context = BodyContext | MessageKeyContext | OnceContext | RecordContext;

/** A field as it is written: text and bytes of at most 65,535 bytes, or an integer of a fixed width. */
export type ContextField = string | Uint8Array | Readonly<{ u32: number }> | Readonly<{ u64: number }>;

const NAMESPACE = 'sealpost/v1';
const MAX_FIELD_BYTES = 0xffff;
/** What a derivation, an index and an encryption context have in the place of a suite. */
export const NO_SUITE = 0;

/** The canonical bytes of `context` under `suite`. */
export function contextBytes(context: Context, suite: number): Buffer {
  return canonicalBytes(suite, context.kind, contextFields(context));
}

/** A key owner out of its stored text. Throws TypeError for any other text. */
export function keyOwner(text: string): KeyOwner {
  return text === 'directory' || text === 'transit' ? text : mailboxId(text);
}

/** The encryption context of every key service call for `owner`'s key: ids only, as the service logs it. */
export function encryptionContext(organization: OrganizationId, owner: KeyOwner): Record<string, string> {
  return { ...organizationContext(organization), 'sealpost:mailbox': owner };
}

/** The pair that all encryption contexts of an organization have: what its grant is bound to. */
export function organizationContext(organization: OrganizationId): Record<string, string> {
  return { 'sealpost:organization': `arn:sealpost:organization/${organization}` };
}

/** The canonical bytes of an encryption context, for a provider that binds it by itself. */
export function encryptionContextBytes(context: Readonly<Record<string, string>>): Buffer {
  const names = Object.keys(context).sort();
  return canonicalBytes(
    NO_SUITE,
    'encryption-context',
    names.flatMap((name) => [name, context[name] ?? '']),
  );
}

/**
 * Writes one canonical form: suite, namespace, kind and fields. The files of crypto/ call it for the kinds
 * that are no seal. Throws TypeError for a field that has no single encoding.
 */
export function canonicalBytes(suite: number, kind: string, fields: readonly ContextField[]): Buffer {
  let sizeBytes = 1 + 2 + NAMESPACE.length + 2 + kind.length;
  for (const field of fields) sizeBytes += 2 + fieldSizeBytes(field);
  const bytes = Buffer.allocUnsafe(sizeBytes);
  bytes[0] = suite;
  let at = writeText(bytes, 1, NAMESPACE, NAMESPACE.length);
  at = writeText(bytes, at, kind, kind.length);
  for (const field of fields) at = writeField(bytes, at, field);
  return bytes;
}

function contextFields(context: Context): ContextField[] {
  switch (context.kind) {
    case 'body':
    case 'summary':
    case 'search-text':
      return [context.organization, context.body];
    case 'message-key':
      return [...mailboxFields(context), context.message, context.body, context.commitment];
    case 'queued-envelope':
      return [context.organization, context.message];
    case 'queued-recipient':
    case 'queued-outcome':
      return [context.organization, context.message, { u32: context.recipient }];
    case 'folder-name':
      return [...mailboxFields(context), { u64: context.folder }];
    case 'subscription':
      return [...mailboxFields(context), context.index];
    case 'keyword-name':
      return [...mailboxFields(context), { u32: context.keyword }];
    case 'import-key':
      return mailboxFields(context);
    case 'annotation':
      return [...mailboxFields(context), { u64: context.folder }, context.index];
    case 'organization-name':
      return [context.organization, { u32: context.epoch }];
    case 'mailbox-profile':
    case 'credential':
    case 'scram':
      return [context.organization, { u32: context.epoch }, context.mailbox];
    case 'app-password':
      return [context.organization, { u32: context.epoch }, context.mailbox, context.appPassword];
    case 'public-key':
      return [context.organization, { u32: context.epoch }, context.mailbox, { u32: context.keyEpoch }];
    case 'address-local':
      return [context.organization, { u32: context.epoch }, context.domain, context.index];
    case 'dkim-key':
      return [context.organization, { u32: context.epoch }, context.domain, context.selector];
    case 'gateway-recipient':
      return [context.domain, context.index];
    case 'gateway-public-key':
      return [context.organization, context.mailbox, { u32: context.keyEpoch }];
    case 'keyring':
      return [context.key, { u32: context.version }, context.context];
    case 'keyring-secret':
      return [context.key, { u32: context.version }, context.salt];
  }
}

function mailboxFields(context: UnderPairKey): ContextField[] {
  return [context.organization, context.mailbox, { u32: context.epoch }];
}

function fieldSizeBytes(field: ContextField): number {
  if (typeof field !== 'string')
    return field instanceof Uint8Array ? checkedSize(field.length) : 'u32' in field ? 4 : 8;
  // A lone surrogate would be written as the same bytes as any other one.
  if (!field.isWellFormed()) throw new TypeError('a context field is not well-formed text');
  return checkedSize(Buffer.byteLength(field));
}

function checkedSize(sizeBytes: number): number {
  if (sizeBytes > MAX_FIELD_BYTES) throw new TypeError('a context field is too long');
  return sizeBytes;
}

function writeField(bytes: Buffer, at: number, field: ContextField): number {
  if (typeof field === 'string') return writeText(bytes, at, field, Buffer.byteLength(field));
  if (field instanceof Uint8Array) {
    bytes.set(field, bytes.writeUInt16BE(field.length, at));
    return at + 2 + field.length;
  }
  if ('u32' in field) return bytes.writeUInt32BE(field.u32, bytes.writeUInt16BE(4, at));
  return bytes.writeBigUInt64BE(BigInt(field.u64), bytes.writeUInt16BE(8, at));
}

function writeText(bytes: Buffer, at: number, text: string, sizeBytes: number): number {
  bytes.write(text, bytes.writeUInt16BE(sizeBytes, at), 'utf8');
  return at + 2 + sizeBytes;
}
