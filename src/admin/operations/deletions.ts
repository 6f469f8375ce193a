/** How operations end what others use, and delete it with a receipt. */
import type { MailboxDeletion } from '../../accounts/mailboxes.ts';
import type { MailboxRef } from '../../keys/mailbox-keys.ts';
import type { Receipts } from '../receipts.ts';
import type { AdminContext } from './context.ts';

type Written = Awaited<ReturnType<Receipts['certify']>>;
type CertifiedDeletion = MailboxDeletion & Readonly<{ /** Filled as receipts are written. */ written: Written[] }>;

/** Deletes for an operator: sessions end when the keys are gone, before the files go. */
export function certifiedDeletion(
  context: Pick<AdminContext, 'eraseFiles' | 'endSessions' | 'receipts'>,
): CertifiedDeletion {
  const written: Written[] = [];
  return {
    by: 'admin',
    written,
    eraseFiles: async (ref: MailboxRef) => {
      context.endSessions(ref, 'The mailbox was deleted');
      await context.eraseFiles(ref);
    },
    certify: async (destruction) => {
      written.push(await context.receipts.certify(destruction));
    },
  };
}
