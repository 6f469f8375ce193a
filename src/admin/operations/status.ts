/** How the server is. */
import { z } from 'zod';
import { keyringBackupState } from '../../keys/providers/keyring-backup.ts';
import { operation } from './context.ts';

/** Mailboxes with mail that waits for their key. */
function waitingState(waiting: readonly Readonly<{ sinceMs: number }>[]) {
  const [oldest] = waiting;
  return { count: waiting.length, since: oldest ? new Date(oldest.sinceMs).toISOString() : null };
}

export const statusOperations = {
  status: operation(z.strictObject({}), async (_input, context) => ({
    ...context.state(),
    keyringBackup: await keyringBackupState(context.keyringFile),
    keyCache: context.keys.cacheState(),
    queue: context.queue.state(),
    waitingMailboxes: waitingState(context.accounts.waitingMailboxes.list()),
    keysVerified: context.accounts.organizations.verifications(),
    scrub: context.scrubState(),
    keyService: context.keys.metrics(),
  })),
} as const;
