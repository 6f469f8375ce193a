/** How the server is. */
import { z } from 'zod';
import { keyringBackupState } from '../../keys/providers/keyring-backup.ts';
import { operation } from './context.ts';

export const statusOperations = {
  status: operation(z.strictObject({}), async (_input, context) => ({
    ...context.state(),
    keyringBackup: await keyringBackupState(context.keyringFile),
    keyCache: context.keys.cacheState(),
    keyService: context.keys.metrics(),
  })),
} as const;
