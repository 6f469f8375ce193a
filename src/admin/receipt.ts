/**
 * A receipt: what a deletion destroyed, signed, so that it can be shown to others. Pure: text in, verdict out.
 *
 * Format: JSON `{ format, statement, key, signature }`. Signed with Ed25519 (RFC 8032) is the text
 * `sealpost-receipt-1`, LF, and the statement as JSON without white space, its members in the order in which they
 * stand. `key` is the SHA-256 of the public key's SubjectPublicKeyInfo, in hexadecimal.
 *
 * Called by receipts.ts, which makes them, and by the command line, which checks them without a server.
 */
import { createPublicKey, hash, sign, verify, type KeyObject } from 'node:crypto';
import { z } from 'zod';

const FORMAT = 'sealpost-receipt-1';

const schema = z.object({
  format: z.literal(FORMAT),
  statement: z.object({
    id: z.string(),
    what: z.enum(['mailbox deleted', 'organization deleted']),
    organization: z.string(),
    mailbox: z.string().nullable(),
    /** Wrapped keys that were destroyed: whose, which epoch, and the root key that wrapped them. */
    keys: z.array(z.object({ owner: z.string(), epoch: z.number(), provider: z.string(), rootKey: z.string() })),
    addressesCount: z.number(),
    keysDestroyedAt: z.string(),
    completedAt: z.string(),
    by: z.string(),
    /** What a receipt does not speak of. */
    excludes: z.string(),
  }),
  key: z.string(),
  signature: z.string(),
});
export type Receipt = Readonly<z.output<typeof schema>>;
export type Statement = Receipt['statement'];
type Verdict =
  | Readonly<{ kind: 'valid'; receipt: Receipt }>
  | Readonly<{ kind: 'malformed' }>
  | Readonly<{ kind: 'other-key'; key: string }>
  | Readonly<{ kind: 'forged' }>;

/** The public key's name. */
export function keyName(publicKey: KeyObject): string {
  return hash('sha256', publicKey.export({ type: 'spki', format: 'der' }));
}

export function signStatement(statement: Statement, privateKey: KeyObject): Receipt {
  const signature = sign(null, signedBytes(statement), privateKey).toString('base64');
  return { format: FORMAT, statement, key: keyName(createPublicKey(privateKey)), signature };
}

/** Null for what is no receipt. */
export function parseReceipt(text: string): Receipt | null {
  try {
    return schema.strict().safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}

/** Checks the text of a receipt. Throws for a public key that is none. */
export function verifyReceipt(text: string, publicKeyPem: string): Verdict {
  const publicKey = createPublicKey(publicKeyPem);
  const receipt = parseReceipt(text);
  if (!receipt) return { kind: 'malformed' };
  if (receipt.key !== keyName(publicKey)) return { kind: 'other-key', key: receipt.key };
  const { statement } = JSON.parse(text) as Receipt; // as it stands, unknown members included
  const isValid = verify(null, signedBytes(statement), publicKey, Buffer.from(receipt.signature, 'base64'));
  return isValid ? { kind: 'valid', receipt } : { kind: 'forged' };
}

function signedBytes(statement: Statement): Buffer {
  return Buffer.from(`${FORMAT}\n${JSON.stringify(statement)}`);
}
