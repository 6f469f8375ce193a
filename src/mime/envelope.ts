/** The envelope of a message (RFC 9051 §7.5.2) from its header block. Called by scan.ts. */
import { parseAddressList } from './addresses.ts';
import type { Address, Envelope } from './body-structure.ts';
import { fieldValue, type HeaderField } from './headers.ts';

type AddressKey = 'from' | 'sender' | 'replyTo' | 'to' | 'cc' | 'bcc';
type TextKey = 'date' | 'subject' | 'inReplyTo' | 'messageId';

const ADDRESS_FIELDS: ReadonlyMap<string, AddressKey> = new Map([
  ['from', 'from'],
  ['sender', 'sender'],
  ['reply-to', 'replyTo'],
  ['to', 'to'],
  ['cc', 'cc'],
  ['bcc', 'bcc'],
]);
const TEXT_FIELDS: ReadonlyMap<string, TextKey> = new Map([
  ['date', 'date'],
  ['subject', 'subject'],
  ['in-reply-to', 'inReplyTo'],
  ['message-id', 'messageId'],
]);

/** How many addresses may still be taken; the caller shares one record among the messages of a tree. */
export type AddressBudget = { left: number };

/**
 * The envelope of a header block. Of a repeated text field the last counts, the addresses of
 * repeated address fields are put together; Sender and Reply-To without an address stand for From.
 */
export function buildEnvelope(block: string, fields: readonly HeaderField[], budget: AddressBudget): Envelope {
  const texts: Record<TextKey, string | null> = { date: null, subject: null, inReplyTo: null, messageId: null };
  const lists = new Map<AddressKey, Address[]>();
  for (const field of fields) {
    const textKey = TEXT_FIELDS.get(field.name);
    if (textKey !== undefined) {
      texts[textKey] = fieldValue(block, field);
      continue;
    }
    const addressKey = ADDRESS_FIELDS.get(field.name);
    if (addressKey === undefined || budget.left <= 0) continue;
    const addresses = parseAddressList(fieldValue(block, field), budget.left);
    budget.left -= addresses.length;
    const list = lists.get(addressKey);
    if (!list) lists.set(addressKey, addresses);
    else for (const address of addresses) list.push(address);
  }
  const listOf = (key: AddressKey): readonly Address[] | null => {
    const list = lists.get(key);
    return list && list.length > 0 ? list : null;
  };
  const from = listOf('from');
  return {
    ...texts,
    from,
    sender: listOf('sender') ?? from,
    replyTo: listOf('replyTo') ?? from,
    to: listOf('to'),
    cc: listOf('cc'),
    bcc: listOf('bcc'),
  };
}
