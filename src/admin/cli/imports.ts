/** sealpost import .. */
import { readFileSync } from 'node:fs';
import { InvalidArgumentError, Option, type Command } from 'commander';
import type { FolderOptions } from '../../moving/folder-names.ts';
import type { ImapAccount } from '../../moving/imap-account.ts';
import type { MailSource } from '../../moving/source.ts';
import { AdminRequestError } from '../client.ts';
import type { FolderSummary, ImportReport } from '../import-report.ts';
import { examples } from './organizations.ts';
import { sizeText, withProgress } from './progress.ts';
import { stopOnSignal } from './stop.ts';
import { openSession } from './session.ts';
import { readSecret, table, type Terminal } from './terminal.ts';

type CommonOptions = Readonly<{ into?: string; map: string[]; dryRun?: boolean; verify: boolean }>;
type MboxOptions = CommonOptions & Readonly<{ quoting: 'mboxrd' | 'mboxo' | 'none' }>;
export type AccountOptions = Readonly<{
  host: string;
  port?: number;
  tls: ImapAccount['tls'];
  caFile?: string;
  user: string;
  passwordFile?: string;
  accessTokenFile?: string;
}>;
type ImapOptions = CommonOptions & AccountOptions & Readonly<{ connections: number; rate?: number; exclude: string[] }>;

const CONNECTIONS_COUNT = 4;
const CONNECTIONS_MAX_COUNT = 32;
const SHOWN_FAULTS_COUNT = 50;
const IMPORT_HELP = `
An import can be stopped and run again at any time: what was taken in before is known and not added twice. The source is
only read. Afterwards everything is read again from the disk and compared by SHA-256.
`;

export function addImportCommands(program: Command, terminal: Terminal): void {
  const group = program
    .command('import')
    .description('Take mail over into a mailbox, from an export or from another server.')
    .addHelpText('after', IMPORT_HELP);

  source(group, 'workmail', 'Import a mailbox export of Amazon WorkMail: the zip that StartMailboxExportJob wrote.')
    .argument('<file>', 'the zip, downloaded from S3 (which decrypts it on the way)')
    .addHelpText(
      'after',
      examples('import workmail ann@example.org export.zip --dry-run', 'import workmail ann@example.org export.zip'),
    )
    .action(async (address: string, path: string, options: CommonOptions, command: Command) => {
      const { openEml } = await import('../../moving/eml-source.ts');
      await runImport({ command, terminal, address, options }, () => openEml(path));
    });

  source(group, 'eml', 'Import single messages in files: a folder tree, or a zip of one.')
    .argument('<path>', 'directory or zip')
    .addHelpText(
      'after',
      examples('import eml ann@example.org ./backup', 'import eml ann@example.org mail.zip --into Old'),
    )
    .action(async (address: string, path: string, options: CommonOptions, command: Command) => {
      const { openEml } = await import('../../moving/eml-source.ts');
      await runImport({ command, terminal, address, options }, () => openEml(path));
    });

  source(group, 'mbox', 'Import an mbox file, or a directory of them (Thunderbird, Apple Mail, Google Takeout).')
    .argument('<path>', 'file or directory; labels of Gmail become folders and keywords')
    .addOption(
      new Option('--quoting <kind>', 'how lines that begin with "From " are quoted')
        .choices(['mboxrd', 'mboxo', 'none'])
        .default('mboxrd'),
    )
    .addHelpText('after', examples('import mbox ann@example.org "All mail Including Spam and Trash.mbox"'))
    .action(async (address: string, path: string, options: MboxOptions, command: Command) => {
      const { openMbox } = await import('../../moving/mbox-source.ts');
      await runImport({ command, terminal, address, options }, () => openMbox(path, { quoting: options.quoting }));
    });

  source(group, 'maildir', 'Import a Maildir with its folders (Dovecot, Courier, Postfix), flags and dates.')
    .argument('<path>', 'directory that holds cur/ and new/')
    .addHelpText('after', examples('import maildir ann@example.org /var/mail/ann/Maildir'))
    .action(async (address: string, path: string, options: CommonOptions, command: Command) => {
      const { openMaildir } = await import('../../moving/maildir-source.ts');
      await runImport({ command, terminal, address, options }, () => openMaildir(path));
    });

  accountOptions(
    source(
      group,
      'imap',
      'Pull mail from an IMAP server: folders, flags, keywords and dates. Nothing is changed there.',
    ),
  )
    .option('--connections <count>', 'connections side by side', count(CONNECTIONS_MAX_COUNT), CONNECTIONS_COUNT)
    .option('--rate <count>', 'messages a second at most', count(1_000_000))
    .option(
      '--exclude <folder>',
      'a folder at the server to leave out, with what is below it; may be repeated',
      all,
      [],
    )
    .addHelpText(
      'after',
      examples(
        'import imap ann@example.org --host imap.mail.eu-west-1.awsapps.com --user ann@example.org',
        'import imap ann@example.org --host imap.example.net --user ann --password-file pw --exclude Spam',
      ),
    )
    .action(async (address: string, options: ImapOptions, command: Command) => {
      const account = await accountOf(options, terminal);
      const { openImap } = await import('../../moving/imap-source.ts');
      const pull = {
        connectionsCount: options.connections,
        maxPerSecond: options.rate ?? null,
        exclude: options.exclude,
      };
      await runImport({ command, terminal, address, options }, (signal) => openImap(account, pull, signal));
    });

  group
    .command('forget')
    .description(
      'Forget what was imported into a mailbox: the next import takes everything in again. No mail is removed.',
    )
    .argument('<address>')
    .addHelpText('after', examples('import forget ann@example.org'))
    .action(async (address: string, _options: object, command: Command) => {
      const session = await openSession(command, terminal);
      session.print(await session.ask('import.forget', { address }), (it) => {
        return `Forgot that ${String(it.forgottenCount)} messages were imported into ${it.address}. They are still there.\n`;
      });
    });
}

function source(group: Command, name: string, description: string): Command {
  return group
    .command(name)
    .description(description)
    .argument('<address>', 'the mailbox to import into')
    .option('--into <folder>', 'put all folders below this one, instead of into those of the same kind')
    .option(
      '--map <source=target>',
      'put a folder of the source, and what is below it, elsewhere; may be repeated',
      all,
      [],
    )
    .option('--dry-run', 'read everything and say what would be done; nothing is stored')
    .option('--no-verify', 'do not read everything again afterwards');
}

/** The options that say which account of which server. */
export function accountOptions(command: Command): Command {
  return command
    .requiredOption('--host <name>', 'the server')
    .requiredOption('--user <name>', 'the user there')
    .option('--port <number>', 'default: 993, or 143 with --tls starttls or none', count(65_535))
    .addOption(
      new Option('--tls <how>', 'none lets others read password and mail on the way')
        .choices(['implicit', 'starttls', 'none'])
        .default('implicit'),
    )
    .option('--ca-file <file>', 'certificate of the authority to trust, PEM')
    .option('--password-file <file>', 'read the password from the first line of this file; else it is asked for')
    .option('--access-token-file <file>', 'read an OAuth 2 access token from this file, instead of a password');
}

export async function accountOf(options: AccountOptions, terminal: Terminal): Promise<ImapAccount> {
  const { host, user, tls, passwordFile, accessTokenFile, caFile } = options;
  const kind = accessTokenFile === undefined ? 'password' : 'access-token';
  const text = await readSecret(terminal, `Password of ${user} at ${host}`, accessTokenFile ?? passwordFile);
  const port = options.port ?? (tls === 'implicit' ? 993 : 143);
  return {
    host,
    port,
    tls,
    user,
    secret: { kind, text },
    ca: caFile === undefined ? undefined : readFileSync(caFile, 'utf8'),
  };
}

type Asked = Readonly<{ command: Command; terminal: Terminal; address: string; options: CommonOptions }>;

async function runImport(asked: Asked, open: (signal: AbortSignal) => Promise<MailSource>): Promise<void> {
  const { command, terminal, options } = asked;
  const session = await openSession(command, terminal);
  const [{ Importer }, { FolderNames }] = await Promise.all([
    import('../importer.ts'),
    import('../../moving/folder-names.ts'),
  ]);
  using stop = stopOnSignal('Stopped. What was taken in so far is kept: run the same command again to go on.');
  const { signal } = stop;
  const folderOptions: FolderOptions = { into: options.into, renames: options.map };
  new FolderNames([], folderOptions); // wrong options are told before anything is opened
  const { run, address, folders } = await session.ask('import.begin', { address: asked.address });
  await using mail = await open(signal);
  const special = (mail.folders ?? []).filter(({ specialUse }) => specialUse !== null);
  const names = new FolderNames(folders, folderOptions, special);
  const report = await withProgress(terminal, (onProgress) =>
    new Importer({
      socketFile: session.socketFile,
      run,
      names,
      isDryRun: options.dryRun === true,
      isVerified: options.verify,
      onProgress,
    }).run(mail, signal),
  );
  await session.ask('import.end', { run });
  session.print(report, () => reportText(address, report, options.verify));
  const failure = failureOf(report);
  if (failure !== null) throw new AdminRequestError('incomplete', failure);
}

function reportText(address: string, report: ImportReport, isVerified: boolean): string {
  const rows = report.folders.map((folder) => [folder.folder, ...cells(folder)]);
  const sum = report.folders.reduce((all, folder) => added(all, folder), NOTHING);
  const lines = [
    table([
      [
        'FOLDER',
        'IN THE SOURCE',
        'BYTES',
        report.isDryRun ? 'WOULD BE STORED' : 'STORED NOW',
        'KNOWN BEFORE',
        'BAD',
        'READ AGAIN EQUAL',
        'MOVED SINCE',
        'DIFFERENT',
      ],
      ...rows,
      ['all', ...cells(sum)],
    ]),
    ...told('could not be taken', report.faults, report.badCount),
    ...told('is no mail and was left out', report.skipped, report.skippedCount),
  ];
  if (report.isDryRun) lines.push(`This was a dry run: nothing was stored in ${address}.\n`);
  else if (!isVerified) lines.push('Nothing was read again (--no-verify).\n');
  else if (sum.equalCount === sum.sourceCount) {
    lines.push(
      `All ${String(sum.sourceCount)} messages of the source (${sizeText(sum.sourceBytes)}) are in ${address}, equal by SHA-256.\n`,
    );
  }
  return lines.join('');
}

const NOTHING: FolderSummary = {
  folder: '',
  sourceCount: 0,
  sourceBytes: 0,
  storedCount: 0,
  knownCount: 0,
  badCount: 0,
  equalCount: 0,
  equalBytes: 0,
  differsCount: 0,
  goneCount: 0,
};

function added(a: FolderSummary, b: FolderSummary): FolderSummary {
  return {
    folder: '',
    sourceCount: a.sourceCount + b.sourceCount,
    sourceBytes: a.sourceBytes + b.sourceBytes,
    storedCount: a.storedCount + b.storedCount,
    knownCount: a.knownCount + b.knownCount,
    badCount: a.badCount + b.badCount,
    equalCount: a.equalCount + b.equalCount,
    equalBytes: a.equalBytes + b.equalBytes,
    differsCount: a.differsCount + b.differsCount,
    goneCount: a.goneCount + b.goneCount,
  };
}

function cells(it: FolderSummary): string[] {
  const { sourceCount, sourceBytes, storedCount, knownCount, badCount, equalCount, goneCount, differsCount } = it;
  return [sourceCount, sourceBytes, storedCount, knownCount, badCount, equalCount, goneCount, differsCount].map(String);
}

function told(what: string, faults: ImportReport['faults'], count: number): string[] {
  const shown = faults.slice(0, SHOWN_FAULTS_COUNT).map(({ where, reason }) => `${where} ${what}: ${reason}\n`);
  return count > shown.length ? [...shown, `and ${String(count - shown.length)} more: see --json\n`] : shown;
}

function failureOf(report: ImportReport): string | null {
  const differsCount = report.folders.reduce((sum, folder) => sum + folder.differsCount, 0);
  if (differsCount > 0) return `${String(differsCount)} messages differ from the source after they were stored.`;
  return report.badCount > 0 ? `${String(report.badCount)} messages could not be taken; all others were.` : null;
}

function count(max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < 1 || value > max)
      throw new InvalidArgumentError(`Give a number from 1 to ${String(max)}.`);
    return value;
  };
}

/** For options that may be repeated. */
function all(value: string, before: readonly string[]): string[] {
  return [...before, value];
}
