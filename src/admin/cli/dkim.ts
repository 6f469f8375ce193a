/** sealpost domain dkim .., sealpost domain records, sealpost domain check */
import { Option, type Command } from 'commander';
import { zoneLine } from '../domain-records.ts';
import type { OperationAnswer } from '../operations.ts';
import { examples } from './organizations.ts';
import { openSession } from './session.ts';
import { confirmLoss, table, timeText, type Terminal } from './terminal.ts';

type Rotated = OperationAnswer<'dkim.rotate'>;
type Checked = OperationAnswer<'domain.check'>;

const ROTATE_HELP =
  'The first time it makes new keys and shows the DNS records to publish. Run again, it looks whether they are ' +
  'published, and then signs with the new keys and destroys the old ones.';

export function addDnsCommands(domain: Command, terminal: Terminal): void {
  domain
    .command('records')
    .description('Show the DNS records to publish for a domain, as lines of a zone file.')
    .argument('<domain>')
    .addHelpText('after', examples('domain records example.org', 'domain records example.org --json'))
    .action(async (name: string, _options: object, command: Command) => {
      const session = await openSession(command, terminal);
      session.print(await session.ask('domain.records', { domain: name }), (all) =>
        all
          .map((it) => {
            const note = [it.isRequired ? '' : 'Optional.', it.note ?? ''].filter((part) => part !== '').join(' ');
            return `${note === '' ? '' : `; ${note}\n`}${zoneLine(it)}\n`;
          })
          .join(''),
      );
    });

  domain
    .command('check')
    .description('Compare the DNS with what a domain needs. Exit code 1 when something required is not right.')
    .argument('<domain>')
    .addHelpText('after', examples('domain check example.org', 'domain check example.org --json'))
    .action(async (name: string, _options: object, command: Command) => {
      const session = await openSession(command, terminal);
      const checked = await session.ask('domain.check', { domain: name });
      session.print(checked, checkText);
      if (checked.some(({ isRequired, status }) => isRequired && status !== 'ok')) process.exitCode = 1;
    });

  addDkimCommands(domain, terminal);
}

function addDkimCommands(domain: Command, terminal: Terminal): void {
  const dkim = domain.command('dkim').description('The keys with which outgoing mail of a domain is signed.');

  dkim
    .command('create')
    .description('Make a key that signs at once. A new domain has one of each kind already.')
    .argument('<domain>')
    .addOption(new Option('--algorithm <kind>', 'rsa or ed25519').choices(['rsa', 'ed25519']).default('rsa'))
    .option('--selector <name>', 'its name in the DNS (default: the date)')
    .addHelpText('after', examples('domain dkim create example.org --algorithm ed25519'))
    .action(async (name: string, options: { algorithm: 'rsa' | 'ed25519'; selector?: string }, command: Command) => {
      const session = await openSession(command, terminal);
      session.print(
        await session.ask('dkim.create', { domain: name, ...options }),
        (made) => `Created key ${made.selector}. Publish its record:\n${zoneLine(made.record)}\n`,
      );
    });

  dkim
    .command('list')
    .description('List the keys of a domain.')
    .argument('<domain>')
    .addHelpText('after', examples('domain dkim list example.org', 'domain dkim list example.org --json'))
    .action(async (name: string, _options: object, command: Command) => {
      const session = await openSession(command, terminal);
      session.print(await session.ask('dkim.list', { domain: name }), (all) =>
        table([
          ['SELECTOR', 'ALGORITHM', 'STATE', 'SINCE', 'CREATED'],
          ...all.map((it) => [it.selector, it.algorithm, it.state, timeText(it.changedAtMs), timeText(it.createdAtMs)]),
        ]),
      );
    });

  dkim
    .command('rotate')
    .description(`Replace the keys of a domain. ${ROTATE_HELP}`)
    .argument('<domain>')
    .option('--unchecked', 'use the new keys without looking whether they are published')
    .addHelpText('after', examples('domain dkim rotate example.org'))
    .action(async (name: string, options: { unchecked?: boolean }, command: Command) => {
      const session = await openSession(command, terminal);
      const answer = await session.ask('dkim.rotate', { domain: name, unchecked: options.unchecked });
      session.print(answer, (it) => rotatedText(it, name));
    });

  dkim
    .command('retire')
    .description('Remove a key for good, when its DNS record need not stay any longer.')
    .argument('<domain>')
    .argument('<selector>')
    .option('--yes', 'also when mail is signed with it now')
    .addHelpText('after', examples('domain dkim retire example.org s20260101abc-rsa'))
    .action(async (name: string, selector: string, options: { yes?: boolean }, command: Command) => {
      const session = await openSession(command, terminal);
      const keys = await session.ask('dkim.list', { domain: name });
      const isSigning = keys.some((key) => key.selector === selector && key.state === 'signing');
      const text = `Mail of ${name} is signed with ${selector}; without it, it may go out unsigned.`;
      if (isSigning) await confirmLoss(terminal, { text, word: selector, isConfirmed: options.yes === true });
      const answer = await session.ask('dkim.retire', { domain: name, selector, evenIfSigning: isSigning });
      session.print(answer, (it) => `Removed key ${it.selector}. Its DNS record can go, too.\n`);
    });
}

function rotatedText(answer: Rotated, domain: string): string {
  if (answer.kind === 'made') {
    const lines = answer.keys.map(({ record }) => `${zoneLine(record)}\n`).join('');
    return `Made the next keys. Publish their records:\n${lines}Then, to use them: sealpost domain dkim rotate ${domain}\n`;
  }
  const kept = answer.retired.length > 0 ? `Keep the records of ${answer.retired.join(', ')} for a week.\n` : '';
  return `Mail is signed with ${answer.signing.join(', ')} from now on. ${kept}`;
}

function checkText(checked: Checked): string {
  const rows = checked.map((it) => [it.isRequired ? it.status : `${it.status} (optional)`, it.type, it.name]);
  const details = checked
    .filter(({ status }) => status !== 'ok')
    .map((it) => {
      const found = it.found.length > 0 ? `  published: ${it.found.join(' | ')}\n` : '';
      return `\n${it.type} ${it.name}: ${it.status}. ${it.advice ?? ''}\n  wanted: ${it.value}\n${found}`;
    });
  return `${table([['STATUS', 'TYPE', 'NAME'], ...rows])}${details.join('')}`;
}
