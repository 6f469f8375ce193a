/** sealpost backup .. */
import { resolve } from 'node:path';
import { InvalidArgumentError, type Command } from 'commander';
import type { BackupSummary } from '../../backup/create.ts';
import type { RestoreSummary } from '../../backup/restore.ts';
import type { MailboxRestoreSummary } from '../../backup/restore-mailbox.ts';
import type { BackupVerdict } from '../../backup/verify.ts';
import { AdminRequestError } from '../client.ts';
import { examples } from './organizations.ts';
import { configFile, openSession, type GlobalOptions, type Session } from './session.ts';
import { follow, progressText, sizeText } from './tasks.ts';
import { table, timeText, type Terminal } from './terminal.ts';

type Created = BackupSummary & Readonly<{ removed: readonly string[] }>;
type RestoreOptions = Readonly<{
  backup?: string;
  into?: string;
  mailbox?: string;
  folder?: string;
  as?: string;
  beside?: boolean;
}>;

const SHOWN_EVERY_MS = 1000;
const TARGET = 'a folder by its whole path, or s3://BUCKET/PREFIX';
const ABOUT = `
A backup is ciphertext: it holds the mail as it lies on disk, and the wrapped keys. To read a restored backup you need the
same key service and root keys. A local keyring is in no backup: see sealpost keyring backup.
`;
const GOES_ON =
  '\nIt runs in the server, which must be able to write there, and goes on when this command is interrupted.\n';

export function addBackupCommands(program: Command, terminal: Terminal): void {
  const backup = program
    .command('backup')
    .description('Backups of all mail and accounts, made while the server serves: ciphertext only.')
    .addHelpText('after', ABOUT);

  backup
    .command('create')
    .description('Make a backup. What has not changed since the one before is not sent again.')
    .argument('<target>', TARGET)
    .option('--keep <count>', 'then give up all backups but the newest so many', wholeNumber)
    .addHelpText('after', GOES_ON)
    .addHelpText('after', examples('backup create /backup/mail --keep 14', 'backup create s3://example-backup/mail'))
    .action(async (target: string, options: { keep?: number }, command: Command) => {
      const session = await openSession(command, terminal);
      const begun = await session.ask('backup.create', { target: placeOf(target), keepCount: options.keep ?? null });
      const made = (await follow(session, begun)) as Created;
      session.print(made, createdText);
      if (made.damagedMailboxes.length > 0 || made.missingBlobsCount > 0) process.exitCode = 1;
    });

  backup
    .command('list')
    .description('List the backups in a target. Needs no server.')
    .argument('<target>', TARGET)
    .addHelpText('after', examples('backup list /backup/mail'))
    .action(async (target: string, _options: object, command: Command) => {
      const session = await openSession(command, terminal);
      session.print(await listed(target, command), (all) =>
        table([
          ['BACKUP', 'MADE', 'MAILBOXES', 'MESSAGES', 'SIZE'],
          ...all.map((it) => [
            it.id,
            timeText(Date.parse(it.createdAt)),
            String(it.mailboxesCount),
            String(it.messagesCount),
            sizeText(it.bytesCount),
          ]),
        ]),
      );
    });

  backup
    .command('verify')
    .description('Prove a backup: read all of it, and open every wrapped key in it. Exits with 1 when it has a fault.')
    .argument('<target>', TARGET)
    .option('--backup <id>', 'which one (default: the newest)')
    .addHelpText('after', examples('backup verify /backup/mail', 'backup verify s3://example-backup/mail --json'))
    .action(async (target: string, options: { backup?: string }, command: Command) => {
      const session = await openSession(command, terminal);
      const begun = await session.ask('backup.verify', { target: placeOf(target), backup: options.backup });
      const verdict = (await follow(session, begun)) as BackupVerdict;
      session.print(verdict, verdictText);
      const isProven =
        verdict.faults.length === 0 && verdict.organizations.every(({ unanswered }) => unanswered === null);
      if (!isProven) process.exitCode = 1;
    });

  backup
    .command('restore')
    .description('Restore everything into a new data directory, or a mailbox or folder beside what is there.')
    .argument('<target>', TARGET)
    .option('--backup <id>', 'which one (default: the newest)')
    .option('--into <directory>', 'everything, into this new data directory; needs no server and no key')
    .option('--mailbox <address>', 'the mail of this mailbox, as messages in new folders below Restored/')
    .option('--folder <name>', 'only this folder of it')
    .option('--as <address>', 'the mailbox that takes it in')
    .option('--beside', 'the same mailbox takes it in')
    .addHelpText('after', '\nA restore that was cut short goes on when the same command is run again.\n')
    .addHelpText(
      'after',
      examples(
        'backup restore /backup/mail --into /var/lib/sealpost-new',
        'backup restore /backup/mail --mailbox ann@example.org --folder Archive --beside',
        'backup restore /backup/mail --mailbox gone@example.org --as ann@example.org',
      ),
    )
    .action(async (target: string, options: RestoreOptions, command: Command) => {
      const session = await openSession(command, terminal);
      if (options.into !== undefined && options.mailbox === undefined) {
        session.print(await restoredAll(session, { target, options, command }), restoredText);
        return;
      }
      const { mailbox: address, folder, as, beside, backup: id } = options;
      if (address === undefined || (as === undefined) === (beside !== true) || options.into !== undefined) {
        throw new AdminRequestError(
          'invalid-argument',
          'Name either --into DIRECTORY, or --mailbox ADDRESS with --beside or --as ADDRESS.',
        );
      }
      const asked = { target: placeOf(target), backup: id, address, folder, to: as ?? address };
      const begun = await session.ask('backup.restore', asked);
      session.print((await follow(session, begun)) as MailboxRestoreSummary, mailboxText);
    });
}

/** The server may run in another folder. */
function placeOf(target: string): string {
  return target.startsWith('s3://') ? target : resolve(target);
}

async function targetOf(target: string, command: Command) {
  const { loadConfig } = await import('../../config/load.ts');
  const { openTarget } = await import('../../backup/open-target.ts');
  const file = configFile(command.optsWithGlobals<GlobalOptions>().config);
  return openTarget(placeOf(target), loadConfig({ file, env: process.env }).backup.s3);
}

async function listed(target: string, command: Command) {
  const { backupIds, readManifest } = await import('../../backup/list.ts');
  const opened = await targetOf(target, command);
  const all = [];
  for (const id of await backupIds(opened)) {
    const { createdAt, mailboxes, directory } = await readManifest(opened, id);
    const sum = (of: (mailbox: (typeof mailboxes)[number]) => number): number =>
      mailboxes.reduce((total, mailbox) => total + of(mailbox), 0);
    const bytesCount = directory.sizeBytes + sum(({ database, blobBytes }) => database.sizeBytes + blobBytes);
    const messagesCount = sum((mailbox) => mailbox.messagesCount);
    all.push({ id, createdAt, mailboxesCount: mailboxes.length, messagesCount, bytesCount });
  }
  return all;
}

async function restoredAll(
  session: Session,
  { target, options, command }: Readonly<{ target: string; options: RestoreOptions; command: Command }>,
): Promise<RestoreSummary> {
  const { restoreAll } = await import('../../backup/restore.ts');
  const into = resolve(options.into ?? '');
  const startedMs = performance.now();
  let shownAtMs = startedMs;
  const onProgress = ({ doneCount, totalCount }: Readonly<{ doneCount: number; totalCount: number }>): void => {
    const nowMs = performance.now();
    if (nowMs - shownAtMs < SHOWN_EVERY_MS) return;
    shownAtMs = nowMs;
    const remainingMs = doneCount === 0 ? null : ((nowMs - startedMs) / doneCount) * (totalCount - doneCount);
    session.terminal.writeError(progressText({ doneCount, totalCount, unit: 'bytes', remainingMs }));
  };
  return restoreAll({ target: await targetOf(target, command), id: options.backup, into }, { onProgress });
}

function createdText(it: Created): string {
  const sent = `${String(it.sentObjectsCount)} objects sent, ${sizeText(it.sentBytes)}`;
  const missing =
    it.missingBlobsCount === 0
      ? ''
      : `${String(it.missingBlobsCount)} MESSAGE BODIES WERE MISSING. See: sealpost doctor\n`;
  const damaged = it.damagedMailboxes.map(
    (id) => `MAILBOX ${id} CANNOT BE READ; its last copy is kept. See: sealpost doctor\n`,
  );
  const removed = it.removed.length === 0 ? '' : `Removed ${it.removed.join(', ')}.\n`;
  const mailboxes = `${String(it.mailboxesCount)} mailboxes (${String(it.unchangedCount)} unchanged)`;
  return `Made backup ${it.id}: ${mailboxes}, ${String(it.messagesCount)} messages; ${sent}.\n${missing}${damaged.join('')}${removed}`;
}

function verdictText(it: BackupVerdict): string {
  const organizations = it.organizations.map(
    ({ organization, mailboxesCount, keysCount, openedCount, unanswered }) =>
      `organization ${organization}: ${String(mailboxesCount)} mailboxes, ${String(openedCount)} of ${String(keysCount)} keys open` +
      `${unanswered === null ? '' : `; the others could not be tried: ${unanswered}`}\n`,
  );
  const faults = it.faults.map(({ what, where }) => `FAULT: ${where}: ${what}\n`);
  const read = `${String(it.objectsCount)} objects, ${sizeText(it.bytesCount)} read`;
  const verdict = it.faults.length === 0 ? 'nothing is missing or changed' : `${String(it.faults.length)} FAULTS`;
  return `${organizations.join('')}${faults.join('')}Backup ${it.id}: ${read}; ${verdict}.\n`;
}

function restoredText(it: RestoreSummary): string {
  const missing =
    it.missingBlobsCount === 0 ? '' : `${String(it.missingBlobsCount)} message bodies were not in the backup.\n`;
  return (
    `Restored backup ${it.id}: ${String(it.mailboxesCount)} mailboxes, ${String(it.messagesCount)} messages, ` +
    `${sizeText(it.bytesCount)}, into ${it.into}\n${missing}` +
    'Set data.directory to it. A local keyring has to be put there by hand, from sealpost keyring backup.\n'
  );
}

function mailboxText({ folders }: MailboxRestoreSummary): string {
  if (folders.length === 0) return 'There was no message to restore.\n';
  return table([
    ['FOLDER', 'RESTORED AS', 'MESSAGES', 'DAMAGED'],
    ...folders.map((it) => [it.from, it.to, String(it.messagesCount), String(it.damagedCount)]),
  ]);
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new InvalidArgumentError('Not a number of backups.');
  return Number(text);
}
