/** Operations of an export: the command asks for the messages of a folder, opened, and writes them where its operator says. */
import { z } from 'zod';
import { uid } from '../../base/ids.ts';
import { ServerError } from '../../base/errors.ts';
import { frameHeader } from '../frames.ts';
import { operation, type AdminContext } from './context.ts';

const LAST_UID = 0xffff_ffff;

const folders = operation(z.strictObject({ address: z.string() }), async (input, context, signal) => {
  const { ref, address } = await context.accounts.mailboxes.require(input.address, signal);
  using mailbox = await context.openMailbox(ref, signal);
  const found = [];
  for (const { id, name, specialUse } of await mailbox.folders(signal)) {
    const { messageCount, sizeBytes } = await mailbox.status(id);
    found.push({ name, specialUse, messagesCount: messageCount, sizeBytes });
  }
  return { address, folders: found };
});

export const exportOperations = { 'export.folders': folders } as const;

export const exportRequest = z.strictObject({
  address: z.string(),
  folder: z.string(),
  afterUid: z.int().min(0).max(LAST_UID),
});
export type ExportRequest = z.input<typeof exportRequest>;
/** Before the bytes of a message. */
export type ExportHeader = Readonly<{
  uid: number;
  flags: readonly string[];
  atMs: number;
  zoneMinutes: number;
  sizeBytes: number;
}>;
/** The last frame: without it the stream was cut. */
export type ExportEnd = Readonly<{ isEnd: true; sizeBytes: 0 }>;

/** The messages of a folder above a UID, in frames. Throws ServerError 'not-found', 'key-*', 'content-damaged'. */
export async function* exportFrames(
  request: z.output<typeof exportRequest>,
  context: AdminContext,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const { ref } = await context.accounts.mailboxes.require(request.address, signal);
  using mailbox = await context.openMailbox(ref, signal);
  const folder = await mailbox.folder(request.folder, signal);
  if (!folder) throw new ServerError('not-found', { clientText: 'There is no folder of that name.' });
  const first = request.afterUid + 1;
  if (first <= LAST_UID) {
    for await (const batch of mailbox.messages(folder.id, [{ first: uid(first), last: LAST_UID }], signal)) {
      for (const message of batch) {
        signal.throwIfAborted();
        await message.renew(signal); // the command may have taken long over the one before
        const { uid: number, flags, sizeBytes } = message.row;
        const { atMs, zoneMinutes } = message.summary.internalDate;
        const header: ExportHeader = { uid: number, flags, atMs, zoneMinutes, sizeBytes };
        yield frameHeader(header);
        yield* message.range(0, sizeBytes);
      }
    }
  }
  const end: ExportEnd = { isEnd: true, sizeBytes: 0 };
  yield frameHeader(end);
}
