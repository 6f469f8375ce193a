/** Messages for tests, and the shortest ways to put them into a mailbox and to get them out. */
import type { FolderId, Uid } from '../../src/base/ids.ts';
import type { Mailbox } from '../../src/mailbox/mailbox.ts';

export function mail(fields: Readonly<Record<string, string>>, body: string): Buffer {
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(`${lines.join('')}\r\n${body}`);
}

export async function appendTo(
  mailbox: Mailbox,
  folder: FolderId,
  message: Uint8Array,
  options: Readonly<{ flags?: readonly string[]; atMs?: number; zoneMinutes?: number; chunkBytes?: number }> = {},
): Promise<Uid> {
  const { flags = [], atMs = 0, zoneMinutes = 0, chunkBytes = 65_536 } = options;
  const writer = await mailbox.newMessage({ internalDate: { atMs, zoneMinutes } });
  for (let at = 0; at < message.length; at += chunkBytes) await writer.write(message.subarray(at, at + chunkBytes));
  const { uids } = await mailbox.append({ folder, messages: [{ prepared: await writer.finish(), flags }] });
  const [first] = uids;
  if (first === undefined) throw new Error('no UID was given');
  return first;
}

export async function bytesOf(mailbox: Mailbox, folder: FolderId, uid: Uid): Promise<Buffer> {
  using message = await mailbox.message(folder, uid);
  if (!message) throw new Error(`there is no message ${String(uid)}`);
  return await message.bytes(0, message.row.sizeBytes); // awaited, or `using` would close it first
}

export async function folderIdOf(mailbox: Mailbox, name: string): Promise<FolderId> {
  const folder = await mailbox.folder(name);
  if (!folder) throw new Error(`there is no folder ${name}`);
  return folder.id;
}

export async function flatten<T>(batches: AsyncIterable<readonly T[]>): Promise<T[]> {
  const all: T[] = [];
  for await (const batch of batches) all.push(...batch);
  return all;
}
