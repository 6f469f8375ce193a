/**
 * Keeps and adopts mail in a process that the test kills: `node waiting-child.ts DIRECTORY ORGANIZATION MAILBOX FIRST`.
 * Prints the number of each message once it is on disk.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { mailboxId, organizationId } from '../../src/base/ids.ts';
import { mailboxWorld } from '../support/mailbox-world.ts';
import { keep } from './waiting-mail.ts';

const [directory = '', organization = '', mailbox = '', first = '0'] = process.argv.slice(2);
const world = await mailboxWorld(directory, { hasDirectoryKey: true, callBudgetMs: 20_000 });
const ref = { organization: organizationId(organization), mailbox: mailboxId(mailbox) };
const opened = await world.mailboxes.openWithoutKey(ref, { protocol: 'test' });
const adopting = async (): Promise<void> => {
  using reader = await world.open(ref);
  for (;;) {
    await reader.adoptWaiting();
    await turn();
  }
};
void adopting();
for (let n = Number(first); n < Number(first) + 2000; n += 1) {
  await keep(opened, n);
  process.stdout.write(`${String(n)}\n`);
}
process.exit(0);
