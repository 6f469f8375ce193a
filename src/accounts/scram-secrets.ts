/**
 * What is kept of a password for SCRAM, beside its hash. RFC 5802 §5.1, RFC 7677 §4.
 *
 * V1  All passwords of one mailbox have the same salt and number of iterations, which the client is told before it
 *     says which of them it knows: so a proof can be compared with each.
 * V2  A password that SASLprep does not allow has no secrets, and logs in by PLAIN only.
 *
 * Called by mailboxes.ts, app-passwords.ts and login.ts.
 */
import { randomBytes } from 'node:crypto';
import { saslprep } from '@mongodb-js/saslprep';
import { scramVerifier, type ScramHash, type ScramParameters, type ScramVerifier } from '../crypto/scram.ts';

export type ScramOptions = Readonly<{
  /** Of PBKDF2, for salts that are made from now on. */
  iterationsCount: number;
  /** Whether secrets for SCRAM-SHA-1 are kept, too. */
  hasSha1: boolean;
}>;
export type ScramSecrets = Readonly<{
  parameters: ScramParameters;
  verifiers: Readonly<Partial<Record<ScramHash, ScramVerifier>>>;
}>;

const SALT_BYTES = 16;

/** The secrets of `password`; null where SASLprep refuses it (V2). */
export async function scramSecretsOf(
  password: string,
  { iterationsCount, hasSha1 }: ScramOptions,
  known?: ScramParameters,
): Promise<ScramSecrets | null> {
  const prepared = preparedPassword(password);
  if (prepared === null) return null;
  const parameters = known ?? { salt: randomBytes(SALT_BYTES), iterationsCount };
  const sha256 = await scramVerifier('sha256', prepared, parameters);
  const sha1 = hasSha1 ? { sha1: await scramVerifier('sha1', prepared, parameters) } : {};
  return { parameters, verifiers: { sha256, ...sha1 } };
}

/** As text, for a sealed record. */
export function formatScramSecrets({ parameters, verifiers }: ScramSecrets): string {
  const hashes = Object.entries(verifiers).map(([name, { storedKey, serverKey }]): [string, unknown] => [
    name,
    { storedKey: storedKey.toString('base64'), serverKey: serverKey.toString('base64') },
  ]);
  const { salt, iterationsCount } = parameters;
  return JSON.stringify({ salt: salt.toString('base64'), iterationsCount, verifiers: Object.fromEntries(hashes) });
}

/** What `formatScramSecrets` made. */
export function parseScramSecrets(text: string): ScramSecrets {
  const value = JSON.parse(text) as {
    salt: string;
    iterationsCount: number;
    verifiers: Partial<Record<ScramHash, { storedKey: string; serverKey: string }>>;
  };
  const verifiers: Partial<Record<ScramHash, ScramVerifier>> = {};
  for (const name of ['sha256', 'sha1'] as const) {
    const kept = value.verifiers[name];
    if (kept) verifiers[name] = { storedKey: bytes(kept.storedKey), serverKey: bytes(kept.serverKey) };
  }
  return { parameters: { salt: bytes(value.salt), iterationsCount: value.iterationsCount }, verifiers };
}

function bytes(base64: string): Buffer {
  return Buffer.from(base64, 'base64');
}

function preparedPassword(password: string): string | null {
  try {
    const prepared = saslprep(password);
    return prepared === '' ? null : prepared;
  } catch {
    return null;
  }
}
