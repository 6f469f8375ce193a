/**
 * One client's session: its state, and what every command needs to do its work.
 *
 * S1  Commands run strictly one after the other; nobody else touches a session (RFC 9051 §5.5 allows more, we need
 *     none of it).
 * S2  The view and the mailbox are given back when the session ends, however it ends.
 * S3  The log gets the session's id, the peer's address and codes: never a name, a password or content.
 *
 * Made by connection.ts; the handlers in commands/*.ts are functions over it.
 */
import { ServerError } from '../base/errors.ts';
import type { Config } from '../config/schema.ts';
import type { MailboxId, OrganizationId } from '../base/ids.ts';
import type { LoginResult } from '../accounts/login-account.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';
import type { Mailbox } from '../mailbox/mailbox.ts';
import type { Mailboxes } from '../mailbox/mailboxes.ts';
import { SYSTEM_FLAGS } from '../mailbox/model.ts';
import type { Logger } from '../observe/logger.ts';
import type { SaslChannel } from '../sasl/exchange.ts';
import type { Sasl } from '../sasl/mechanisms.ts';
import type { Answer } from './answer.ts';
import { advertisedNames, nothingEnabled, type Enabled } from './extensions.ts';
import type { Output } from './output.ts';
import { failureAnswer, SyntaxFault, type ResponseCode } from './proto/codes.ts';
import type { ReaderEvent } from './proto/reader-events.ts';
import * as print from './proto/responses.ts';
import type { PrintContext } from './proto/strings.ts';
import type { FolderView } from './view.ts';

/** What the LOGIN command needs from accounts/login.ts. */
export type LoginService = Readonly<{
  /** Throws ServerError 'key-*', 'limit-exceeded'. */
  login(
    username: string,
    password: string,
    peer: Readonly<{ address: string; protocol?: string }>,
    signal?: AbortSignal,
  ): Promise<LoginResult>;
}>;

/** Which sessions: those of one mailbox, or of a whole organization. */
export type SessionSelection = Readonly<{ organization: OrganizationId; mailbox?: MailboxId | undefined }>;

export type SessionDeps = Readonly<{
  config: Config['imap'];
  login: LoginService;
  sasl: Pick<Sasl, 'names' | 'begin'>;
  /** Capabilities that an operator switched off for this mailbox, in upper case. */
  capabilitiesOff(mailbox: MailboxRef): readonly string[];
  mailboxes: Mailboxes;
  logger: Logger;
  /** How often a long command says that it goes on. Replaced by tests. */
  progressEveryMs?: number;
}>;

/** The connection as the handlers see it. */
export type Wire = Readonly<{
  id: string;
  out: Output;
  peerAddress: string;
  isLoopback: boolean;
  /** Fires when the client is gone. */
  signal: AbortSignal;
  isSecure(): boolean;
  /** What the TLS connection gives to SASL; without TLS nothing. */
  tlsChannel(): Pick<SaslChannel, 'binding' | 'certificateAddresses'>;
  /** The next thing that the client says; null when it is gone. */
  nextEvent(): Promise<ReaderEvent | null>;
  /** The next line, whatever it holds (after a `+`); null when there is none: too long, or the client is gone. */
  readLine(): Promise<string | null>;
  acceptLiteral(): void;
  refuseLiteral(): void;
  /** Larger commands, and no more hurry. */
  loggedIn(): void;
  /** As at the beginning: small commands, and a deadline. */
  loggedOut(): void;
  isCompressed(): boolean;
  /** Ends at once: for when the client can no longer follow the stream. */
  destroy(): void;
}>;

export type SessionState =
  | Readonly<{ kind: 'not-authenticated' }>
  | Readonly<{ kind: 'authenticated'; mailbox: Mailbox }>
  | Readonly<{ kind: 'selected'; mailbox: Mailbox; view: FolderView }>
  | Readonly<{ kind: 'logout' }>;

const SYSTEM_FLAG_NAMES: readonly string[] = SYSTEM_FLAGS.map(([name]) => name);

export class Session implements Disposable {
  readonly deps: SessionDeps;
  readonly wire: Wire;
  readonly logger: Logger;
  enabled: Enabled = nothingEnabled();
  /** Said by ID: a client that is known to stall under compression. */
  stallsCompressed = false;
  /** COMPRESS or UNAUTHENTICATE was answered: the connection does what follows from it. */
  wants: 'compression' | 'no-compression' | null = null;
  /** STARTTLS was answered: the handshake is next. */
  wantsTls = false;
  failedLoginsCount = 0;
  #state: SessionState = { kind: 'not-authenticated' };
  /** Capabilities that are switched off, in upper case. */
  #off: ReadonlySet<string>;

  constructor(deps: SessionDeps, wire: Wire) {
    this.deps = deps;
    this.wire = wire;
    this.logger = deps.logger.child({ session: wire.id });
    this.#off = offByConfig(deps);
  }

  get state(): SessionState {
    return this.#state;
  }

  get out(): Output {
    return this.wire.out;
  }

  get signal(): AbortSignal {
    return this.wire.signal;
  }

  /** How names and strings are written and read. */
  get context(): PrintContext {
    return { utf8: this.enabled.rev2 || this.enabled.utf8 };
  }

  /** Passwords are taken under TLS only, or from this machine where the operator allows it. */
  get mayLogin(): boolean {
    return this.wire.isSecure() || (this.deps.config.allowCleartextLogin && this.wire.isLoopback);
  }

  /** Where an exchange of AUTHENTICATE comes from. */
  get saslChannel(): SaslChannel {
    return { peer: { address: this.wire.peerAddress, protocol: 'imap' }, ...this.wire.tlsChannel() };
  }

  get off(): ReadonlySet<string> {
    return this.#off;
  }

  get capabilities(): readonly string[] {
    return advertisedNames({
      isLoggedIn: this.#state.kind !== 'not-authenticated',
      isSecure: this.wire.isSecure(),
      mayLogin: this.mayLogin,
      maxMessageBytes: this.deps.config.maxLiteralBytes,
      mechanisms:
        this.mayLogin && this.#state.kind === 'not-authenticated' ? this.deps.sasl.names(this.saslChannel) : [],
      mayCompress: !this.stallsCompressed && !this.wire.isCompressed(),
      off: this.#off,
    });
  }

  authenticate(mailbox: Mailbox): void {
    this.#state = { kind: 'authenticated', mailbox };
    this.#off = new Set([...this.#off, ...this.deps.capabilitiesOff(mailbox.ref)]);
    this.wire.loggedIn();
  }

  /** As before the login, but for TLS. RFC 8437 §2. */
  unauthenticate(): void {
    this.deselect();
    if (this.#state.kind !== 'authenticated') return;
    this.#state.mailbox[Symbol.dispose]();
    this.#state = { kind: 'not-authenticated' };
    this.enabled = nothingEnabled();
    this.stallsCompressed = false;
    this.#off = offByConfig(this.deps);
    this.wants = this.wire.isCompressed() ? 'no-compression' : null;
    this.wire.loggedOut();
  }

  /** Whether it is logged in to a mailbox of `selection`. */
  isOf(selection: SessionSelection): boolean {
    if (this.#state.kind !== 'authenticated' && this.#state.kind !== 'selected') return false;
    const { organization, mailbox } = this.#state.mailbox.ref;
    return organization === selection.organization && (selection.mailbox ?? mailbox) === mailbox;
  }

  /** Closes the selected folder, if any. */
  deselect(): void {
    if (this.#state.kind !== 'selected') return;
    this.#state.view[Symbol.dispose]();
    this.#state = { kind: 'authenticated', mailbox: this.#state.mailbox };
  }

  select(view: FolderView): void {
    this.deselect();
    if (this.#state.kind !== 'authenticated') throw new TypeError('not authenticated');
    view.isUidOnly = this.enabled.uidOnly;
    this.#state = { kind: 'selected', mailbox: this.#state.mailbox, view };
  }

  /** Says goodbye; the connection closes after what was written. RFC 9051 §7.1.5. */
  bye(text: string, code: ResponseCode | null = null): void {
    if (this.#state.kind === 'logout') return;
    this.out.write(print.untaggedLine('BYE', code, text));
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.deselect();
    if (this.#state.kind === 'authenticated') this.#state.mailbox[Symbol.dispose]();
    this.#state = { kind: 'logout' };
  }

  /** Switches CONDSTORE on: some commands do by what they ask for. RFC 7162 §3.1. */
  enableCondStore(): void {
    if (this.enabled.condStore) return;
    this.enabled.condStore = true;
    if (this.#state.kind !== 'selected') return;
    const { modSeq } = this.#state.view;
    this.out.write(print.untaggedLine('OK', { kind: 'HIGHESTMODSEQ', modSeq }, 'CONDSTORE is on'));
  }

  /** The answer to a failed command; logs what an operator should know. */
  failure(error: unknown): Answer {
    if (error instanceof SyntaxFault) return failureAnswer(error);
    if (error instanceof ServerError) this.logger.info('command failed', { code: error.code, detail: error.detail });
    else if (!this.signal.aborted) this.logger.error('command failed unexpectedly', { error });
    return failureAnswer(error);
  }

  /** Tells the client what changed in the selected folder, as far as the RFC allows at this point. */
  async sendUpdates(options: Readonly<{ mayExpunge: boolean; mustAsk?: boolean }>): Promise<void> {
    if (this.#state.kind !== 'selected') return;
    const { view } = this.#state;
    if (!options.mustAsk && !view.isStale(options.mayExpunge)) return;
    try {
      await this.#writeUpdate(view, await view.sync(options, this.signal));
    } catch (error) {
      if (error instanceof ServerError && error.code === 'not-found') this.bye('The selected folder was deleted');
      else if (error instanceof ServerError) this.logger.info('updates wait', { code: error.code });
      else throw error;
    }
  }

  /** FLAGS and PERMANENTFLAGS, with the keywords as they are now. Throws ServerError 'key-*'. */
  async writeFlagNames(view: FolderView): Promise<void> {
    const flags = [...SYSTEM_FLAG_NAMES, ...(await view.tellKeywords(this.signal))];
    this.out.write(print.flagsLine(flags));
    const code = { kind: 'PERMANENTFLAGS', flags: view.isReadOnly ? [] : flags, acceptsNew: !view.isReadOnly } as const;
    this.out.write(print.untaggedLine('OK', code, 'Flags that are kept'));
  }

  /** The names of new keywords come before the rows that have them; when their key is away, they wait for the next time. */
  async #writeUpdate(view: FolderView, update: Awaited<ReturnType<FolderView['sync']>>): Promise<void> {
    const { out, enabled } = this;
    let text = '';
    if (update.expunged.length > 0) {
      text += view.contexts.removalText(expungedPairs(update));
      if (enabled.qresync || enabled.uidOnly) text += print.vanishedLine(update.expungedUids, 'now');
      else for (const sequence of update.expunged) text += print.countLine(sequence, 'EXPUNGE');
    }
    if (update.exists !== null) text += print.countLine(update.exists, 'EXISTS');
    out.write(text);
    try {
      if (update.hasNewKeywords) await this.writeFlagNames(view);
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      this.logger.info('keyword names wait', { code: error.code });
    }
    text = '';
    for (const row of update.changed) {
      const items = [`FLAGS (${print.flagsText(row.flags)})`];
      if (!view.isUidOnly) items.unshift(`UID ${String(row.uid)}`);
      if (enabled.condStore) items.push(`MODSEQ (${String(row.modSeq)})`);
      text += print.fetchLine(view.responseHead(row.uid), items);
    }
    out.write(text);
    await this.#writeContexts(view, update.touched);
  }

  /** How the results that the client follows change; when a key is away, that waits for the next time. RFC 5267 §4.3. */
  async #writeContexts(view: FolderView, touched: readonly number[]): Promise<void> {
    if (this.#state.kind !== 'selected' || view.contexts.isEmpty) return;
    const { mailbox } = this.#state;
    const of = { folder: view.folder.id, touched, numberOf: (uid: number) => view.sequenceOf(uid) };
    try {
      this.out.write(await view.contexts.changeText(mailbox, of, this.signal));
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      this.logger.info('results wait', { code: error.code });
    }
  }
}

function offByConfig({ config }: SessionDeps): ReadonlySet<string> {
  return new Set(config.disabledCapabilities.map((name) => name.toUpperCase()));
}

/** The UIDs and numbers of what is expunged: both are given in order, one descending, one ascending. */
function expungedPairs({
  expunged,
  expungedUids,
}: Pick<Awaited<ReturnType<FolderView['sync']>>, 'expunged' | 'expungedUids'>): { uid: number; sequence: number }[] {
  const uids = expungedUids.flatMap(({ first, last }) =>
    Array.from({ length: last - first + 1 }, (_, at) => first + at),
  );
  return uids.map((uid, at) => ({ uid, sequence: expunged.at(-1 - at) ?? 0 }));
}
