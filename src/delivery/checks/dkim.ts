/**
 * Which DKIM signatures of a message are good. RFC 6376 §6.
 *
 * DV1  At most `MAX_SIGNATURES_COUNT` are looked at, the uppermost: the newest.
 * DV2  A body is hashed once for each of its two forms, however many signatures there are.
 *
 * Called by authentication.ts.
 */
import { failure, readSignature, verifySignature } from './signature.ts';
import type { BodyDigest, Canonicalization, Outcome, Signature, SignedHeader, SigningKeys } from './signature.ts';

export type DkimResult = Outcome &
  Readonly<{ domain: string | null; selector: string | null; algorithm: string | null }>;
export type ReadSignatures = Readonly<{ good: readonly Signature[]; bad: readonly Outcome[] }>;

const MAX_SIGNATURES_COUNT = 10;

/** The signatures of a header, read. */
export function dkimSignatures(header: SignedHeader): ReadSignatures {
  const fields = header.fields.filter(({ name }) => name === 'dkim-signature');
  const [good, bad]: [Signature[], Outcome[]] = [[], []];
  for (const field of fields.slice(0, MAX_SIGNATURES_COUNT)) {
    const read = readSignature(header, field, 'dkim');
    if ('result' in read) bad.push(read);
    else good.push(read);
  }
  return { good, bad };
}

/** One result for each signature. Does not throw. */
export async function verifyDkim(
  header: SignedHeader,
  { good, bad }: ReadSignatures,
  at: Readonly<{ bodies: ReadonlyMap<Canonicalization, BodyDigest>; keys: SigningKeys; nowMs: number }>,
): Promise<readonly DkimResult[]> {
  const results: DkimResult[] = bad.map((outcome) => ({ ...outcome, domain: null, selector: null, algorithm: null }));
  for (const signature of good) {
    const { domain, selector, algorithm, bodyForm } = signature;
    const body = at.bodies.get(bodyForm);
    const outcome = body
      ? await verifySignature(header, signature, { ...at, body })
      : failure('neutral', 'body was not hashed');
    results.push({ ...outcome, domain, selector, algorithm });
  }
  return results;
}
