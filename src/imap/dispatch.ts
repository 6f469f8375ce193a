/**
 * From a command to its handler, as far as the state of the session allows it, and to its tagged line.
 *
 * D1  Every command is answered exactly once, whatever its handler throws.
 * D2  What changed in the selected folder is told before the tagged line; EXPUNGE not with FETCH, STORE and SEARCH
 *     by sequence number (RFC 9051 §7.5.1).
 *
 * Called by connection.ts.
 */
import { assertNever } from '../base/errors.ts';
import { happened } from '../observe/events.ts';
import { bad, no, ok, type Answer } from './answer.ts';
import { copyOrMove } from './commands/copy-move.ts';
import { cancelUpdates, searchFolders } from './commands/esearch.ts';
import { expungeMessages } from './commands/expunge.ts';
import { fetchMessages } from './commands/fetch.ts';
import { changeFolders } from './commands/folders.ts';
import { idle } from './commands/idle.ts';
import { list, listSubscribed } from './commands/list.ts';
import { authenticate, login, startTls } from './commands/login.ts';
import { metadata } from './commands/metadata.ts';
import { tellQuota } from './commands/quota.ts';
import { searchMessages } from './commands/search.ts';
import { closeFolder, openFolder, unselectFolder } from './commands/select.ts';
import { compress, enable, identify, logout, unauthenticate } from './commands/session.ts';
import { sortMessages, threadMessages } from './commands/sort.ts';
import { storeFlags } from './commands/store.ts';
import type { Command } from './proto/grammar.ts';
import * as print from './proto/responses.ts';
import type { Session } from './session.ts';

/** RFC 9585 §3 asks for ten seconds or more. */
const PROGRESS_EVERY_MS = 15_000;

/** Runs one command and writes its tagged line. */
export async function runCommand(session: Session, tag: string, command: Command): Promise<void> {
  let answer: Answer;
  const progress = tellsProgress(command)
    ? setInterval(sayInProgress, session.deps.progressEveryMs ?? PROGRESS_EVERY_MS, session, tag)
    : undefined;
  const startedMs = performance.now();
  try {
    answer = await handle(session, tag, command);
  } catch (error) {
    answer = session.failure(error);
  } finally {
    clearInterval(progress);
  }
  await session.sendUpdates({ mayExpunge: mayExpunge(command), mustAsk: asksForNews(command) });
  session.out.write(print.taggedLine(tag, answer.status, answer.code, answer.text));
  if (command.kind !== 'idle') {
    const durationMs = performance.now() - startedMs;
    happened('imap-command', { command: command.kind, status: answer.status, durationMs });
  }
}

/** Commands that may take long and say nothing but whole lines, so that another line fits in between. */
function tellsProgress({ kind }: Command): boolean {
  switch (kind) {
    case 'copy':
    case 'move':
    case 'search':
    case 'expunge':
    case 'rename':
    case 'delete':
    case 'select':
    case 'examine':
      return true;
    default:
      return false;
  }
}

/** RFC 9585 §4: so that neither the client nor something on the way gives up. */
function sayInProgress(session: Session, tag: string): void {
  if (session.signal.aborted || session.state.kind === 'logout' || session.off.has('INPROGRESS')) return;
  session.out.write(print.untaggedLine('OK', { kind: 'INPROGRESS', tag }, 'Still at work'));
}

function mayExpunge(command: Command): boolean {
  switch (command.kind) {
    case 'fetch':
    case 'store':
    case 'search':
    case 'sort':
    case 'thread':
      return command.byUid;
    default:
      return true;
  }
}

function asksForNews({ kind }: Command): boolean {
  return kind === 'noop' || kind === 'check' || kind === 'idle';
}

async function handle(session: Session, tag: string, command: Command): Promise<Answer> {
  switch (command.kind) {
    case 'capability':
      session.out.write(print.capabilityLine(session.capabilities));
      return ok('These are the capabilities');
    case 'noop':
      return ok('Done');
    case 'logout':
      return logout(session);
    case 'id':
      return identify(session, command);
    case 'unknown':
      return bad('Unknown command');
    case 'starttls':
    case 'authenticate':
    case 'login':
      return handleBeforeLogin(session, command);
    default:
      return handleAfterLogin(session, tag, command);
  }
}

type BeforeLogin = Extract<Command, { kind: 'starttls' | 'authenticate' | 'login' }>;

async function handleBeforeLogin(session: Session, command: BeforeLogin): Promise<Answer> {
  if (session.state.kind !== 'not-authenticated') return bad('Logged in already');
  switch (command.kind) {
    case 'starttls':
      return startTls(session);
    case 'login':
      return login(session, command);
    case 'authenticate':
      return authenticate(session, command);
    default:
      return assertNever(command);
  }
}

type AfterLogin = Exclude<
  Command,
  BeforeLogin | Readonly<{ kind: 'capability' | 'noop' | 'logout' | 'unknown' }> | Readonly<{ kind: 'id' }>
>;

async function handleAfterLogin(session: Session, tag: string, command: AfterLogin): Promise<Answer> {
  const { state } = session;
  if (state.kind === 'not-authenticated' || state.kind === 'logout') return bad('Log in first');
  switch (command.kind) {
    case 'enable':
      return enable(session, command);
    case 'compress':
      return compress(session, command);
    case 'unauthenticate':
      return unauthenticate(session);
    case 'namespace':
      session.out.write(print.namespaceLine());
      return ok('Done');
    case 'select':
    case 'examine':
      return openFolder(session, state.mailbox, command);
    case 'create':
    case 'delete':
    case 'rename':
    case 'subscribe':
    case 'unsubscribe':
    case 'status':
      return changeFolders(session, state.mailbox, command);
    case 'getquota':
    case 'getquotaroot':
      return tellQuota(session, state.mailbox, command);
    case 'getmetadata':
    case 'setmetadata':
      return session.off.has('METADATA') ? bad('Unknown command') : metadata(session, state.mailbox, command);
    case 'esearch':
      return searchFolders(session, state.mailbox, { ...command, tag });
    case 'list':
      return list(session, state.mailbox, command);
    case 'lsub':
      return listSubscribed(session, state.mailbox, command);
    case 'idle':
      return idle(session);
    default:
  }
  // RFC 9586 §3: also where no number is in the command, there would be some in its answer.
  if (session.enabled.uidOnly && 'byUid' in command && !command.byUid) {
    return { ...bad('Only UIDs are taken'), code: 'UIDREQUIRED' };
  }
  if (state.kind !== 'selected') return bad('Select a folder first');
  switch (command.kind) {
    case 'check':
      return ok('Done');
    case 'close':
      return closeFolder(session, state);
    case 'unselect':
      return unselectFolder(session);
    case 'fetch':
      return fetchMessages(session, state, command);
    case 'store':
      return isReadOnly(state) ?? storeFlags(session, state, command);
    case 'search':
      return searchMessages(session, state, { ...command, tag });
    case 'sort':
      return sortMessages(session, state, { ...command, tag });
    case 'cancelupdate':
      return cancelUpdates(state, command);
    case 'thread':
      return threadMessages(session, state, command);
    case 'copy':
      return copyOrMove(session, state, command);
    case 'move':
      return isReadOnly(state) ?? copyOrMove(session, state, command);
    case 'expunge':
      return isReadOnly(state) ?? expungeMessages(session, state, command);
    default:
      return assertNever(command);
  }
}

function isReadOnly({ view }: Extract<Session['state'], { kind: 'selected' }>): Answer | null {
  return view.isReadOnly ? no('The folder was opened read-only', 'READ-ONLY') : null;
}
