/** sealpost keyring .. */
import { open } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import { syncFolder } from '../../db/sync-folder.ts';
import { AdminRequestError } from '../client.ts';
import type { OperationAnswer } from '../operations.ts';
import { examples } from './organizations.ts';
import { openSession } from './session.ts';
import { newPassword, table, type Terminal } from './terminal.ts';

const CHANGES = [
  ['add', 'Add a key, for an organization with a root key of its own.', 'Added'],
  ['rotate', 'Give a key a new version: it wraps from now on, the older ones go on unwrapping.', 'Rotated'],
  ['enable', 'Let a disabled key serve again.', 'Enabled'],
  ['disable', 'Refuse the use of a key: within a minute nobody reads the mail under it.', 'Disabled'],
] as const;

export function addKeyringCommands(program: Command, terminal: Terminal): void {
  const keyring = program
    .command('keyring')
    .description('Root keys of the local keyring. Back up its file: without it the mail cannot be read.');

  keyring
    .command('list')
    .description('List the root keys with their state. No key material is shown.')
    .addHelpText('after', examples('keyring list', 'keyring list --json'))
    .action(async (_options: object, command: Command) => {
      const session = await openSession(command, terminal);
      session.print(await session.ask('keyring.list', {}), (all) =>
        table([
          ['ROOT KEY', 'STATE', 'VERSIONS', 'NEWEST'],
          ...all.map((it) => [it.rootKey, it.state, String(it.versionsCount), it.newestCreatedAt]),
        ]),
      );
    });

  for (const [name, description, done] of CHANGES) {
    keyring
      .command(name)
      .description(description)
      .argument('<key>', 'its name, with or without local:')
      .addHelpText('after', examples(`keyring ${name} archive`))
      .action(async (key: string, _options: object, command: Command) => {
        const session = await openSession(command, terminal);
        session.print(await session.ask(`keyring.${name}`, { key }), (it) => `${done} ${it.rootKey}.\n`);
      });
  }

  keyring
    .command('protect')
    .description('Seal the secrets in the keyring file with the configured passphrase, or with a new one.')
    .option('--change', 'change the passphrase: typed without echo, or the first line of standard input')
    .option('--passphrase-file <file>', 'read the new one from the first line of this file')
    .addHelpText('after', examples('keyring protect', 'keyring protect --change'))
    .action(async (options: { change?: boolean; passphraseFile?: string }, command: Command) => {
      const session = await openSession(command, terminal);
      const isChange = options.change === true || options.passphraseFile !== undefined;
      const chosen = isChange ? { newPassphrase: await newPassword(terminal, options.passphraseFile) } : {};
      session.print(await session.ask('keyring.protect', chosen), (it) => protectedText(it));
    });

  keyring
    .command('backup')
    .description('Write a copy of the keyring file, and stop the reminders. Keep the copy on another machine.')
    .argument('<file>', 'a file that does not exist yet')
    .addHelpText('after', examples('keyring backup /media/usb/sealpost-keyring.json'))
    .action(async (file: string, _options: object, command: Command) => {
      const session = await openSession(command, terminal);
      const copy = await session.ask('keyring.copy', {});
      await writeCopy(resolve(file), copy.text);
      const { at } = await session.ask('keyring.copied', { digest: copy.digest });
      const answer = { file: resolve(file), at, newestCreatedAt: copy.newestCreatedAt, isProtected: copy.isProtected };
      session.print(answer, (it) => {
        const note = it.isProtected
          ? 'It opens the mail together with its passphrase: keep them apart.'
          : 'Whoever has it, and the mail, can read the mail. See also: sealpost keyring protect';
        return `Wrote ${it.file}, with root keys up to ${it.newestCreatedAt}. Keep it on another machine.\n${note}\n`;
      });
    });
}

type Protected = OperationAnswer<'keyring.protect'>;

function protectedText({ file, keysCount, versionsCount, isChanged }: Protected): string {
  const lines = [
    `Sealed ${file} with the ${isChanged ? 'new ' : ''}passphrase: keys ${String(keysCount)}, versions ${String(versionsCount)}.`,
    ...(isChanged ? ['Give the new passphrase to the configuration now: the next start needs it.'] : []),
    `Older copies of the file ${isChanged ? 'open with the old passphrase' : 'are not sealed'}: make a new one (sealpost keyring backup FILE) and destroy them.`,
  ];
  return `${lines.join('\n')}\n`;
}

/** On disk, for its owner only, when it resolves. Throws AdminRequestError. */
async function writeCopy(file: string, text: string): Promise<void> {
  try {
    {
      await using handle = await open(file, 'wx', 0o600);
      await handle.writeFile(text);
      await handle.sync();
    }
    await syncFolder(dirname(file));
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown';
    const reason = code === 'EEXIST' ? 'it exists already' : code;
    throw new AdminRequestError('invalid-argument', `The copy ${file} cannot be written: ${reason}.`, { cause });
  }
}
