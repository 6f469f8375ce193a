/** sealpost domain .. */
import type { Command } from 'commander';
import { addDnsCommands } from './dkim.ts';
import { examples } from './organizations.ts';
import { openSession } from './session.ts';
import { confirmLoss, table, timeText, type Terminal } from './terminal.ts';

export function addDomainCommands(program: Command, terminal: Terminal): void {
  const domain = program.command('domain').description('Domains: the names this server takes mail for.');

  domain
    .command('create')
    .description('Add a domain to an organization.')
    .argument('<domain>', 'for example example.org')
    .option('--org <organization>', 'name or id; not needed while there is one organization')
    .addHelpText('after', examples('domain create example.org', 'domain create example.org --org Example'))
    .action(async (name: string, options: { org?: string }, command: Command) => {
      const session = await openSession(command, terminal);
      const made = await session.ask('domain.create', { domain: name, organization: options.org });
      session.print(made, ({ domain: added }) =>
        [
          `Created domain ${added}. Next, its mailboxes, and whom its postmaster's mail goes to:`,
          `  sealpost mailbox create NAME@${added}`,
          `  sealpost alias create postmaster@${added} NAME@${added}`,
          'and the DNS records that other servers look for:',
          `  sealpost domain records ${added}\n`,
        ].join('\n'),
      );
    });

  domain
    .command('list')
    .description('List domains.')
    .option('--org <organization>', 'name or id; without it, all')
    .addHelpText('after', examples('domain list', 'domain list --org Example --json'))
    .action(async (options: { org?: string }, command: Command) => {
      const session = await openSession(command, terminal);
      session.print(await session.ask('domain.list', { organization: options.org }), (all) =>
        table([
          ['DOMAIN', 'STATE', 'ADDRESSES', 'ORGANIZATION', 'CREATED'],
          ...all.map((it) => [it.name, it.state, String(it.addressesCount), it.organization, timeText(it.createdAtMs)]),
        ]),
      );
    });

  domain
    .command('suspend')
    .description('Stop mail and logins of all addresses in a domain.')
    .argument('<domain>')
    .addHelpText('after', examples('domain suspend example.org'))
    .action(async (name: string, _options: object, command: Command) => {
      const session = await openSession(command, terminal);
      session.print(await session.ask('domain.suspend', { domain: name }), (it) => `Suspended ${it.domain}.\n`);
    });

  domain
    .command('resume')
    .description('Undo a suspension.')
    .argument('<domain>')
    .addHelpText('after', examples('domain resume example.org'))
    .action(async (name: string, _options: object, command: Command) => {
      const session = await openSession(command, terminal);
      session.print(await session.ask('domain.resume', { domain: name }), (it) => `Resumed ${it.domain}.\n`);
    });

  domain
    .command('delete')
    .description('Delete a domain that has no addresses any more.')
    .argument('<domain>')
    .option('--yes', 'do not ask')
    .addHelpText('after', examples('domain delete example.org'))
    .action(async (name: string, options: { yes?: boolean }, command: Command) => {
      const session = await openSession(command, terminal);
      const text = `This deletes domain ${name}: mail for it will be refused. No mailbox is lost.`;
      await confirmLoss(terminal, { text, word: name, isConfirmed: options.yes === true });
      session.print(await session.ask('domain.delete', { domain: name }), (it) => `Deleted domain ${it.domain}.\n`);
    });

  addDnsCommands(domain, terminal);
}
