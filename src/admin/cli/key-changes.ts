/** sealpost key move, sealpost key rotate: begin a change in the server and follow it. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { AdminRequestError } from '../client.ts';
import type { OperationAnswer } from '../operations.ts';
import { examples } from './organizations.ts';
import { openSession, type Session } from './session.ts';
import type { Terminal } from './terminal.ts';

type State = OperationAnswer<'key.change'>;
type MoveOptions = Readonly<{ org?: string; provider?: 'local-keyring' | 'aws-kms' | 'vault-transit'; key?: string }>;

const POLL_MS = 250;
const GOES_ON =
  '\nIt runs in the server, while mail is read and delivered, and goes on there when this command is interrupted.\n' +
  'The same command follows it again, or takes up what a stop of the server cut short. Progress comes one line at a time.\n';

export function addKeyChangeCommands(key: Command, terminal: Terminal): void {
  key
    .command('move')
    .description('Move an organization to another root key or key service: all its keys are wrapped anew.')
    .option('--org <organization>', 'name or id; not needed while there is only one')
    .option('--provider <kind>', 'key service: local-keyring, aws-kms or vault-transit (default: the present one)')
    .option('--key <name>', 'root key of that key service (default: the newest version of the present one)')
    .addHelpText('after', GOES_ON)
    .addHelpText(
      'after',
      examples('key move --org Example --provider aws-kms --key alias/mail', 'key move --org Example'),
    )
    .action(async (options: MoveOptions, command: Command) => {
      const session = await openSession(command, terminal);
      const { org: organization, provider, key: rootKey } = options;
      await follow(session, await session.ask('key.move', { organization, provider, rootKey }));
    });

  key
    .command('rotate')
    .description('Give a mailbox, or each of an organization, a new key. No message body is written again.')
    .argument('[mailbox]', 'an address of it')
    .option('--org <organization>', 'name or id: all its mailboxes')
    .addHelpText('after', GOES_ON)
    .addHelpText('after', examples('key rotate ann@example.org', 'key rotate --org Example --json'))
    .action(async (address: string | undefined, options: { org?: string }, command: Command) => {
      const session = await openSession(command, terminal);
      await follow(session, await session.ask('key.rotate', { address, organization: options.org }));
    });

  key
    .command('verify')
    .description(
      'Open every wrapped key of an organization, under each of its root keys. The server does so daily, too.',
    )
    .option('--org <organization>', 'name or id; not needed while there is only one')
    .addHelpText('after', examples('key verify', 'key verify --org Example'))
    .action(async (options: { org?: string }, command: Command) => {
      const session = await openSession(command, terminal);
      await follow(session, await session.ask('key.verify', { organization: options.org }));
    });

  addSecondKeyCommands(key, terminal);
}

type SecondOptions = Readonly<{ org?: string; provider: NonNullable<MoveOptions['provider']>; key: string }>;

function addSecondKeyCommands(key: Command, terminal: Terminal): void {
  const second = key
    .command('second')
    .description(
      'A second root key for an organization: it wraps the same keys, so that the loss of one loses nothing.',
    );

  second
    .command('set')
    .description('Wrap all keys of an organization under a second root key too, and every new one.')
    .option('--org <organization>', 'name or id; not needed while there is only one')
    .requiredOption('--provider <kind>', 'key service: local-keyring, aws-kms or vault-transit')
    .requiredOption('--key <name>', 'root key of that key service, better in another region or another place')
    .addHelpText('after', GOES_ON)
    .addHelpText('after', examples('key second set --org Example --provider aws-kms --key alias/mail-second'))
    .action(async (options: SecondOptions, command: Command) => {
      const session = await openSession(command, terminal);
      const { org: organization, provider, key: rootKey } = options;
      await follow(session, await session.ask('key.second.set', { organization, provider, rootKey }));
    });

  second
    .command('remove')
    .description('Have only the first root key again. What the second one wraps is removed, and its grant revoked.')
    .option('--org <organization>', 'name or id; not needed while there is only one')
    .addHelpText('after', examples('key second remove --org Example'))
    .action(async (options: { org?: string }, command: Command) => {
      const session = await openSession(command, terminal);
      session.print(
        await session.ask('key.second.remove', { organization: options.org }),
        (it) => `Removed ${String(it.keysCount)} wrappings under ${it.provider} ${it.rootKey}.\n`,
      );
    });
}

/** Prints how far it is, whenever that has changed, until it ends. Throws AdminRequestError when it failed. */
async function follow(session: Session, begun: State): Promise<void> {
  let shown: State | null = null;
  for (let state = begun; ; state = await session.ask('key.change', { id: begun.id })) {
    if (shown?.doneCount !== state.doneCount || shown.state !== state.state) session.print(state, progressLine);
    shown = state;
    if (state.state === 'failed') throw new AdminRequestError('failed', state.failure ?? 'The change failed.');
    if (state.state === 'done') return;
    await sleep(POLL_MS);
  }
}

function progressLine(state: State): string {
  const { unit, doneCount, totalCount, messagesCount, isResumed } = state;
  const count = `${String(doneCount)}/${String(totalCount)} ${unit}`;
  const rate = `${String(state.ratePerSecond)}/s`;
  const tookSeconds = (state.elapsedMs / 1000).toFixed(1);
  switch (state.state) {
    case 'running': {
      const left = state.remainingMs === null ? '' : `, ${String(Math.ceil(state.remainingMs / 1000))} s left`;
      return `${count}, ${rate}${left}\n`;
    }
    case 'failed':
      return `${count}, failed after ${tookSeconds} s\n`;
    case 'done': {
      const messages = state.kind === 'rotate' ? `, ${String(messagesCount)} message keys wrapped anew` : '';
      const resumed = isResumed ? 'This ended a change that was begun earlier; to begin another, run it again.\n' : '';
      return `${count}, done in ${tookSeconds} s, ${rate}${messages}\n${resumed}`;
    }
  }
}
