/** sealpost alias .., sealpost password .. */
import type { Command } from 'commander';
import { examples } from './organizations.ts';
import { openSession } from './session.ts';
import { confirmLoss, newPassword, table, timeText, type Terminal } from './terminal.ts';

export function addAliasCommands(program: Command, terminal: Terminal): void {
  const alias = program.command('alias').description('Aliases: further addresses of a mailbox.');

  alias
    .command('create')
    .description('Make an address lead to a mailbox. Create one named postmaster in every domain.')
    .argument('<alias>', 'the new address')
    .argument('<address>', 'an address of the mailbox')
    .addHelpText('after', examples('alias create postmaster@example.org ann@example.org'))
    .action(async (from: string, address: string, _options: object, command: Command) => {
      const session = await openSession(command, terminal);
      const answer = await session.ask('alias.create', { alias: from, target: address });
      session.print(answer, () => `Mail for ${from} now goes to ${address}.\n`);
    });

  alias
    .command('list')
    .description('List the addresses of an organization or of one mailbox.')
    .argument('[address]', 'an address of the mailbox')
    .option('--org <organization>', 'name or id; not needed while there is one organization')
    .addHelpText('after', examples('alias list', 'alias list ann@example.org --json'))
    .action(async (address: string | undefined, options: { org?: string }, command: Command) => {
      const session = await openSession(command, terminal);
      session.print(await session.ask('alias.list', { organization: options.org, address }), (all) =>
        table([
          ['ADDRESS', 'KIND', 'MAILBOX', 'CREATED'],
          ...all.map((it) => [it.address, it.kind, it.mailbox, timeText(it.createdAtMs)]),
        ]),
      );
    });

  alias
    .command('delete')
    .description('Remove an alias: mail for it will be refused.')
    .argument('<alias>')
    .option('--yes', 'do not ask')
    .addHelpText('after', examples('alias delete sales@example.org'))
    .action(async (from: string, options: { yes?: boolean }, command: Command) => {
      const session = await openSession(command, terminal);
      const text = `This deletes alias ${from}: mail for it will be refused. No mail is lost.`;
      await confirmLoss(terminal, { text, word: from, isConfirmed: options.yes === true });
      session.print(await session.ask('alias.delete', { alias: from }), () => `Deleted alias ${from}.\n`);
    });
}

export function addPasswordCommands(program: Command, terminal: Terminal): void {
  const password = program.command('password').description('Passwords of mailboxes.');

  password
    .command('set')
    .description('Set the password of a mailbox: typed without echo, or the first line of standard input.')
    .argument('<address>')
    .option('--password-file <file>', 'read it from the first line of this file')
    .addHelpText('after', examples('password set ann@example.org', 'password set ann@example.org < secret.txt'))
    .action(async (address: string, options: { passwordFile?: string }, command: Command) => {
      const session = await openSession(command, terminal);
      const chosen = await newPassword(terminal, options.passwordFile);
      const answer = await session.ask('password.set', { address, password: chosen });
      session.print(answer, () => `Set the password of ${address}.\n`);
    });
}
