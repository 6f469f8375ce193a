/** The messages of the soak test: what is in them, and what their recipients' server does with them, follow from a seed. */
import { createHash } from 'node:crypto';

/** How the server treats a recipient: at first, or for good. The name stands in its address. */
export const FATES = [
  'ok',
  'ok',
  'ok',
  'ok',
  'grey', // 451 at RCPT, twice
  'perm', // 550 at RCPT, always
  'busy', // 451 at the end of the data, once
  'cut', // the connection is cut in the data, once
  'lost', // the connection is cut after the message was taken, once
  'mute', // no answer to RCPT, once
  'bad', // 554 at the end of the data, always
] as const;
export type Fate = (typeof FATES)[number];

export const DOMAINS_COUNT = 12;

/** Message `n`: one to three recipients in one or two domains. A fate that ends the session or the message stands alone. */
export function messageOf(seed: number, n: number): Readonly<{ recipients: readonly string[]; content: string }> {
  const bytes = createHash('sha256')
    .update(`${String(seed)} ${String(n)}`)
    .digest();
  const fate = FATES[(bytes[0] ?? 0) % FATES.length] ?? 'ok';
  const domainOf = (at: number): string => `d${String((bytes[at] ?? 0) % DOMAINS_COUNT)}.test`;
  const addressOf = (at: number, kind: Fate): string => `m${String(n)}r${String(at)}-${kind}@${domainOf(1 + at)}`;
  const alone = ['busy', 'cut', 'lost', 'mute', 'bad'].includes(fate);
  const more = alone ? [] : (['ok', 'grey', 'perm'] as const).slice(0, (bytes[5] ?? 0) % 3);
  const recipients = [addressOf(0, fate), ...more.map((kind, at) => addressOf(at + 1, kind))];
  const lines = `.${'x'.repeat(60)}\r\n..\r\n`.repeat(1 + ((bytes[6] ?? 0) % 40));
  return { recipients, content: `Subject: m${String(n)}\r\nMessage-ID: <m${String(n)}@example.org>\r\n\r\n${lines}` };
}

export function fateOf(address: string): Fate {
  return (/-(\w+)@/.exec(address)?.[1] ?? 'ok') as Fate;
}
