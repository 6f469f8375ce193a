/** sealpost mailbox .. */
import { randomBytes } from 'node:crypto';
import { InvalidArgumentError, type Command } from 'commander';
import type { OperationAnswer } from '../operations.ts';
import { addAppPasswordCommands } from './app-passwords.ts';
import { examples, receiptLines } from './organizations.ts';
import { openSession, type Session } from './session.ts';
import { confirmLoss, newPassword, table, timeText, type Terminal } from './terminal.ts';

type Listed = OperationAnswer<'mailbox.list'>[number];
type CreateOptions = Readonly<{
  name?: string;
  password: boolean;
  passwordFile?: string;
  generate?: boolean;
  keyPair?: boolean;
}>;
const GENERATED_PASSWORD_BYTES = 15;

export function addMailboxCommands(program: Command, terminal: Terminal): void {
  const mailbox = program.command('mailbox').description("Mailboxes: one user's mail, under a key of its own.");

  mailbox
    .command('create')
    .description('Create a mailbox. Asks for its password, or reads it as the first line of standard input.')
    .argument('<address>', 'its address, in a domain that was created before')
    .option('--name <text>', "the user's name; stored encrypted")
    .option('--password-file <file>', 'read the password from the first line of this file')
    .option('--generate', 'make a random password and print it once')
    .option('--key-pair', 'incoming mail is sealed to its public key, and no key service is asked to deliver it')
    .option('--no-password', 'set none: nobody can log in before sealpost password set')
    .addHelpText(
      'after',
      examples(
        'mailbox create ann@example.org --name "Ann Example"',
        'mailbox create bob@example.org --generate --json',
      ),
    )
    .action(async (address: string, options: CreateOptions, command: Command) => {
      const session = await openSession(command, terminal);
      const password = await passwordOf(options, terminal);
      const made = await session.ask('mailbox.create', {
        address,
        displayName: options.name,
        password,
        keyKind: options.keyPair === true ? 'pair' : 'symmetric',
      });
      const shown = options.generate === true ? { ...made, password } : made;
      session.print(shown, () => {
        const told = options.generate === true ? ` Its password, shown only now: ${password ?? ''}` : '';
        return `Created mailbox ${made.address}, id ${made.ref.mailbox}.${told}\n`;
      });
    });

  mailbox
    .command('list')
    .description('List the mailboxes of an organization, with their addresses.')
    .option('--org <organization>', 'name or id; not needed while there is one organization')
    .addHelpText('after', examples('mailbox list', 'mailbox list --org Example --json'))
    .action(async (options: { org?: string }, command: Command) => {
      const session = await openSession(command, terminal);
      session.print(await allMailboxes(session, options.org), (all) =>
        table([
          ['ADDRESS', 'NAME', 'STATE', 'PASSWORD', 'ALIASES', 'ID', 'CREATED'],
          ...all.map((it) => [
            it.address,
            it.displayName ?? '',
            it.state,
            it.hasPassword ? 'set' : 'none',
            it.aliases.join(' '),
            it.ref.mailbox,
            timeText(it.createdAtMs),
          ]),
        ]),
      );
    });

  mailbox
    .command('suspend')
    .description('Stop logins and mail of a mailbox and end its sessions; its mail is kept.')
    .argument('<address>')
    .addHelpText('after', examples('mailbox suspend ann@example.org'))
    .action(async (address: string, _options: object, command: Command) => {
      const session = await openSession(command, terminal);
      session.print(await session.ask('mailbox.suspend', { address }), () => `Suspended ${address}.\n`);
    });

  mailbox
    .command('resume')
    .description('Undo a suspension.')
    .argument('<address>')
    .addHelpText('after', examples('mailbox resume ann@example.org'))
    .action(async (address: string, _options: object, command: Command) => {
      const session = await openSession(command, terminal);
      session.print(await session.ask('mailbox.resume', { address }), () => `Resumed ${address}.\n`);
    });

  addAppPasswordCommands(mailbox, terminal);

  mailbox
    .command('quota')
    .description('Show what a mailbox holds and may hold, and set that. Mail for a full mailbox is deferred with 452.')
    .argument('<address>')
    .option('--size <size>', 'bytes, or with K, M, G: 500M, 5G; or none', limit)
    .option('--messages <count>', 'messages, or none', limit)
    .addHelpText(
      'after',
      examples('mailbox quota ann@example.org', 'mailbox quota ann@example.org --size 5G --messages none'),
    )
    .action(async (address: string, options: QuotaOptions, command: Command) => {
      const session = await openSession(command, terminal);
      const asked = { address, maxBytes: orNull(options.size), maxMessagesCount: orNull(options.messages) };
      session.print(await session.ask('mailbox.quota', asked), (it) =>
        table([
          ['', 'HOLDS', 'MAY HOLD'],
          ['bytes', String(it.sizeBytes), String(it.maxBytes ?? 'no limit')],
          ['messages', String(it.messagesCount), String(it.maxMessagesCount ?? 'no limit')],
        ]),
      );
    });

  mailbox
    .command('undelete')
    .description(
      'Bring back expunged messages that are still kept (sealpost org retention), into the folder Undeleted.',
    )
    .argument('<address>')
    .requiredOption(
      '--since <time>',
      'those that were expunged since then: 2027-01-31, or with the time 2027-01-31T10:00Z',
      time,
    )
    .addHelpText('after', examples('mailbox undelete ann@example.org --since 2027-01-31'))
    .action(async (address: string, options: { since: number }, command: Command) => {
      const session = await openSession(command, terminal);
      const answer = await session.ask('mailbox.undelete', { address, sinceMs: options.since });
      session.print(answer, ({ folder, messagesCount, damagedCount }) => {
        const damaged = damagedCount > 0 ? `${String(damagedCount)} do not open and stay where they are.\n` : '';
        return `Brought back ${String(messagesCount)} messages into ${folder}.\n${damaged}`;
      });
    });

  mailbox
    .command('delete')
    .description('Delete a mailbox with all its mail, its key and its aliases, for good.')
    .argument('<address>')
    .option('--yes', 'do not ask')
    .addHelpText('after', examples('mailbox delete ann@example.org'))
    .action(async (address: string, options: { yes?: boolean }, command: Command) => {
      const session = await openSession(command, terminal);
      const found = await session.ask('mailbox.show', { address });
      const aliases = found.aliases.length === 0 ? '' : ` and its aliases ${found.aliases.join(', ')}`;
      const text = `This deletes mailbox ${found.address} with all its mail${aliases}. It cannot be undone.`;
      await confirmLoss(terminal, { text, word: found.address, isConfirmed: options.yes === true });
      const answer = await session.ask('mailbox.delete', { address: found.address });
      session.print(answer, (it) => `Deleted mailbox ${found.address}.\n${receiptLines(it.receipts)}`);
    });
}

type Limit = number | 'none';
type QuotaOptions = Readonly<{ size?: Limit; messages?: Limit }>;

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

function limit(text: string): Limit {
  if (text === 'none') return text;
  const found = /^(\d{1,15})([KMGT]?)$/.exec(text.toUpperCase());
  const count = Number(found?.[1]) * (UNITS[found?.[2] ?? ''] ?? 1);
  if (!Number.isSafeInteger(count)) throw new InvalidArgumentError('Give a number, as 500M or 5G, or none.');
  return count;
}

function time(text: string): number {
  const atMs = /^\d{4}-\d\d-\d\d(T[\d:.]+(Z|[+-]\d\d:\d\d))?$/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(atMs)) throw new InvalidArgumentError('Give a day, as 2027-01-31, or a time, as 2027-01-31T10:00Z.');
  return atMs;
}

function orNull(given: Limit | undefined): number | null | undefined {
  return given === 'none' ? null : given;
}

async function passwordOf(options: CreateOptions, terminal: Terminal): Promise<string | undefined> {
  if (options.generate === true) return randomBytes(GENERATED_PASSWORD_BYTES).toString('base64url');
  return options.password ? newPassword(terminal, options.passwordFile) : undefined;
}

async function allMailboxes(session: Session, organization: string | undefined): Promise<Listed[]> {
  const all: Listed[] = [];
  for (;;) {
    const page = await session.ask('mailbox.list', { organization, after: all.at(-1)?.ref.mailbox });
    if (page.length === 0) return all;
    all.push(...page);
  }
}
