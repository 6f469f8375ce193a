/**
 * A ledger of what was sent and what the server acknowledged, and the checks that follow from it.
 *
 * LG1  What was acknowledged is there once, byte-exact; what was not is there at most once.
 * LG2  Nothing else is there.
 * LG3  UIDs ascend, keep their message for ever, and UIDVALIDITY never changes.
 */
import { createHash } from 'node:crypto';
import type { ImapClient } from './wire.ts';
import { withoutTrace } from './wire.ts';

export type Sent = { readonly mailbox: string; readonly digest: string; isAcknowledged: boolean };
type KnownMailbox = { uidValidity: number; readonly digests: Map<number, string> };
export type LedgerCount = Readonly<{ sent: number; acknowledged: number; stored: number }>;

const ID_FIELD = /^X-Ledger: (\d+)\r$/m;

export class Ledger {
  readonly #sent = new Map<string, Sent>();
  readonly #known = new Map<string, KnownMailbox>();

  /** Before the first byte is sent. */
  sending(mailbox: string, message: Uint8Array): Sent {
    const entry: Sent = { mailbox, digest: digestOf(message), isAcknowledged: false };
    this.#sent.set(`${mailbox} ${entry.digest}`, entry);
    return entry;
  }

  get acknowledgedCount(): number {
    return [...this.#sent.values()].filter((entry) => entry.isAcknowledged).length;
  }

  /** Reads INBOX of each mailbox in full and throws on the first line of LG1 to LG3 that does not hold. */
  async verify(mailboxes: readonly string[], login: (mailbox: string) => Promise<ImapClient>): Promise<LedgerCount> {
    let stored = 0;
    for (const mailbox of mailboxes) {
      using client = await login(mailbox);
      const { uidValidity, exists } = await client.select('INBOX');
      const fetched = exists === 0 ? [] : await client.fetchAll();
      if (fetched.length !== exists) fail(mailbox, `${String(exists)} EXISTS, ${String(fetched.length)} fetched`);
      const known = this.#known.get(mailbox) ?? { uidValidity, digests: new Map<number, string>() };
      this.#known.set(mailbox, known);
      if (known.uidValidity !== uidValidity) fail(mailbox, 'UIDVALIDITY changed');
      this.#compare(mailbox, known, fetched);
      stored += fetched.length;
    }
    return { sent: this.#sent.size, acknowledged: this.acknowledgedCount, stored };
  }

  #compare(mailbox: string, known: KnownMailbox, fetched: readonly Readonly<{ uid: number; bytes: Buffer }>[]): void {
    const highest = Math.max(0, ...known.digests.keys());
    const times = new Map<string, number>();
    let last = 0;
    for (const { uid, bytes } of fetched) {
      if (uid <= last) fail(mailbox, `UID ${String(uid)} after ${String(last)}`);
      last = uid;
      const digest = digestOf(
        bytes.subarray(0, 12).toString('latin1') === 'Return-Path:' ? withoutTrace(bytes) : bytes,
      );
      if (!this.#sent.has(`${mailbox} ${digest}`)) {
        fail(
          mailbox,
          `UID ${String(uid)} (message ${ID_FIELD.exec(bytes.toString('latin1'))?.[1] ?? '?'}) was never sent`,
        );
      }
      times.set(digest, (times.get(digest) ?? 0) + 1);
      const before = known.digests.get(uid);
      if (before === undefined && uid <= highest) fail(mailbox, `UID ${String(uid)} was given a second time`);
      if (before !== undefined && before !== digest) fail(mailbox, `UID ${String(uid)} is another message now`);
      known.digests.set(uid, digest);
    }
    if (fetched.length !== known.digests.size) fail(mailbox, 'a message is gone that was there before');
    for (const entry of this.#sent.values()) {
      if (entry.mailbox !== mailbox) continue;
      const count = times.get(entry.digest) ?? 0;
      if (count > 1) fail(mailbox, `message ${entry.digest} is there ${String(count)} times`);
      if (entry.isAcknowledged && count === 0) fail(mailbox, `acknowledged message ${entry.digest} is lost`);
    }
  }
}

export function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Reproducible numbers, 0 <= n < 1. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b_79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A message nobody else has; `bytesCount` is about its length. */
export function ledgerMessage(number: number, bytesCount: number, random: () => number): Buffer {
  const head = `From: ledger@example.net\r\nTo: u@bench.test\r\nSubject: message ${String(number)}\r\nX-Ledger: ${String(number)}\r\n\r\n`;
  const line = `${Array.from({ length: 6 }, () => Math.floor(random() * 2 ** 32).toString(36)).join('.')}\r\n`;
  return Buffer.from(head + line.repeat(Math.max(1, Math.ceil((bytesCount - head.length) / line.length))));
}

function fail(mailbox: string, problem: string): never {
  throw new Error(`${mailbox}: ${problem}`);
}
