/**
 * Operations of an import: the command reads the source and sends its messages; the server says which it knows, seals the
 * others as they stream in, and reads them again from the disk.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { ServerError } from '../../base/errors.ts';
import type { ImportMessage, ImportRun } from '../../mailbox/imports.ts';
import type { Mailbox } from '../../mailbox/mailbox.ts';
import type { Folder, SpecialUse } from '../../mailbox/model.ts';
import { FrameReader } from '../frames.ts';
import { IMPORT_MAX_BYTES } from '../protocol.ts';
import { operation, type AdminContext } from './context.ts';

const MESSAGES_MAX_COUNT = 2000;
const SPECIAL_USES = ['All', 'Archive', 'Drafts', 'Flagged', 'Junk', 'Sent', 'Trash'] as const satisfies SpecialUse[];
const DATE_MAX_MS = 8_640_000_000_000_000;

const runId = z.string().regex(/^[0-9a-f]{32}$/);
const digest = z.string().regex(/^[0-9a-f]{64}$/);
const folderName = z.string().min(1).max(1000);
/** RFC 9051 §9: flag-keyword is an atom; of the system flags all but \\Recent may be set. */
const flag = z.string().regex(/^(\\(Answered|Flagged|Deleted|Seen|Draft)|[^\x00-\x20\x7f-\uffff(){%*"\\\]]{1,100})$/i);

const begin = operation(z.strictObject({ address: z.string() }), async (input, context, signal) => {
  const { ref, address } = await context.accounts.mailboxes.require(input.address, signal);
  using mailbox = await context.openMailbox(ref, signal);
  const folders = (await mailbox.folders(signal)).map(({ name, specialUse }) => ({ name, specialUse }));
  return { run: context.imports.begin(ref).id, address, folders };
});

/** Makes the folders that are missing, subscribed. */
const folders = operation(
  z.strictObject({
    run: runId,
    folders: z
      .array(z.strictObject({ name: folderName, specialUse: z.enum(SPECIAL_USES).nullable() }))
      .max(MESSAGES_MAX_COUNT),
  }),
  async (input, context, signal) => {
    using opened = await openRun(input.run, context, signal);
    let createdCount = 0;
    for (const { name, specialUse } of input.folders) {
      if (await opened.mailbox.folder(name, signal)) continue;
      await opened.mailbox.createFolder({ name, ...(specialUse ? { specialUse } : {}) }, signal);
      await opened.mailbox.subscribe(name, signal);
      createdCount += 1;
    }
    return { createdCount };
  },
);

/** For each message the note that it has from an earlier import, or null: then it is new. */
const check = operation(
  z.strictObject({
    run: runId,
    messages: z
      .array(z.strictObject({ folder: folderName, sha256: digest.optional(), place: digest.optional() }))
      .max(MESSAGES_MAX_COUNT),
  }),
  async (input, context, signal) => {
    using opened = await openRun(input.run, context, signal);
    return await opened.mailbox.claimKnown(opened.run, input.messages, signal);
  },
);

/** Reads what was imported into a folder again from the disk. */
const verify = operation(
  z.strictObject({ run: runId, folder: folderName, ids: z.array(z.int().min(1)).max(MESSAGES_MAX_COUNT) }),
  async (input, context, signal) => {
    using opened = await openRun(input.run, context, signal);
    return await opened.mailbox.readImported({ folder: input.folder, ids: input.ids }, signal);
  },
);

const end = operation(z.strictObject({ run: runId }), (input, context) => {
  context.imports.end(context.imports.require(input.run));
  return {};
});

/** From now on nothing counts as imported before. */
const forget = operation(z.strictObject({ address: z.string() }), async (input, context, signal) => {
  const { ref, address } = await context.accounts.mailboxes.require(input.address, signal);
  using mailbox = await context.openMailbox(ref, signal);
  context.imports.end(context.imports.begin(ref));
  return { address, forgottenCount: await mailbox.forgetImports() };
});

export const importOperations = {
  'import.begin': begin,
  'import.folders': folders,
  'import.check': check,
  'import.verify': verify,
  'import.end': end,
  'import.forget': forget,
} as const;

const batchHeader = z.strictObject({ run: runId, folder: folderName, sizeBytes: z.literal(0) });
const messageHeader = z.strictObject({
  flags: z.array(flag).max(100),
  atMs: z.int().min(-DATE_MAX_MS).max(DATE_MAX_MS),
  zoneMinutes: z.int().min(-1440).max(1440),
  place: digest.nullable(),
  sizeBytes: z.int().min(1).max(IMPORT_MAX_BYTES),
});
export type BatchHeader = z.input<typeof batchHeader>;
export type MessageHeader = z.input<typeof messageHeader>;
export type MessagesAnswer = Awaited<ReturnType<Mailbox['importMessages']>>;

/** A batch of messages for one folder: the frame that says which, then a frame for each message. */
export async function importBatch(
  source: AsyncIterable<Uint8Array>,
  context: AdminContext,
  signal: AbortSignal,
): Promise<MessagesAnswer> {
  const frames = new FrameReader(source);
  try {
    return await takeBatch(frames, context, signal);
  } catch (error) {
    await frames.drain();
    throw error;
  }
}

async function takeBatch(frames: FrameReader, context: AdminContext, signal: AbortSignal): Promise<MessagesAnswer> {
  const { run: id, folder: name } = checked(batchHeader, await frames.header());
  using opened = await openRun(id, context, signal);
  const { mailbox, run } = opened;
  const folder = await requireFolder(mailbox, name, signal);
  const messages: ImportMessage[] = [];
  try {
    for (let header = await frames.header(); header !== null; header = await frames.header()) {
      if (messages.length === MESSAGES_MAX_COUNT) {
        throw new ServerError('limit-exceeded', { clientText: 'Too many messages in one batch.' });
      }
      messages.push(await receive(mailbox, { header: checked(messageHeader, header), frames }, signal));
    }
  } catch (error) {
    for (const { prepared } of messages) await prepared.discard();
    throw error;
  }
  const requireCurrent = (): void => {
    context.imports.requireCurrent(run);
  };
  return await mailbox.importMessages(run, { folder, messages, requireCurrent }, signal);
}

async function receive(
  mailbox: Mailbox,
  { header, frames }: Readonly<{ header: z.output<typeof messageHeader>; frames: FrameReader }>,
  signal: AbortSignal,
): Promise<ImportMessage> {
  const { flags, place, atMs, zoneMinutes } = header;
  const writer = await mailbox.newMessage({ internalDate: { atMs, zoneMinutes } }, signal);
  try {
    const hash = createHash('sha256');
    for await (const piece of frames.body()) {
      hash.update(piece);
      await writer.write(piece);
    }
    return { prepared: await writer.finish(), flags, sha256: hash.digest('hex'), place };
  } catch (error) {
    await writer.discard();
    throw error;
  }
}

async function openRun(
  id: string,
  context: AdminContext,
  signal: AbortSignal,
): Promise<Disposable & Readonly<{ run: ImportRun; mailbox: Mailbox }>> {
  const run = context.imports.require(id);
  const mailbox = await context.openMailbox(run.ref, signal);
  return {
    run,
    mailbox,
    [Symbol.dispose]: () => {
      mailbox[Symbol.dispose]();
    },
  };
}

async function requireFolder(mailbox: Mailbox, name: string, signal: AbortSignal): Promise<Folder> {
  const folder = await mailbox.folder(name, signal);
  if (!folder) throw new ServerError('not-found', { clientText: 'There is no folder of that name.' });
  return folder;
}

/** Throws ServerError 'invalid-argument' that names the member at fault. */
function checked<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const where = result.error.issues.map((issue) => issue.path.map(String).join('.') || 'header').join(', ');
  throw new ServerError('invalid-argument', { clientText: `A frame of the import is not understood: ${where}.` });
}
