/** Numbered mail that is kept waiting, and how it is found again. */
import type { FolderId } from '../../src/base/ids.ts';
import type { Mailbox } from '../../src/mailbox/mailbox.ts';
import { mail } from '../support/messages.ts';

const PADDING = 'x'.repeat(997);

export async function keep(mailbox: Mailbox, n: number, lines = 1, isJunk = false): Promise<void> {
  const writer = await mailbox.newWaitingMessage({ internalDate: { atMs: n, zoneMinutes: 0 } });
  await writer.write(mail({ Subject: `number ${String(n)}` }, `${PADDING}\r\n`.repeat(lines)));
  await mailbox.keepWaiting(await writer.finish(), { isJunk });
}

/** The numbers in a folder, by UID; each message is read whole. */
export async function numbersIn(mailbox: Mailbox, folder: FolderId): Promise<number[]> {
  const numbers: number[] = [];
  for await (const batch of mailbox.messages(folder, [{ first: 1, last: 0xffff_ffff }])) {
    for (const message of batch) {
      const text = (await message.bytes(0, message.row.sizeBytes)).toString();
      numbers.push(Number(/^Subject: number (\d+)\r\n/.exec(text)?.[1]));
    }
  }
  return numbers;
}
