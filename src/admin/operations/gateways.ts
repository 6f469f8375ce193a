/** The gateways whose mail this server collects. */
import { z } from 'zod';
import { operation } from './context.ts';

const asTime = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());

export const gatewayOperations = {
  'gateway.list': operation(z.strictObject({}), (_input, context) =>
    context.gateways().map(({ address, reachedAtMs, failure, takenInCount }) => ({
      address,
      reachedAt: asTime(reachedAtMs),
      failure,
      takenInCount,
    })),
  ),
} as const;
