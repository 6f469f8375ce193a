/**
 * What an outcome means for a recipient in the queue, and whether its sender is owed a report. Pure.
 *
 * ST1  A recipient that is deferred beyond the time of its message has failed. RFC 5321 §4.5.4.1.
 * ST2  A sender is told of failures and delays unless it asked not to be, of success only where it asked, and only where
 *      nobody after us tells it. RFC 3461 §4.1, §5.2.
 */
import type { ClaimedItem, ItemRecipient, Settlement } from '../queue/item.ts';
import type { NotifyOn } from '../queue/envelope.ts';
import { nextAttemptMs, owesDelayReport, type RetrySchedule } from '../queue/retry.ts';
import type { Outcome } from './outcome.ts';

type Moment = Readonly<{ nowMs: number; random: number }>;
const TIME_EXPIRED = '4.4.7';

export function settlementOf(
  schedule: RetrySchedule,
  { item, recipient, outcome }: Readonly<{ item: ClaimedItem; recipient: ItemRecipient; outcome: Outcome }>,
  moment: Moment,
): Settlement {
  const { attempt } = outcome;
  const of = { recipient: recipient.recipient, attempt };
  const asks = (on: NotifyOn): boolean => item.envelope.sender !== '' && asksFor(recipient, on);
  switch (outcome.kind) {
    case 'delivered':
      return { ...of, kind: 'delivered', owesReport: asks('success') && !outcome.isToldByRemote };
    case 'failed':
      return { ...of, kind: 'failed', owesReport: asks('failure') };
    case 'deferred': {
      const { acceptedAtMs, expiresAtMs } = item;
      const { delayReportedAtMs } = recipient;
      const state = { acceptedAtMs, expiresAtMs, attemptsCount: recipient.attemptsCount + 1, delayReportedAtMs };
      const nextAtMs = nextAttemptMs(schedule, state, moment);
      if (nextAtMs === null) {
        const expired = { ...attempt, status: TIME_EXPIRED };
        return { ...of, attempt: expired, kind: 'failed', owesReport: asks('failure') };
      }
      const isDelayOwed = recipient.report === 'none' && owesDelayReport(schedule, state, moment.nowMs);
      return { ...of, kind: 'deferred', nextAtMs, owesReport: isDelayOwed && asks('delay') };
    }
  }
}

/** Without NOTIFY failures and delays are told. */
function asksFor({ notify }: ItemRecipient, on: NotifyOn): boolean {
  return notify === null ? on !== 'success' : notify.includes(on);
}
