/** Backups: making, proving, and restoring a mailbox beside what is there. Each begins a task. */
import { z } from 'zod';
import { operation } from './context.ts';

const KEPT_MAX_COUNT = 10_000;
const target = z.string().min(1).max(1024);
const backup = z
  .string()
  .regex(/^\d{8}T\d{6}Z-[0-9a-f]{8}$/, 'no id of a backup: see sealpost backup list')
  .optional();

export const backupOperations = {
  'backup.create': operation(
    z.strictObject({ target, keepCount: z.int().min(1).max(KEPT_MAX_COUNT).nullable() }),
    (input, { backups }) => backups.create(input),
  ),
  'backup.verify': operation(z.strictObject({ target, backup }), (input, { backups }) => backups.verify(input)),
  /** `to`: the address of the mailbox that takes it in. */
  'backup.restore': operation(
    z.strictObject({
      target,
      backup,
      address: z.string(),
      folder: z.string().min(1).max(1024).optional(),
      to: z.string(),
    }),
    async ({ to, ...input }, { accounts, backups }, signal) => {
      const { ref } = await accounts.mailboxes.require(to, signal);
      return backups.restoreMailbox({ ...input, into: ref });
    },
  ),
} as const;
