/**
 * First-run set-up of what lies in the data directory beside the databases: the directory itself, a local keyring,
 * and a self-signed certificate.
 *
 * F1  What exists is never replaced: the keyring opens all mail, and the certificate may be a real one.
 * F2  All of it is readable by its owner only.
 *
 * Called by app.ts for `sealpost init`, and by gateway-app.ts.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { ServerError } from '../base/errors.ts';
import type { Config } from '../config/schema.ts';
import { makeSelfSigned } from '../config/self-signed.ts';
import { addKeyringKey, createLocalKeyring } from '../keys/providers/keyring-file.ts';
import { KeyringLock } from '../keys/providers/keyring-lock.ts';

/** The key that a new keyring has. */
const KEYRING_FIRST_KEY = 'default';
const CERTIFICATE_DAYS = 825; // what clients accept of a certificate that they were told to trust

/** Makes what is missing. Answers the paths that were made. Throws ServerError 'not-allowed' for half a key pair. */
export async function makeMissingFiles(config: Config): Promise<readonly string[]> {
  const made: string[] = [];
  const { directory } = config.data;
  if (mkdirSync(directory, { recursive: true, mode: 0o700 }) !== undefined) made.push(directory);
  const keyring = config.keys.localKeyring.file;
  if (config.keys.defaultProvider === 'local-keyring' && !existsSync(keyring)) {
    mkdirSync(dirname(keyring), { recursive: true, mode: 0o700 });
    using lock = new KeyringLock(config.keys.localKeyring.passphrase);
    await createLocalKeyring(keyring, lock);
    const name = config.keys.defaultKey.replace(/^local:/, '');
    if (name !== KEYRING_FIRST_KEY) await addKeyringKey(keyring, name, lock);
    made.push(keyring);
  }
  return [...made, ...makeCertificate(config)];
}

/** Makes the certificate that is served, unless there is one. Throws ServerError 'not-allowed' for half a key pair. */
export function makeCertificate(config: Config): string[] {
  const { certificateFile, keyFile } = config.tls;
  const [hasCertificate, hasKey] = [existsSync(certificateFile), existsSync(keyFile)];
  if (hasCertificate && hasKey) return [];
  if (hasCertificate || hasKey) {
    const [present, missing] = hasKey ? [keyFile, certificateFile] : [certificateFile, keyFile];
    throw new ServerError('not-allowed', {
      clientText: `${present} is there, but ${missing} is not. Give both or none.`,
    });
  }
  const request = { hostname: config.server.hostname, notBefore: new Date(), validDays: CERTIFICATE_DAYS };
  const { certificatePem, keyPem } = makeSelfSigned(request);
  for (const [file, content] of [
    [keyFile, keyPem],
    [certificateFile, certificatePem],
  ] as const) {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    writeFileSync(file, content, { mode: 0o600, flag: 'wx' });
  }
  return [certificateFile, keyFile];
}
