/** Rotates one mailbox's key in a process that the test kills: `node rotate-child.ts DIRECTORY ORGANIZATION MAILBOX`. */
import { mailboxId, organizationId } from '../../src/base/ids.ts';
import { mailboxWorld } from '../support/mailbox-world.ts';

const [directory = '', organization = '', mailbox = ''] = process.argv.slice(2);
const world = await mailboxWorld(directory, { callBudgetMs: 20_000 });
const opened = await world.open({ organization: organizationId(organization), mailbox: mailboxId(mailbox) });
const rootKey = { provider: 'local-keyring', rootKey: 'local:default' } as const;
await opened.rotateKey({
  rootKey,
  onProgress: ({ doneCount }) => {
    process.stdout.write(`${String(doneCount)}\n`);
  },
});
process.stdout.write('ended\n');
process.exit(0);
