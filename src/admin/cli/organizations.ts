/** sealpost org .. */
import { InvalidArgumentError, type Command } from 'commander';
import type { OperationAnswer, OperationInput } from '../operations.ts';
import { enforcerText } from './grant-text.ts';
import { openSession } from './session.ts';
import { confirmLoss, table, timeText, type Terminal } from './terminal.ts';

type ProviderName = NonNullable<OperationInput<'org.create'>['provider']>;

export function addOrganizationCommands(program: Command, terminal: Terminal): void {
  const org = program.command('org').description('Organizations: each has its own root key, domains and mailboxes.');

  org
    .command('create')
    .description('Create an organization. To give it another root key later: sealpost key move.')
    .argument('<name>', 'how people call it; stored encrypted')
    .option('--provider <kind>', 'key service: local-keyring, aws-kms or vault-transit (default: as configured)')
    .option(
      '--key <name>',
      'root key: a name, id, alias, ARN or vault:<mount>/<key> of that key service (default: as configured)',
    )
    .addHelpText('after', examples('org create Example', 'org create Example --provider aws-kms --key alias/mail'))
    .action(async (name: string, options: { provider?: ProviderName; key?: string }, command: Command) => {
      const session = await openSession(command, terminal);
      const made = await session.ask('org.create', { name, provider: options.provider, rootKey: options.key });
      session.print(made, (it) => {
        const grant = it.grant ? `Its grant is enforced by ${enforcerText(it.grant)}.\n` : '';
        return `Created organization ${name}, id ${it.id}, root key ${it.rootKey}.\n${grant}`;
      });
    });

  org
    .command('list')
    .description('List organizations. A name reads "(sealed)" while its root key cannot be used.')
    .addHelpText('after', examples('org list', 'org list --json'))
    .action(async (_options: object, command: Command) => {
      const session = await openSession(command, terminal);
      session.print(await session.ask('org.list', {}), (all) =>
        table([
          ['ID', 'NAME', 'STATE', 'DOMAINS', 'MAILBOXES', 'KEY SERVICE', 'ROOT KEY', 'CREATED'],
          ...all.map((it) => [
            it.id,
            it.name ?? '(sealed)',
            it.state,
            String(it.domainsCount),
            String(it.mailboxesCount),
            it.provider,
            it.rootKey,
            timeText(it.createdAtMs),
          ]),
        ]),
      );
    });

  org
    .command('suspend')
    .description('Stop all logins and mail of an organization, end its sessions, and forget its keys.')
    .argument('<organization>', 'name or id')
    .addHelpText('after', examples('org suspend Example'))
    .action(async (organization: string, _options: object, command: Command) => {
      const session = await openSession(command, terminal);
      const answer = await session.ask('org.suspend', { organization });
      session.print(
        answer,
        () => `Suspended ${organization}. Its mail is deferred or refused until: sealpost org resume\n`,
      );
    });

  org
    .command('resume')
    .description('Undo a suspension.')
    .argument('<organization>', 'name or id')
    .addHelpText('after', examples('org resume Example'))
    .action(async (organization: string, _options: object, command: Command) => {
      const session = await openSession(command, terminal);
      session.print(await session.ask('org.resume', { organization }), () => `Resumed ${organization}.\n`);
    });

  org
    .command('retention')
    .description(
      'Show or set for how many days expunged messages are kept sealed before they are shredded. At first 0.',
    )
    .argument('<organization>', 'name or id')
    .option('--days <count>', '0 to 3650; 0 shreds what is kept, within an hour', days)
    .addHelpText('after', examples('org retention Example', 'org retention Example --days 30'))
    .action(async (organization: string, options: { days?: number }, command: Command) => {
      const session = await openSession(command, terminal);
      session.print(await session.ask('org.retention', { organization, days: options.days }), (it) =>
        it.days === 0
          ? 'Expunged messages are shredded at once.\n'
          : `Expunged messages are kept for ${String(it.days)} days. See: sealpost mailbox undelete --help\n`,
      );
    });

  org
    .command('delete')
    .description('Delete an organization for good. Domains and mailboxes it still has must all be named.')
    .argument('<organization>', 'name or id')
    .option('--domains <names...>', 'domains that are deleted with it', [])
    .option('--mailboxes <addresses...>', 'mailboxes that are deleted with it, with all their mail', [])
    .option('--yes', 'do not ask')
    .addHelpText(
      'after',
      examples(
        'org delete Example',
        'org delete Example --domains example.org --mailboxes ann@example.org bob@example.org',
      ),
    )
    .action(async (organization: string, options: DeleteOptions, command: Command) => {
      const session = await openSession(command, terminal);
      const content = await session.ask('org.contents', { organization });
      const word = content.organization.name ?? content.organization.id;
      const text =
        `This deletes organization ${word} with ${String(content.domains.length)} domains and ` +
        `${String(content.mailboxes.length)} mailboxes, and the keys of their mail; with it go ` +
        `${String(content.queuedCount)} messages that wait to be sent. It cannot be undone.`;
      await confirmLoss(terminal, { text, word, isConfirmed: options.yes === true });
      const named = { organization, domains: options.domains, mailboxes: options.mailboxes };
      const answer = await session.ask('org.delete', named);
      session.print(answer, (it) => `Deleted organization ${word}.\n${receiptLines(it.receipts)}`);
    });
}

type DeleteOptions = Readonly<{ domains: string[]; mailboxes: string[]; yes?: boolean }>;

/** Where the receipts of a deletion lie. */
export function receiptLines(receipts: OperationAnswer<'org.delete'>['receipts']): string {
  return receipts.map(({ file }) => `Receipt: ${file}\n`).join('');
}

/** The examples at the end of a command's help. */
export function examples(...lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  sealpost ${line}\n`).join('')}`;
}

function days(text: string): number {
  if (!/^\d{1,4}$/.test(text)) throw new InvalidArgumentError('Not a number of days.');
  return Number(text);
}
