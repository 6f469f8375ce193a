/** The certificate of the running server. */
import { z } from 'zod';
import { operation } from './context.ts';

export const tlsOperations = {
  'tls.reload': operation(z.strictObject({}), (_input, context) => {
    context.reloadTls();
    return {};
  }),
} as const;
