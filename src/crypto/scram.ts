/**
 * The arithmetic of SCRAM: what is kept of a password, and what proves knowledge of it. RFC 5802 §3, RFC 7677 §3. Pure.
 *
 * A1  Of a password only StoredKey and ServerKey are kept: neither logs in where the proof is asked for.
 * A2  Proofs are compared in constant time.
 *
 * Called by accounts/.
 */
import { createHmac, hash, pbkdf2, timingSafeEqual } from 'node:crypto';

export type ScramHash = 'sha256' | 'sha1';
/** `salt` and `iterationsCount` are the client's to know. */
export type ScramParameters = Readonly<{ salt: Buffer; iterationsCount: number }>;
export type ScramVerifier = Readonly<{ storedKey: Buffer; serverKey: Buffer }>;

const HASH_BYTES: Readonly<Record<ScramHash, number>> = { sha256: 32, sha1: 20 };
const SALT_BYTES = 16;

/** What is kept of `prepared`, a password after SASLprep. RFC 5802 §3. */
export function scramVerifier(
  algorithm: ScramHash,
  prepared: string,
  { salt, iterationsCount }: ScramParameters,
): Promise<ScramVerifier> {
  return new Promise((resolve, reject) => {
    pbkdf2(prepared, salt, iterationsCount, HASH_BYTES[algorithm], algorithm, (error, salted) => {
      if (error) {
        reject(error);
        return;
      }
      const clientKey = mac(algorithm, salted, 'Client Key');
      const serverKey = mac(algorithm, salted, 'Server Key');
      salted.fill(0);
      resolve({ storedKey: digest(algorithm, clientKey), serverKey });
    });
  });
}

/** Whether `proof` shows knowledge of the password behind `verifier`. RFC 5802 §3. */
export function isScramProof(
  algorithm: ScramHash,
  { storedKey }: ScramVerifier,
  { proof, authMessage }: Readonly<{ proof: Buffer; authMessage: string }>,
): boolean {
  if (proof.length !== HASH_BYTES[algorithm]) return false;
  const signature = mac(algorithm, storedKey, authMessage);
  const clientKey = Buffer.from(proof.map((byte, at) => byte ^ (signature[at] ?? 0)));
  return timingSafeEqual(digest(algorithm, clientKey), storedKey);
}

/** What shows the client that the server knows the verifier. RFC 5802 §3 (ServerSignature). */
export function scramSignature(algorithm: ScramHash, { serverKey }: ScramVerifier, authMessage: string): Buffer {
  return mac(algorithm, serverKey, authMessage);
}

/** The salt of an account that is not there: the same at every attempt, and nobody's. RFC 5802 §9. */
export function decoySalt(secret: Buffer, username: string): Buffer {
  return mac('sha256', secret, username).subarray(0, SALT_BYTES);
}

function mac(algorithm: ScramHash, key: Buffer, text: string): Buffer {
  return createHmac(algorithm, key).update(text).digest();
}

function digest(algorithm: ScramHash, bytes: Buffer): Buffer {
  return hash(algorithm, bytes, 'buffer');
}
