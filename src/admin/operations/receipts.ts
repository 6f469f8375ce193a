/** Receipts of deletions. */
import { z } from 'zod';
import { operation } from './context.ts';

export const receiptOperations = {
  'receipt.list': operation(z.strictObject({}), (_input, context) => context.receipts.list()),
  'receipt.publicKey': operation(z.strictObject({}), (_input, context) => context.receipts.publicKey()),
} as const;
