/** sealpost queue .. */
import type { Command } from 'commander';
import type { OperationAnswer } from '../operations.ts';
import { examples } from './organizations.ts';
import { openSession, type Session } from './session.ts';
import { confirmLoss, table, timeText, type Terminal } from './terminal.ts';

type Item = OperationAnswer<'queue.show'>;
type ChangeOptions = Readonly<{ all?: boolean; org?: string; yes?: boolean }>;
type Change = Readonly<{
  change: 'hold' | 'release' | 'retry' | 'expire' | 'remove';
  done: string;
  description: string;
}>;

const CHANGES: readonly Change[] = [
  { change: 'hold', done: 'Held', description: 'Keep mail from being sent until it is released.' },
  { change: 'release', done: 'Released', description: 'Let mail that was held go on as before.' },
  { change: 'retry', done: 'Due now', description: 'Try mail at once, held or not.' },
  {
    change: 'expire',
    done: 'Due for the last time',
    description: 'Try mail once more; what fails is returned to its sender.',
  },
  { change: 'remove', done: 'Removed', description: 'Destroy mail that was not sent. Nobody is told.' },
];
const NAMED_IN_WARNING_COUNT = 10;

export function addQueueCommands(program: Command, terminal: Terminal): void {
  const queue = program.command('queue').description('Mail that waits to be sent to other servers.');

  queue
    .command('list')
    .description('List the mail in the queue, the oldest first.')
    .option('--org <organization>', 'name or id; without it, all')
    .option('--limit <count>', 'how many at most', '1000')
    .addHelpText('after', examples('queue list', 'queue list --org Example --json'))
    .action(async (options: { org?: string; limit: string }, command: Command) => {
      const session = await openSession(command, terminal);
      const input = { organization: options.org, limitCount: Number(options.limit) };
      session.print(await session.ask('queue.list', input), ({ items, state }) => {
        const rows = items.map((it) => [
          it.item,
          stateText(it),
          sizeText(it.sizeBytes),
          timeText(it.acceptedAtMs),
          senderText(it),
          recipientsText(it),
        ]);
        const more = state.messagesCount > items.length ? `${String(state.messagesCount)} in all\n` : '';
        return `${table([['ITEM', 'STATE', 'SIZE', 'ACCEPTED', 'FROM', 'TO'], ...rows])}${more}`;
      });
    });

  queue
    .command('show')
    .description('Show a message in the queue: whom it is for, and what became of it so far.')
    .argument('<item>', 'its id')
    .addHelpText('after', examples('queue show 0f3c5a7e9b1d2f4a6c8e0b2d4f6a8c0e'))
    .action(async (item: string, _options: object, command: Command) => {
      const session = await openSession(command, terminal);
      session.print(await session.ask('queue.show', { item }), shownText);
    });

  for (const { change, done, description } of CHANGES) {
    const isLoss = change === 'remove';
    const one = queue
      .command(change)
      .description(description)
      .argument('[items...]', 'ids, as queue list shows them')
      .option('--all', 'everything in the queue')
      .option('--org <organization>', 'with --all: of one organization')
      .addHelpText(
        'after',
        examples(`queue ${change} 0f3c5a7e9b1d2f4a6c8e0b2d4f6a8c0e`, `queue ${change} --all --org Example`),
      );
    if (isLoss) one.option('--yes', 'do not ask');
    one.action(async (named: readonly string[], options: ChangeOptions, command: Command) => {
      const session = await openSession(command, terminal);
      const items = await itemsOf(session, named, options);
      if (items.length > 0 && isLoss) {
        const word = items.length === 1 ? (items[0]?.item ?? '') : String(items.length);
        await confirmLoss(terminal, { text: lossText(items), word, isConfirmed: options.yes === true });
      }
      const answer =
        items.length === 0
          ? { changedCount: 0, missing: [] }
          : await session.ask('queue.change', { change, items: items.map(({ item }) => item) });
      session.print(answer, ({ changedCount, missing }) => {
        const gone = missing.map((item) => `${item} was not there any more.\n`).join('');
        return `${done}: ${String(changedCount)}\n${gone}`;
      });
    });
  }
}

/** Throws AdminRequestError for an id that is not there. */
async function itemsOf(session: Session, named: readonly string[], options: ChangeOptions): Promise<readonly Item[]> {
  if (options.all === true) {
    const { items } = await session.ask('queue.list', { organization: options.org, limitCount: 10_000 });
    return items;
  }
  const items: Item[] = [];
  for (const item of new Set(named)) items.push(await session.ask('queue.show', { item }));
  return items;
}

function lossText(items: readonly Item[]): string {
  const lines = items
    .slice(0, NAMED_IN_WARNING_COUNT)
    .map((it) => `  ${it.item}  from ${senderText(it)} to ${recipientsText(it)}\n`);
  const more =
    items.length > NAMED_IN_WARNING_COUNT ? `  and ${String(items.length - NAMED_IN_WARNING_COUNT)} more\n` : '';
  return (
    `This destroys ${String(items.length)} ${items.length === 1 ? 'message that was' : 'messages that were'} accepted and not delivered:\n` +
    `${lines.join('')}${more}Neither sender nor recipients are told. To return them to their senders instead: sealpost queue expire`
  );
}

function shownText(it: Item): string {
  const recipients = (it.recipients ?? []).map((one) => {
    const next = one.nextAtMs === null ? '' : `next ${timeText(one.nextAtMs)}`;
    const { lastAttempt } = one;
    const last = lastAttempt ? `${lastAttempt.remoteHost ?? ''} ${lastAttempt.status} ${lastAttempt.text}`.trim() : '';
    return [one.address, one.state, `${String(one.attemptsCount)} attempts`, next, last];
  });
  const fields = table([
    ['item', it.item],
    ['organization', it.organization],
    ['state', stateText(it)],
    ['size', `${String(it.sizeBytes)} bytes`],
    ['accepted', timeText(it.acceptedAtMs)],
    ['last attempt', timeText(it.expiresAtMs)],
    ['from', senderText(it)],
  ]);
  return recipients.length > 0 ? `${fields}${table(recipients)}` : fields;
}

function stateText({ isHeld, sender }: Item): string {
  if (isHeld) return 'held';
  return sender === null ? 'sealed' : 'waiting';
}

function senderText({ sender }: Item): string {
  if (sender === null) return '(sealed)';
  return sender === '' ? '<>' : sender;
}

function recipientsText({ recipients }: Item): string {
  const [first, ...others] = (recipients ?? []).filter(({ state }) => state === 'waiting');
  if (!first) return recipients ? '' : '(sealed)';
  return others.length > 0 ? `${first.address} and ${String(others.length)} more` : first.address;
}

function sizeText(sizeBytes: number): string {
  return sizeBytes < 1024 ? String(sizeBytes) : `${String(Math.round(sizeBytes / 1024))}K`;
}
