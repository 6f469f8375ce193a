/** sealpost gateway list; main.ts adds what a gateway itself is run by. */
import type { Command } from 'commander';
import { examples } from './organizations.ts';
import { openSession } from './session.ts';
import { table, type Terminal } from './terminal.ts';

export function addGatewayCommands(program: Command, terminal: Terminal): void {
  program
    .command('gateway')
    .description('Gateways: hosts that take in mail without a right to any key.')
    .command('list')
    .description('List the gateways whose mail this server collects. Exits with 1 when one cannot be reached.')
    .addHelpText('after', examples('gateway list', 'gateway list --json'))
    .action(async (_options: object, command: Command) => {
      const session = await openSession(command, terminal);
      const all = await session.ask('gateway.list', {});
      session.print(all, (gateways) =>
        table([
          ['ADDRESS', 'LAST REACHED', 'TAKEN IN', 'FAILURE'],
          ...gateways.map(({ address, reachedAt, failure, takenInCount }) => [
            address,
            reachedAt ?? 'not yet',
            String(takenInCount),
            failure ?? '',
          ]),
        ]),
      );
      if (all.some(({ failure }) => failure !== null)) process.exitCode = 1;
    });
}
