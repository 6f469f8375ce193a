/** sealpost cache .. */
import type { Command } from 'commander';
import { examples } from './organizations.ts';
import { openSession } from './session.ts';
import type { Terminal } from './terminal.ts';

export function addCacheCommands(program: Command, terminal: Terminal): void {
  const cache = program.command('cache').description('What the running server keeps in memory.');

  cache
    .command('drop')
    .description(
      'Forget all unwrapped keys, so that the next use asks its key service, and close mailboxes not in use.',
    )
    .addHelpText('after', examples('cache drop'))
    .action(async (_options: object, command: Command) => {
      const session = await openSession(command, terminal);
      const answer = await session.ask('cache.drop', {});
      session.print(answer, ({ organizationsCount, closedMailboxesCount }) => {
        const closed = `closed ${String(closedMailboxesCount)} mailboxes`;
        return `Forgot the keys of ${String(organizationsCount)} organizations, ${closed}.\n`;
      });
    });
}
