/** sealpost snapshot, sealpost apply: an installation as a file. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { AdminRequestError } from '../client.ts';
import type { DeclaredState, Plan, Step } from '../declared-state.ts';
import { examples } from './organizations.ts';
import { openSession, type Session } from './session.ts';
import { confirmLoss, type Terminal } from './terminal.ts';

export function addApplyCommands(program: Command, terminal: Terminal): void {
  program
    .command('snapshot')
    .description(
      'Print organizations, domains, mailboxes, aliases and quotas as a file for sealpost apply. No passwords.',
    )
    .addHelpText('after', examples('snapshot > installation.json'))
    .action(async (_options: object, command: Command) => {
      const session = await openSession(command, terminal);
      session.print(await currentState(session), (state) => `${JSON.stringify(state, null, 2)}\n`);
    });

  program
    .command('apply')
    .description('Bring the installation to what a file says; prints the plan first. Deletes no mail.')
    .argument('<file>', 'as sealpost snapshot prints it')
    .option('--yes', 'do it without being asked')
    .option('--plan', 'print the plan only')
    .addHelpText('after', examples('apply installation.json --plan', 'apply installation.json --yes'))
    .action(async (file: string, options: { yes?: boolean; plan?: boolean }, command: Command) => {
      const session = await openSession(command, terminal);
      const { parseState, planOf } = await import('../declared-state.ts');
      const wanted = read(file, parseState);
      const plan = planOf(await currentState(session), wanted);
      if (options.plan === true || plan.steps.length === 0) {
        session.print({ ...plan, isDone: plan.steps.length === 0 }, () => planText(plan));
        return;
      }
      const text = planText(plan).trimEnd();
      await confirmLoss(terminal, { text, word: 'yes', isConfirmed: options.yes === true });
      if (options.yes === true) terminal.writeError(`${text}\n`);
      for (const step of plan.steps) await run(session, step);
      session.print({ ...plan, isDone: true }, () => `Done: ${String(plan.steps.length)} changes.\n`);
    });
}

async function currentState(session: Session): Promise<DeclaredState> {
  const organizations: DeclaredState['organizations'] = [];
  for (const { id, name, state, provider, rootKey } of await session.ask('org.list', {})) {
    if (name === null)
      throw new AdminRequestError(
        'key-unavailable',
        `The name of organization ${id} cannot be read while its key cannot be used.`,
      );
    const domains = (await session.ask('domain.list', { organization: id })).map((domain) => ({
      name: domain.name,
      state: shown(domain.state),
    }));
    const mailboxes: DeclaredState['organizations'][number]['mailboxes'] = [];
    let after: string | undefined;
    for (;;) {
      const page = await session.ask('mailbox.list', { organization: id, after });
      for (const it of page) {
        const { address, displayName, keyKind, aliases } = it;
        const { maxBytes, maxMessagesCount } = await session.ask('mailbox.quota', { address });
        mailboxes.push({
          address,
          displayName,
          state: shown(it.state),
          keyKind,
          maxBytes,
          maxMessagesCount,
          aliases: [...aliases].sort(),
        });
      }
      after = page.at(-1)?.ref.mailbox;
      if (after === undefined) break;
    }
    mailboxes.sort((a, b) => (a.address < b.address ? -1 : 1));
    organizations.push({ name, provider, rootKey, state: shown(state), domains, mailboxes });
  }
  return { organizations: organizations.sort((a, b) => (a.name < b.name ? -1 : 1)) };
}

/** What is being deleted counts as suspended. */
function shown(state: string): 'active' | 'suspended' {
  return state === 'active' ? 'active' : 'suspended';
}

function read(file: string, parse: (text: string) => DeclaredState): DeclaredState {
  try {
    return parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    const reason = cause instanceof SyntaxError ? cause.message : ((cause as NodeJS.ErrnoException).code ?? 'unknown');
    throw new AdminRequestError('invalid-argument', `${file} cannot be used: ${reason}`, { cause });
  }
}

async function run(session: Session, step: Step): Promise<void> {
  try {
    await session.ask(step.name, step.input);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new AdminRequestError('incomplete', `Could not ${step.text}: ${reason}\nWhat came before it is done.`, {
      cause,
    });
  }
}

function planText({ steps, notes }: Plan): string {
  const lines = [...steps.map(({ text }) => `  ${text}`), ...notes.map((note) => `  note: ${note}`)];
  const head = steps.length === 0 ? 'Nothing has to be changed.' : `${String(steps.length)} changes:`;
  return `${[head, ...lines].join('\n')}\n`;
}
