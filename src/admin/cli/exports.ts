/** sealpost export .. */
import { createHash } from 'node:crypto';
import type { Command } from 'commander';
import type { MailTarget } from '../../moving/target.ts';
import { exportedMessages } from '../client.ts';
import { accountOf, accountOptions, type AccountOptions } from './imports.ts';
import { examples } from './organizations.ts';
import { sizeText, withProgress } from './progress.ts';
import { openSession } from './session.ts';
import { stopOnSignal } from './stop.ts';
import { table, type Terminal } from './terminal.ts';

type FolderResult = Readonly<{
  folder: string;
  messagesCount: number;
  sizeBytes: number;
  /** Those that were at the server already are not among them. */
  writtenCount: number;
  /** SHA-256 over the sorted SHA-256 of the messages: two exports with the same mail have the same. */
  sha256: string;
}>;
type Asked = Readonly<{
  command: Command;
  terminal: Terminal;
  address: string;
  options: Readonly<{ folder: string[] }>;
}>;

const PLAINTEXT = 'This writes the mail in plaintext, readable to whoever can read';

export function addExportCommands(program: Command, terminal: Terminal): void {
  const group = program
    .command('export')
    .description('Take the mail of a mailbox out: as files in plaintext, or to another server.');
  for (const [name, description, where, open] of [
    [
      'mbox',
      'Write a directory of mbox files (mboxrd), one for each folder.',
      'a directory that does not exist yet',
      'openMboxTarget',
    ],
    [
      'maildir',
      'Write a Maildir with its folders (Maildir++), flags and dates.',
      'a directory that does not exist yet',
      'openMaildirTarget',
    ],
    [
      'eml',
      'Write a zip of single messages, with a directory for each folder.',
      'a file that does not exist yet',
      'openZipTarget',
    ],
  ] as const) {
    target(group, name, description)
      .argument('<path>', where)
      .addHelpText('after', examples(`export ${name} ann@example.org ./ann${name === 'eml' ? '.zip' : ''}`))
      .action(async (address: string, path: string, options: Asked['options'], command: Command) => {
        terminal.writeError(`${PLAINTEXT} ${path}.\n`);
        const targets = await import('../../moving/file-targets.ts');
        await runExport({ command, terminal, address, options }, () => targets[open](path));
      });
  }
  accountOptions(target(group, 'imap', 'Push the mail to an IMAP server. What is there already is not sent again.'))
    .addHelpText('after', examples('export imap ann@example.org --host imap.example.net --user ann'))
    .action(async (address: string, options: AccountOptions & Asked['options'], command: Command) => {
      const account = await accountOf(options, terminal);
      const { openImapTarget } = await import('../../moving/imap-target.ts');
      await runExport({ command, terminal, address, options }, (signal) => openImapTarget(account, signal));
    });
}

function target(group: Command, name: string, description: string): Command {
  return group
    .command(name)
    .description(description)
    .argument('<address>', 'the mailbox')
    .option(
      '--folder <name>',
      'only this folder; may be repeated',
      (value: string, all: string[]) => [...all, value],
      [],
    );
}

async function runExport(asked: Asked, open: (signal: AbortSignal) => Promise<MailTarget>): Promise<void> {
  const { command, terminal, options } = asked;
  const session = await openSession(command, terminal);
  using stop = stopOnSignal('Stopped. What was written so far is not the whole mailbox.');
  const { address, folders } = await session.ask('export.folders', { address: asked.address });
  const missing = options.folder.find((name) => !folders.some((folder) => folder.name === name));
  if (missing !== undefined) command.error(`error: there is no folder ${missing}`);
  const chosen = folders.filter(({ name }) => options.folder.length === 0 || options.folder.includes(name));
  await using mail = await open(stop.signal);
  const total = {
    messagesCount: chosen.reduce((sum, folder) => sum + folder.messagesCount, 0),
    sizeBytes: chosen.reduce((sum, folder) => sum + folder.sizeBytes, 0),
  };
  const results = await withProgress(terminal, async (show) => {
    const done: FolderResult[] = [];
    let [messagesCount, sizeBytes] = [0, 0];
    for (const folder of chosen) {
      await mail.folder(folder);
      const hashes: string[] = [];
      let [bytes, writtenCount] = [0, 0];
      for await (const message of exportedMessages(session.socketFile, { address, folder: folder.name, afterUid: 0 })) {
        stop.signal.throwIfAborted();
        if (await mail.message({ ...message.header, bytes: message.bytes })) writtenCount += 1;
        hashes.push(createHash('sha256').update(message.bytes).digest('hex'));
        bytes += message.bytes.length;
        show({
          phase: 'writing',
          messagesCount: (messagesCount += 1),
          sizeBytes: (sizeBytes += message.bytes.length),
          total,
        });
      }
      const sha256 = createHash('sha256').update(hashes.sort().join('\n')).digest('hex');
      done.push({ folder: folder.name, messagesCount: hashes.length, sizeBytes: bytes, writtenCount, sha256 });
    }
    await mail.close();
    return done;
  });
  session.print({ address, folders: results }, () =>
    [
      table([
        ['FOLDER', 'MESSAGES', 'BYTES', 'WRITTEN', 'SHA-256 OF ALL'],
        ...results.map((it) => [
          it.folder,
          String(it.messagesCount),
          String(it.sizeBytes),
          String(it.writtenCount),
          it.sha256,
        ]),
      ]),
      `Exported ${String(results.reduce((sum, it) => sum + it.messagesCount, 0))} messages (${sizeText(results.reduce((sum, it) => sum + it.sizeBytes, 0))}) of ${address}.\n`,
    ].join(''),
  );
}
