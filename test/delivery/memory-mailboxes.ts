/** Mailboxes in memory behind the types that delivery uses, with faults to order and a ledger of what happened. */
import { folderId, mailboxId, modSeq, organizationId, uid, type FolderId } from '../../src/base/ids.ts';
import { ServerError, type ErrorCode } from '../../src/base/errors.ts';
import type { Resolution } from '../../src/accounts/addresses.ts';
import { Delivery } from '../../src/delivery/deliver.ts';
import type { MailboxRef } from '../../src/keys/mailbox-keys.ts';
import type { PreparedMessage } from '../../src/mailbox/append.ts';

export type Step =
  'open' | 'newMessage' | 'newWaitingMessage' | 'write' | 'finish' | 'folder' | 'append' | 'keepWaiting';

const [INBOX_ID, JUNK_ID] = [folderId(1), folderId(2)];
export const NOW_MS = Date.UTC(2026, 10, 23, 9, 5, 7);

export function refOf(user: string): MailboxRef {
  const hex = Buffer.from(user).toString('hex').padEnd(32, '0').slice(0, 32);
  return { organization: organizationId('0'.repeat(32)), mailbox: mailboxId(hex) };
}

function userOf(ref: MailboxRef): string {
  return Buffer.from(ref.mailbox, 'hex').toString().replaceAll('\0', '');
}

export class MemoryMailboxes {
  /** What was appended, in order. */
  readonly stored: { user: string; folder: 'inbox' | 'junk'; bytes: Buffer; subject: string | undefined }[] = [];
  /** What was kept waiting, in order. */
  readonly waiting: { user: string; bytes: Buffer; isJunk: boolean }[] = [];
  readonly adoptedSoon: string[] = [];
  readonly faults = new Map<string, ErrorCode>();
  readonly gates = new Map<Step, Promise<unknown>>();
  openHandles = 0;
  openWriters = 0;
  appendsStarted = 0;

  /** Lets `step` of `user`'s mailbox fail from now on. */
  fail(user: string, step: Step, code: ErrorCode): void {
    this.faults.set(`${user} ${step}`, code);
  }

  async open(ref: MailboxRef) {
    await this.#step(userOf(ref), 'open');
    return this.openWithoutKey(ref);
  }

  async openWithoutKey(ref: MailboxRef) {
    const user = userOf(ref);
    this.openHandles += 1;
    const begun = (options: { scanned?: () => unknown }) => this.#writer(user, options);
    return {
      [Symbol.dispose]: () => void (this.openHandles -= 1),
      folder: async () => {
        await this.#step(user, 'folder');
        return { id: INBOX_ID, name: 'INBOX', specialUse: null, uidValidity: 1 };
      },
      junkFolder: async () => ({ id: JUNK_ID, name: 'Junk', specialUse: 'Junk' as const, uidValidity: 1 }),
      newMessage: async (options: { scanned?: () => unknown }) => {
        await this.#step(user, 'newMessage');
        return begun(options);
      },
      newWaitingMessage: async (options: { scanned?: () => unknown }) => {
        await this.#step(user, 'newWaitingMessage');
        return begun(options);
      },
      hasBody: () => false,
      adoptWaiting: async () => ({ adoptedCount: 0, leftCount: 0 }),
      keepWaiting: async (prepared: PreparedMessage, { isJunk }: { isJunk: boolean }) => {
        const { bytes, end } = prepared as unknown as { bytes: Buffer; end(): void };
        end();
        await this.#step(user, 'keepWaiting');
        this.waiting.push({ user, bytes, isJunk });
      },
      append: async (target: { folder: FolderId; messages: readonly { prepared: PreparedMessage }[] }) => {
        this.appendsStarted += 1;
        const uids = [];
        for (const { prepared } of target.messages) {
          const { bytes, end } = prepared as unknown as { bytes: Buffer; end(): void };
          try {
            await this.#step(user, 'append');
          } finally {
            end();
          }
          const folder = target.folder === JUNK_ID ? 'junk' : 'inbox';
          this.stored.push({ user, folder, bytes, subject: /^Subject: (.*)\r$/m.exec(bytes.toString('latin1'))?.[1] });
          uids.push(uid(this.stored.length));
        }
        return { uidValidity: 1, uids, highestModSeq: modSeq(1) };
      },
    };
  }

  #writer(user: string, options: { scanned?: () => unknown }) {
    this.openWriters += 1;
    let isOpen = true;
    const end = () => {
      if (isOpen) this.openWriters -= 1;
      isOpen = false;
    };
    const chunks: Buffer[] = [];
    return {
      write: async (chunk: Uint8Array) => {
        if (!isOpen) throw new Error('write after the end');
        await this.#step(user, 'write');
        chunks.push(Buffer.from(chunk));
      },
      finish: async () => {
        await this.#step(user, 'finish');
        const bytes = Buffer.concat(chunks);
        const scanned = options.scanned?.() as { envelope?: { subject?: unknown } } | undefined;
        if (!scanned) throw new Error('no structure');
        return { bytes, end, discard: async () => end() } as unknown as PreparedMessage;
      },
      discard: async () => end(),
    };
  }

  async #step(user: string, step: Step): Promise<void> {
    await this.gates.get(step);
    const code = this.faults.get(`${user} ${step}`);
    if (code) throw new ServerError(code, { clientText: 'ordered fault', retryable: true });
  }
}

/** `bob`, `eve`, .. at example.org; `b.alias` is bob too; `gone` is suspended; `broken` has no directory. */
export const memoryAddresses = {
  localDomains: () => ['example.org'],
  resolveRecipient: async (address: string): Promise<Resolution> => {
    const at = address.lastIndexOf('@');
    const [local, domain] = [address.slice(0, at).toLowerCase(), address.slice(at + 1).toLowerCase()];
    if (domain !== 'example.org' && domain !== 'mx.example.org') return { kind: 'unknown-domain' };
    if (local === 'gone') return { kind: 'suspended' };
    if (local === 'broken') throw new ServerError('key-unavailable', { clientText: 'x', retryable: true });
    if (local === 'b.alias') return { kind: 'mailbox', ref: refOf('bob'), keyKind: 'symmetric' };
    const isKnown = /^(?:bob|eve|joe|postmaster|u\d+|jos\u00e9)$/.test(local);
    return isKnown ? { kind: 'mailbox', ref: refOf(local), keyKind: 'symmetric' } : { kind: 'unknown-user' };
  },
};

/** For deliveries that check nothing. */
export const NO_CHECKS = { begin: () => null, gateFor: () => null };

export function memoryDelivery(checks: ConstructorParameters<typeof Delivery>[0]['checks'] = NO_CHECKS) {
  const mailboxes = new MemoryMailboxes();
  const delivery = new Delivery({
    mailboxes,
    checks,
    addresses: memoryAddresses,
    waiting: { note: (_ref, keep) => keep() },
    adoptSoon: ({ mailbox }) => void mailboxes.adoptedSoon.push(mailbox),
    hostname: 'mx.example.org',
    nowMs: () => NOW_MS,
  });
  return { mailboxes, delivery };
}
