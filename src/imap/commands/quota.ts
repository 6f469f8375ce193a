/**
 * GETQUOTA, GETQUOTAROOT. RFC 9208 §4.1. A mailbox has one quota root, named by the empty text, for all of its folders, and
 * none where it may hold as much as there is room for. Called by dispatch.ts.
 */
import { assertNever } from '../../base/errors.ts';
import type { Mailbox } from '../../mailbox/mailbox.ts';
import { no, ok, type Answer } from '../answer.ts';
import type { QuotaCommand } from '../proto/commands/quota.ts';
import * as print from '../proto/responses.ts';
import type { Session } from '../session.ts';

const ROOT = '';
/** RFC 9208 §5.1. */
const STORAGE_UNIT_BYTES = 1024;

export async function tellQuota(session: Session, mailbox: Mailbox, command: QuotaCommand): Promise<Answer> {
  const resources = resourcesOf(mailbox);
  switch (command.kind) {
    case 'getquota':
      if (command.root !== ROOT || resources.length === 0) return no('There is no such quota root', 'NONEXISTENT');
      session.out.write(print.quotaLine(ROOT, resources));
      return ok('Done');
    case 'getquotaroot': {
      const folder = await mailbox.folder(command.folder, session.signal);
      if (!folder) return no('There is no folder of that name', 'NONEXISTENT');
      const hasRoot = resources.length > 0;
      session.out.write(print.quotaRootLine(folder.name, hasRoot ? [ROOT] : [], session.context));
      if (hasRoot) session.out.write(print.quotaLine(ROOT, resources));
      return ok('Done');
    }
    default:
      return assertNever(command);
  }
}

/** What is limited. RFC 9208 §5.1, RFC 9208 §5.2. */
function resourcesOf(mailbox: Mailbox): readonly print.QuotaResource[] {
  const quota = mailbox.quota();
  if (!quota) return [];
  const { sizeBytes, messagesCount } = mailbox.usage();
  const { maxBytes, maxMessagesCount } = quota;
  const resources: print.QuotaResource[] = [];
  if (maxBytes !== null) {
    const [usage, limit] = [Math.ceil(sizeBytes / STORAGE_UNIT_BYTES), Math.floor(maxBytes / STORAGE_UNIT_BYTES)];
    resources.push({ name: 'STORAGE', usage, limit });
  }
  if (maxMessagesCount !== null) resources.push({ name: 'MESSAGE', usage: messagesCount, limit: maxMessagesCount });
  return resources;
}
