/** Looking at keys and at what the key services were asked. */
import { z } from 'zod';
import { auditEvent } from '../../keys/audit-event.ts';
import { operation, organizationOf } from './context.ts';

const AUDIT_MAX_COUNT = 1000;
const AUDIT_HASH = /^[0-9a-f]{64}$/;

export const keyOperations = {
  'key.list': operation(z.strictObject({ organization: z.string().optional() }), async (input, context, signal) => {
    if (input.organization === undefined) return context.keys.listKeys();
    const { id } = await organizationOf(input.organization, context, signal);
    return context.keys.listKeys(id);
  }),
  /** The newest calls first, as CloudTrail would show them. */
  'key.audit': operation(
    z.strictObject({
      organization: z.string().optional(),
      limitCount: z.int().min(1).max(AUDIT_MAX_COUNT).default(100),
    }),
    async (input, context, signal) => {
      const limit = input.limitCount;
      if (input.organization === undefined) return context.audit.list({ limit }).map(auditEvent);
      const { id } = await organizationOf(input.organization, context, signal);
      return context.audit.list({ organization: id, limit }).map(auditEvent);
    },
  ),
  /** `expected`: a newest hash that was kept, in hexadecimal. */
  'key.audit.verify': operation(
    z.strictObject({ expected: z.string().regex(AUDIT_HASH).optional() }),
    (input, context, signal) =>
      context.audit.verify(input.expected === undefined ? null : Buffer.from(input.expected, 'hex'), signal),
  ),
} as const;
