/** Changing the local keyring, the file of root keys for operators without a key management service. */
import { z } from 'zod';
import { invalid, notFound, refused } from '../../accounts/directory.ts';
import { KeyProviderError } from '../../keys/provider.ts';
import { copyKeyring, recordKeyringBackup } from '../../keys/providers/keyring-backup.ts';
import {
  addKeyringKey,
  addKeyringKeyVersion,
  protectKeyring,
  readKeyring,
  setKeyringKeyState,
} from '../../keys/providers/keyring-file.ts';
import type { KeyringLock } from '../../keys/providers/keyring-lock.ts';
import { operation, type AdminContext } from './context.ts';

const NAMED = z.strictObject({ key: z.string().max(63) });
const PASSPHRASE = z
  .string()
  .min(12)
  .max(1024)
  .regex(/^[^\p{Cc}]+$/u);
const DIGEST = z.string().regex(/^[0-9a-f]{64}$/);

export const keyringOperations = {
  'keyring.list': operation(z.strictObject({}), async (_input, context) => {
    const { keys } = await explained(readKeyring(context.keyringFile));
    return Object.entries(keys).map(([name, { state, versions }]) => ({
      rootKey: `local:${name}`,
      state,
      versionsCount: versions.length,
      newestCreatedAt: versions.at(-1)?.createdAt ?? '',
    }));
  }),
  'keyring.add': operation(NAMED, change(addKeyringKey)),
  /** What is wrapped from now on is wrapped by the new version; the older ones go on unwrapping. */
  'keyring.rotate': operation(NAMED, change(addKeyringKeyVersion)),
  'keyring.enable': operation(
    NAMED,
    change((file, key) => setKeyringKeyState(file, key, 'enabled')),
  ),
  'keyring.disable': operation(
    NAMED,
    change((file, key) => setKeyringKeyState(file, key, 'disabled')),
  ),
  /** Seals the file with the configured passphrase, or with a new one, which the configuration has to be given as well. */
  'keyring.protect': operation(
    z.strictObject({ newPassphrase: PASSPHRASE.optional() }),
    async ({ newPassphrase }, { keyringFile: file, keyringLock, keys }) => {
      const { protection } = await explained(readKeyring(file));
      if (protection && newPassphrase === undefined) {
        throw refused('The keyring is protected already. To change its passphrase: sealpost keyring protect --change');
      }
      if (!protection && newPassphrase !== undefined && !keyringLock.hasPassphrase) {
        throw refused('Configure the passphrase and start the server anew first, then: sealpost keyring protect');
      }
      if (newPassphrase !== undefined) keyringLock.accept(newPassphrase);
      try {
        const done = await explained(protectKeyring(file, keyringLock));
        keys.retryNow();
        return { file, ...done, isChanged: newPassphrase !== undefined };
      } catch (error) {
        // no later change may seal with what the operator takes for refused
        if (newPassphrase !== undefined) keyringLock.withdraw(newPassphrase);
        throw error;
      }
    },
  ),
  /** The text of the keyring, for a file of the operator's. */
  'keyring.copy': operation(z.strictObject({}), (_input, context) => explained(copyKeyring(context.keyringFile))),
  /** The operator has that text on disk. */
  'keyring.copied': operation(z.strictObject({ digest: DIGEST }), ({ digest }, context) =>
    explained(recordKeyringBackup(context.keyringFile, digest)),
  ),
} as const;

type Change = (file: string, key: string, lock: KeyringLock) => Promise<void>;

function change(work: Change): (input: z.output<typeof NAMED>, context: AdminContext) => Promise<{ rootKey: string }> {
  return async ({ key }, context) => {
    const name = key.replace(/^local:/, '');
    await explained(work(context.keyringFile, name, context.keyringLock));
    context.keys.retryNow();
    return { rootKey: `local:${name}` };
  };
}

/** What the operator can mend says so; the keyring's own words are written for them. */
async function explained<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof Error) || 'code' in error) throw error;
    throw error instanceof KeyProviderError && error.failure === 'not-found'
      ? notFound(`${error.message}. See: sealpost keyring list`)
      : invalid(error.message);
  }
}
