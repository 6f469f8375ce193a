/** sealpost doctor */
import { tmpdir } from 'node:os';
import type { Command } from 'commander';
import type { DoctorReport } from '../../base/fault.ts';
import { AdminRequestError } from '../client.ts';
import { examples } from './organizations.ts';
import { configFile, openSession, type GlobalOptions, type Session } from './session.ts';
import { follow, sizeText } from './tasks.ts';
import { table, type Terminal } from './terminal.ts';

type DoctorOptions = Readonly<{ repair?: boolean; deep?: boolean; mailbox?: string; scanPlaintext?: string[] }>;
/** What the doctor looks at while no server runs. */
type OfflineRequest = Readonly<{ configFile: string | undefined; isRepair: boolean; isDeep: boolean }>;
/** Examines with the data directory in this process. Throws ServerError 'not-allowed' while a server has it. */
export type ExamineOffline = (request: OfflineRequest) => Promise<DoctorReport>;

const REMEDIES: Readonly<Record<DoctorReport['faults'][number]['remedy'], string>> = {
  mendable: 'can be mended: add --repair',
  mended: 'mended',
  kept: 'kept as it is',
  'by-hand': 'needs an operator',
};
const HELP = `
Without a running server it takes the data directory itself. It looks at the directory, every mailbox database and its
files, every name and every wrapped key; with --deep it opens every message too, as the server does in the background
(store.scrubPeriodDays). It exits with 1 when it found a fault that is not mended.

--repair counts anew, removes files that no message has had for an hour, and drops search text that does not open (it is
made again). It never removes mail: what does not open is kept and stays listed. To have it back, see: sealpost backup.
`;

export function addDoctorCommand(program: Command, terminal: Terminal, examineOffline?: ExamineOffline): void {
  program
    .command('doctor')
    .description('Look for everything that is wrong with the stored mail, and mend what can be mended.')
    .option('--repair', 'mend what can be mended')
    .option('--deep', 'open every message')
    .option('--mailbox <address>', 'only this mailbox; needs a running server')
    .option(
      '--scan-plaintext <word...>',
      'only look for these words, in any usual encoding, in data, logs and temporary files',
    )
    .addHelpText('after', HELP)
    .addHelpText(
      'after',
      examples(
        'doctor',
        'doctor --deep --mailbox ann@example.org',
        'doctor --repair --json',
        'doctor --scan-plaintext budget2027',
      ),
    )
    .action(async (options: DoctorOptions, command: Command) => {
      const session = await openSession(command, terminal);
      if (options.scanPlaintext) {
        await scan(session, command, options.scanPlaintext);
        return;
      }
      const report = await examined(session, { options, command, examineOffline });
      session.print(report, reportText);
      if (report.faults.some(({ remedy }) => remedy !== 'mended') || report.unnamedCount > 0) process.exitCode = 1;
    });
}

type Asked = Readonly<{ options: DoctorOptions; command: Command; examineOffline: ExamineOffline | undefined }>;

async function examined(session: Session, { options, command, examineOffline }: Asked): Promise<DoctorReport> {
  const [isRepair, isDeep] = [options.repair === true, options.deep === true];
  try {
    const begun = await session.ask('doctor', { address: options.mailbox, isRepair, isDeep });
    return (await follow(session, begun)) as DoctorReport;
  } catch (error) {
    const isDown = error instanceof AdminRequestError && error.code === 'not-running';
    if (!isDown || !examineOffline || options.mailbox !== undefined) throw error;
    session.terminal.writeError('No server answers: the data directory is examined by this command.\n');
    const named = configFile(command.optsWithGlobals<GlobalOptions>().config);
    return examineOffline({ configFile: named, isRepair, isDeep });
  }
}

async function scan(session: Session, command: Command, words: readonly string[]): Promise<void> {
  const { loadConfig } = await import('../../config/load.ts');
  const { scanForWords } = await import('../plaintext-scan.ts');
  if (words.some((word) => word.length < 4)) {
    throw new AdminRequestError(
      'invalid-argument',
      'Words of fewer than four characters are found everywhere by chance.',
    );
  }
  const config = loadConfig({ file: configFile(command.optsWithGlobals<GlobalOptions>().config), env: process.env });
  const log = config.log.file === undefined ? [] : [config.log.file];
  const result = await scanForWords([config.data.directory, ...log, tmpdir()], words);
  session.print(result, ({ filesCount, bytesCount, findings, unreadable }) =>
    [
      ...findings.map(({ file, word, form }) => `FOUND word ${String(word)} (${form}) in ${file}\n`),
      ...unreadable.map((file) => `could not be read: ${file}\n`),
      `${String(findings.length)} found in ${String(filesCount)} files, ${sizeText(bytesCount)}.\n`,
    ].join(''),
  );
  if (result.findings.length > 0) process.exitCode = 1;
}

function reportText(report: DoctorReport): string {
  const { mailboxesCount, messagesCount, faults, unnamedCount, unexamined } = report;
  const opened = messagesCount > 0 ? `, ${String(messagesCount)} messages opened` : '';
  const more = unnamedCount > 0 ? `and ${String(unnamedCount)} more faults\n` : '';
  const rows = faults.map(({ subject, what, where, remedy }) => [subject, where, what, REMEDIES[remedy]]);
  return [
    rows.length === 0 ? '' : table([['WHAT', 'WHERE', 'FAULT', 'REMEDY'], ...rows]),
    more,
    ...unexamined.map(({ subject, reason }) => `not examined: ${subject}: ${reason}\n`),
    `${String(mailboxesCount)} mailboxes examined${opened}: ${faults.length === 0 ? 'no fault' : `${String(faults.length + unnamedCount)} faults`}.\n`,
  ].join('');
}
