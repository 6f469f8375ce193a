/** Long work: beginning it, and asking how far it is. */
import { z } from 'zod';
import { notFound } from '../../accounts/directory.ts';
import { operation } from './context.ts';

export const taskOperations = {
  /** Looks for everything that is wrong, in all or in the mailbox of an address. */
  doctor: operation(
    z.strictObject({ address: z.string().optional(), isRepair: z.boolean(), isDeep: z.boolean() }),
    async ({ address, isRepair, isDeep }, { accounts, startDoctor }, signal) => {
      const account = address === undefined ? null : await accounts.mailboxes.require(address, signal);
      return startDoctor({ mailbox: account?.ref ?? null, isRepair, isDeep });
    },
  ),
  task: operation(z.strictObject({ id: z.string() }), ({ id }, context) => {
    const state = context.findTask(id);
    if (state) return state;
    throw notFound('The server does not know of this task: it was restarted. Run the command again.');
  }),
} as const;
