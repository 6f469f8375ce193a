/** Items of a FETCH answer that are short texts: from rows, and from summaries. RFC 9051 §7.5.2. Called by fetch*.ts. */
import type { MessageRow, MessageSummary } from '../../mailbox/model.ts';
import type { FetchItem } from '../proto/commands/fetch.ts';
import * as print from '../proto/responses.ts';
import type { PrintContext } from '../proto/strings.ts';
import { envelopeText, structureText } from '../proto/structure-text.ts';

const ROW_KINDS: ReadonlySet<FetchItem['kind']> = new Set(['flags', 'uid', 'size', 'modseq', 'save-date']);

/** Whether the row alone answers it, so that nothing need be opened. */
export function isOfRow(item: FetchItem): boolean {
  return ROW_KINDS.has(item.kind);
}

/** Texts of flag lists that many rows share. */
const flagTexts = new WeakMap<readonly string[], string>();

/** An item with its label, from a row. */
export function rowItemText(item: FetchItem, row: MessageRow): string {
  switch (item.kind) {
    case 'uid':
      return `UID ${String(row.uid)}`;
    case 'flags':
      return flagsItemText(row);
    case 'size':
      return `RFC822.SIZE ${String(row.sizeBytes)}`;
    case 'modseq':
      return `MODSEQ (${String(row.modSeq)})`;
    case 'save-date':
      return `SAVEDATE ${print.dateTimeText({ atMs: row.savedAtMs, zoneMinutes: 0 })}`;
    default:
      throw new TypeError(`${item.kind} is not of a row`);
  }
}

export function flagsItemText({ flags }: MessageRow): string {
  let text = flagTexts.get(flags);
  if (text === undefined) {
    text = `FLAGS (${print.flagsText(flags)})`;
    flagTexts.set(flags, text);
  }
  return text;
}

/** An item with its label, from a summary. */
export function textItemText(
  item: FetchItem,
  { internalDate, scanned }: MessageSummary,
  context: PrintContext,
): string {
  switch (item.kind) {
    case 'internal-date':
      return `INTERNALDATE ${print.dateTimeText(internalDate)}`;
    case 'envelope':
      return `ENVELOPE ${envelopeText(scanned.envelope, context)}`;
    case 'body':
      return `BODY ${structureText(scanned.root, 'body', context)}`;
    case 'body-structure':
      return `BODYSTRUCTURE ${structureText(scanned.root, 'body-structure', context)}`;
    default:
      throw new TypeError(`${item.kind} is not of a summary`);
  }
}
