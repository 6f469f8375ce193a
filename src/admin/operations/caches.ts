/** Dropping what is cached, for measurements and after a key was changed elsewhere. */
import { z } from 'zod';
import { operation } from './context.ts';

export const cacheOperations = {
  'cache.drop': operation(z.strictObject({}), async (_input, context, signal) => {
    const organizations = await context.accounts.organizations.list(signal);
    for (const { id } of organizations) context.keys.forget(id);
    return { organizationsCount: organizations.length, closedMailboxesCount: await context.closeIdleMailboxes() };
  }),
} as const;
