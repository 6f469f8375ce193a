/** sealpost tls .. */
import type { Command } from 'commander';
import { examples } from './organizations.ts';
import { openSession } from './session.ts';
import type { Terminal } from './terminal.ts';

export function addTlsCommands(program: Command, terminal: Terminal): void {
  const tls = program.command('tls').description('The certificate of the running server.');

  tls
    .command('reload')
    .description(
      'Read certificate and key anew. For the hook of what renews them; connections that are open stay open.',
    )
    .addHelpText('after', examples('tls reload'))
    .action(async (_options: object, command: Command) => {
      const session = await openSession(command, terminal);
      session.print(await session.ask('tls.reload', {}), () => 'New connections get the certificate as it is now.\n');
    });
}
