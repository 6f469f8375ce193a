/**
 * Packed keys: the plaintext of a mailbox, directory or transit key inside its root key's wrapping.
 *
 * PK1  It names its owner and epoch, so a wrapped key that was moved to another row is found out even
 *      where the provider bound nothing.
 *
 * Format: README.md, Packed keys.
 *
 * Called by keys/key-service.ts.
 */
import { timingSafeEqual } from 'node:crypto';
import type { Epoch } from '../base/ids.ts';
import { ServerError } from '../base/errors.ts';
import type { KeyOwner } from './context.ts';
import { SecretBytes } from './secret-bytes.ts';

type PackedKeyScope = Readonly<{ owner: KeyOwner; epoch: Epoch }>;

const VERSION = 0x01;
/** What stands in the place of a mailbox id. */
const OWNERS: Readonly<Record<string, string>> = {
  directory: '00000000000000000000000000000001',
  transit: '00000000000000000000000000000002',
};
const HEADER_BYTES = 1 + 16 + 4;
const KEY_BYTES = 32;
/** The size of every packed key. */
export const PACKED_KEY_BYTES = HEADER_BYTES + KEY_BYTES;

/** Packs `key` (32 bytes, still the caller's) for its root key to wrap; the caller disposes the result. */
export function packKey(scope: PackedKeyScope, key: SecretBytes): SecretBytes {
  if (key.lengthBytes !== KEY_BYTES) throw new TypeError('a mailbox key has 32 bytes');
  const bytes = new Uint8Array(new ArrayBuffer(PACKED_KEY_BYTES));
  bytes.set(header(scope));
  bytes.set(key.expose(), HEADER_BYTES);
  return new SecretBytes(bytes);
}

/** Takes the key out of `packed` (still the caller's); the caller disposes it. Throws ServerError 'key-mismatch'. */
export function unpackKey(scope: PackedKeyScope, packed: SecretBytes): SecretBytes {
  const bytes = packed.expose();
  if (bytes.length !== PACKED_KEY_BYTES || !timingSafeEqual(bytes.subarray(0, HEADER_BYTES), header(scope))) {
    throw new ServerError('key-mismatch', {
      clientText: 'A stored key is damaged',
      detail: `the unwrapped key is not that of ${scope.owner}, epoch ${String(scope.epoch)}`,
    });
  }
  return SecretBytes.copyOf(bytes.subarray(HEADER_BYTES));
}

function header(scope: PackedKeyScope): Buffer {
  if (Object.values(OWNERS).includes(scope.owner)) throw new TypeError('this mailbox id stands for something else');
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes[0] = VERSION;
  bytes.write(OWNERS[scope.owner] ?? scope.owner, 1, 'hex');
  bytes.writeUInt32BE(scope.epoch, 17);
  return bytes;
}
