/**
 * Tells senders what became of their mail: failed, delayed, or passed on to where nobody tells (RFC 3461 §5, §6).
 *
 * RP1  A report is put into the queue in the transaction that notes it as made: each change of a recipient's state is
 *      told once, whenever the process is killed.
 * RP2  Nothing is ever told to the null reverse-path (RFC 5321 §4.5.5), and nobody asks for reports on reports.
 * RP3  One sender gets at most `REPORTS_MAX_COUNT` reports an hour; those beyond wait, and none is lost.
 * RP4  A message that required TLS is returned by its header only, and its report requires TLS, too. RFC 8689 §5.
 *
 * Called by worker.ts.
 */
import { ServerError } from '../base/errors.ts';
import { randomHexId } from '../base/ids.ts';
import { composeDsn, type ReportedRecipient } from '../delivery/dsn.ts';
import type { ClaimedItem, ItemRecipient } from '../queue/item.ts';
import type { Queue } from '../queue/queue.ts';

type ReportsDeps = Readonly<{ queue: Queue; hostname: string; nowMs(): number }>;

const REPORTS_MAX_COUNT = 200;
const WINDOW_MS = 3_600_000;
const SENDERS_MAX_COUNT = 10_000;
const RETURNED_MESSAGE_MAX_BYTES = 256 * 1024;
const RETURNED_HEADER_MAX_BYTES = 64 * 1024;
const ENVELOPE = { sender: '', envelopeId: null, returnContent: null, submitter: null } as const;

export class Reports {
  readonly #deps: ReportsDeps;
  readonly #sent = new Map<string, { sinceMs: number; count: number }>();

  constructor(deps: ReportsDeps) {
    this.#deps = deps;
  }

  /** Makes the reports that `item` owes. False when some must wait (RP3). Throws ServerError 'key-*', 'storage-*'. */
  async make(item: ClaimedItem, signal: AbortSignal): Promise<boolean> {
    for (const owed of ['final', 'delay'] as const) {
      const recipients = item.recipients.filter(({ report }) => report === owed);
      if (recipients.length === 0) continue;
      if (item.envelope.sender === '')
        await item.reported(recipients.map(({ recipient }) => recipient)); // RP2
      else if (!this.#mayTell(item.envelope.sender)) return false;
      else await this.#tell(item, recipients, signal);
    }
    return true;
  }

  async #tell(item: ClaimedItem, recipients: readonly ItemRecipient[], signal: AbortSignal): Promise<void> {
    const { queue, hostname, nowMs } = this.#deps;
    const { envelope } = item;
    const returned = await returnedPart(item, recipients, signal);
    const dsn = composeDsn({
      hostname,
      id: randomHexId(),
      nowMs: nowMs(),
      to: envelope.sender,
      arrivedAtMs: item.acceptedAtMs,
      expiresAtMs: item.expiresAtMs,
      envelopeId: envelope.envelopeId,
      recipients: recipients.map(reportedRecipient),
      returned: returned?.kind ?? null,
      isReturnedUtf8: envelope.isUtf8 && envelope.is8Bit,
    });
    const writer = await queue.newMessage(item.organization, signal);
    try {
      await writer.write(dsn.head);
      for (const piece of returned?.pieces ?? []) await writer.write(piece);
      await writer.write(dsn.tail);
      await writer.finish();
    } catch (error) {
      await writer.discard();
      throw error;
    }
    const is8Bit = dsn.is8Bit || (returned !== null && envelope.is8Bit);
    const isUtf8 = dsn.isUtf8 || (envelope.isUtf8 && envelope.is8Bit);
    await writer.commit({
      envelope: { ...ENVELOPE, is8Bit, isUtf8, requiresTls: envelope.requiresTls },
      recipients: [{ address: envelope.sender, originalRecipient: null, notify: [] }],
      reports: item.reportOf(recipients.map(({ recipient }) => recipient)), // RP1
    });
  }

  #mayTell(sender: string): boolean {
    const nowMs = this.#deps.nowMs();
    const known = this.#sent.get(sender);
    const entry = known && nowMs - known.sinceMs < WINDOW_MS ? known : { sinceMs: nowMs, count: 0 };
    if (entry.count >= REPORTS_MAX_COUNT) return false;
    entry.count += 1;
    this.#sent.delete(sender);
    this.#sent.set(sender, entry);
    const [oldest] = this.#sent.keys();
    if (oldest !== undefined && this.#sent.size > SENDERS_MAX_COUNT) this.#sent.delete(oldest);
    return true;
  }
}

function reportedRecipient(recipient: ItemRecipient): ReportedRecipient {
  const { address, originalRecipient, state, lastAttempt, lastAttemptAtMs } = recipient;
  const { status, code, text, remoteHost } = lastAttempt ?? { status: '4.0.0', code: null, text: '', remoteHost: null };
  const action = { failed: 'failed', waiting: 'delayed', delivered: 'relayed' } as const;
  return {
    action: action[state],
    address,
    originalRecipient,
    status,
    code,
    text,
    remoteHost,
    lastAttemptAtMs,
  };
}

type Returned = Readonly<{ kind: 'message' | 'header'; pieces: readonly Uint8Array[] }>;

/** Null when the message is damaged: its sender is told all the same. */
async function returnedPart(
  item: ClaimedItem,
  recipients: readonly ItemRecipient[],
  signal: AbortSignal,
): Promise<Returned | null> {
  const { returnContent, requiresTls } = item.envelope;
  const hasFailed = recipients.some(({ state }) => state === 'failed');
  const isWhole = returnContent === 'full' && hasFailed && !requiresTls && item.sizeBytes <= RETURNED_MESSAGE_MAX_BYTES;
  const pieces: Uint8Array[] = [];
  let sizeBytes = 0;
  try {
    for await (const piece of item.body(signal)) {
      pieces.push(piece);
      sizeBytes += piece.length;
      if (!isWhole && sizeBytes >= RETURNED_HEADER_MAX_BYTES) break;
    }
  } catch (error) {
    if (error instanceof ServerError && error.code === 'content-damaged') return null;
    throw error;
  }
  return isWhole ? { kind: 'message', pieces } : { kind: 'header', pieces: [headerOf(Buffer.concat(pieces))] };
}

/** Up to the empty line, or to the last whole line within the limit. */
function headerOf(bytes: Buffer): Buffer {
  const end = bytes.indexOf('\r\n\r\n');
  if (end >= 0 && end + 2 <= RETURNED_HEADER_MAX_BYTES) return bytes.subarray(0, end + 2);
  const cut = bytes.subarray(0, RETURNED_HEADER_MAX_BYTES);
  return cut.subarray(0, cut.lastIndexOf('\r\n') + 2);
}
