/**
 * The copy of a submitted message that goes to other hosts: one item of the queue, whatever the recipients.
 *
 * OC1  It is staged and stored as the copies of mailboxes are (deliver D2): `stored` is said when it is on disk.
 *
 * Made by deliver.ts.
 */
import type { QueuedEnvelope, QueuedRecipient } from '../queue/envelope.ts';
import type { QueueWriter } from '../queue/writer.ts';
import type { RecipientOutcome } from './deliver.ts';

export class OutboundCopy {
  /** Null while nothing has failed, and nothing is stored. */
  outcome: RecipientOutcome | null = null;
  readonly #writer: QueueWriter;
  readonly #recipients: QueuedRecipient[] = [];
  readonly #spellings = new Set<string>();
  #is8Bit = false;
  #isStaged = false;
  #isHandedOver = false;

  constructor(writer: QueueWriter) {
    this.#writer = writer;
  }

  /** Who is named twice gets it once, as was asked first. */
  add(recipient: QueuedRecipient): void {
    const spelling = spellingOf(recipient.address);
    if (this.#spellings.has(spelling)) return;
    this.#spellings.add(spelling);
    this.#recipients.push(recipient);
  }

  /** What fails is told by `outcome`; so for the following. */
  async write(chunk: Uint8Array): Promise<void> {
    this.#is8Bit ||= hasHighByte(chunk);
    await this.#attempt(() => this.#writer.write(chunk));
  }

  async stage(): Promise<void> {
    await this.#attempt(() => this.#writer.finish());
    this.#isStaged = this.outcome === null;
  }

  async store(envelope: Omit<QueuedEnvelope, 'is8Bit'>): Promise<void> {
    if (!this.#isStaged || this.outcome !== null) return;
    this.#isHandedOver = true; // the queue owns it, whatever becomes of it
    await this.#attempt(async () => {
      const item = await this.#writer.commit({
        envelope: { ...envelope, is8Bit: this.#is8Bit },
        recipients: this.#recipients,
      });
      this.outcome = { kind: 'stored', item };
    });
  }

  /** Discards what was not stored. Does not throw. */
  async close(): Promise<void> {
    if (this.#isHandedOver) return;
    await this.#writer.discard().catch(() => undefined); // the failure that led here has been told
  }

  async #attempt(work: () => Promise<void>): Promise<void> {
    if (this.outcome !== null) return;
    try {
      await work();
    } catch (error) {
      this.outcome = { kind: 'failed', error };
    }
  }
}

/** Only of the domain is it known that case does not matter: RFC 5321 §2.4. */
function spellingOf(address: string): string {
  const at = address.lastIndexOf('@');
  return address.slice(0, at) + address.slice(at).toLowerCase();
}

function hasHighByte(bytes: Uint8Array): boolean {
  for (const byte of bytes) if (byte > 0x7f) return true;
  return false;
}
