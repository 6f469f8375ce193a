/**
 * Blind indexes: what a folder name, keyword, address or imported message is looked up by, without storing it.
 *
 * B1  Equal texts in one scope have equal indexes; in two scopes, or under two keys, unrelated ones.
 * B2  Nothing else that is stored is a function of content alone: a thief can try names only with the key.
 *
 * Format: README.md, Blind indexes.
 * The caller folds the text first (NFC, case, A-labels), since bytes that differ are different names here.
 *
 * Called by accounts/ and gateway/ for addresses, by mailbox/ for folders and keywords, and under a key of their own for
 * imports.
 */
import { createHmac } from 'node:crypto';
import type { MailboxId, OrganizationId } from '../base/ids.ts';
import { ServerError } from '../base/errors.ts';
import { canonicalBytes, NO_SUITE, type ContextField } from './context.ts';
import type { SecretBytes } from './secret-bytes.ts';

type BlindIndexContext =
  | Readonly<{
      kind: 'folder' | 'keyword' | 'annotation' | 'import-content' | 'import-source';
      organization: OrganizationId;
      mailbox: MailboxId;
    }>
  | Readonly<{ kind: 'address-local'; organization: OrganizationId; domain: string }>
  | Readonly<{ kind: 'gateway-recipient'; domain: string }>;

const INDEX_BYTES = 16;
const MAX_TEXT_BYTES = 4096;

/**
 * The 16-byte index of `text` under the blind-index subkey `key`.
 * Throws ServerError 'invalid-argument' for text with a lone surrogate or of more than 4,096 bytes.
 */
export function blindIndex(key: SecretBytes, context: BlindIndexContext, text: string): Buffer {
  if (!text.isWellFormed() || Buffer.byteLength(text) > MAX_TEXT_BYTES) {
    throw new ServerError('invalid-argument', { clientText: 'The name is too long or malformed' });
  }
  const [kind, fields] = indexed(context);
  const mac = createHmac('sha256', key.exposeKey()).update(canonicalBytes(NO_SUITE, kind, [...fields, text]));
  return mac.digest().subarray(0, INDEX_BYTES);
}

function indexed(context: BlindIndexContext): [kind: string, fields: ContextField[]] {
  switch (context.kind) {
    case 'folder':
    case 'keyword':
    case 'import-content':
    case 'import-source':
    case 'annotation':
      return [`index-${context.kind}`, [context.organization, context.mailbox]];
    case 'address-local':
      return ['index-address', [context.organization, context.domain]];
    case 'gateway-recipient':
      return ['index-gateway', [context.domain]];
  }
}
