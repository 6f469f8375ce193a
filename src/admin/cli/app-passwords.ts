/** sealpost mailbox app-password .., sealpost mailbox capability */
import { InvalidArgumentError, type Command } from 'commander';
import { examples } from './organizations.ts';
import { openSession } from './session.ts';
import { table, timeText, type Terminal } from './terminal.ts';

type Protocol = 'imap' | 'smtp';

/** Adds them to `mailbox`, the command of that name. */
export function addAppPasswordCommands(mailbox: Command, terminal: Terminal): void {
  const group = mailbox
    .command('app-password')
    .description('Passwords for one device or program each, beside the password of the mailbox.');

  group
    .command('create')
    .description('Make an app password and print it once.')
    .argument('<address>')
    .argument('<name>', 'what it is for: "phone"; stored encrypted')
    .option('--only <protocol>', 'it serves this protocol only, imap or smtp (sending); may be repeated', protocols)
    .addHelpText(
      'after',
      examples(
        'mailbox app-password create ann@example.org phone',
        'mailbox app-password create ann@example.org printer --only smtp',
      ),
    )
    .action(async (address: string, name: string, options: { only?: Protocol[] }, command: Command) => {
      const session = await openSession(command, terminal);
      const made = await session.ask('app-password.create', { address, name, protocols: options.only ?? null });
      session.print(made, (it) => `App password of ${it.address}, shown only now: ${it.password}\nIts id: ${it.id}\n`);
    });

  group
    .command('list')
    .description('List the app passwords of a mailbox, not the passwords themselves.')
    .argument('<address>')
    .addHelpText('after', examples('mailbox app-password list ann@example.org'))
    .action(async (address: string, _options: object, command: Command) => {
      const session = await openSession(command, terminal);
      session.print(await session.ask('app-password.list', { address }), (all) =>
        table([
          ['NAME', 'ONLY', 'LAST USED', 'CREATED', 'ID'],
          ...all.map((it) => [
            it.name,
            it.protocols?.join(' ') ?? '',
            it.lastUsedDay ?? 'never',
            timeText(it.createdAtMs),
            it.id,
          ]),
        ]),
      );
    });

  group
    .command('revoke')
    .description('Revoke an app password, and end the sessions of its mailbox.')
    .argument('<address>')
    .argument('<id>', 'as sealpost mailbox app-password list shows it')
    .addHelpText('after', examples('mailbox app-password revoke ann@example.org 8f14e45fceea167a5a36dedd4bea2543'))
    .action(async (address: string, id: string, _options: object, command: Command) => {
      const session = await openSession(command, terminal);
      session.print(await session.ask('app-password.revoke', { address, id }), (it) => `Revoked ${it.id}.\n`);
    });

  mailbox
    .command('capability')
    .description('Show and change which IMAP capabilities are switched off for a mailbox whose client misuses them.')
    .argument('<address>')
    .option('--disable <name>', 'switch this one off; may be repeated', words)
    .option('--enable <name>', 'switch this one on again; may be repeated', words)
    .addHelpText(
      'after',
      examples('mailbox capability ann@example.org', 'mailbox capability ann@example.org --disable QRESYNC'),
    )
    .action(async (address: string, options: { disable?: string[]; enable?: string[] }, command: Command) => {
      const session = await openSession(command, terminal);
      const answer = await session.ask('mailbox.capability', { address, ...options });
      session.print(answer, ({ disabled }) => `Off for ${answer.address}: ${disabled.join(' ') || 'nothing'}\n`);
    });
}

function words(word: string, before: string[] = []): string[] {
  return [...before, word];
}

function protocols(word: string, before: Protocol[] = []): Protocol[] {
  if (word !== 'imap' && word !== 'smtp') throw new InvalidArgumentError('Give imap or smtp.');
  return [...before, word];
}
