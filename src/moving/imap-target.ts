/**
 * Mail pushed to an IMAP server. What is there already, by Message-ID, size and arrival, is not sent again: each message
 * there stands for one of ours, so that a push that was stopped goes on where it was. Invariants: target.ts, MO2.
 */
import type { ImapFlow } from 'imapflow';
import { headerText, headerValues } from './message-text.ts';
import { accountFolders, ImapConnection, type ImapAccount, type ServerFolder } from './imap-account.ts';
import { SourceError } from './source.ts';
import type { ExportedFolder, ExportedMessage, MailTarget } from './target.ts';

const MESSAGE_ID = new Set(['message-id']);
const PUSH_FLAGS = /^(\\(Answered|Flagged|Deleted|Seen|Draft)|[^\\].*)$/i;

/** Connects and lists the folders. Throws SourceError. */
export async function openImapTarget(account: ImapAccount, signal: AbortSignal): Promise<MailTarget> {
  const connection = new ImapConnection(account);
  const folders = await connection.run(null, accountFolders, signal);
  const there = new Map<string, number>();
  let path = '';
  return {
    folder: (folder) =>
      connection.run(
        null,
        async (client) => {
          path = await folderAt(client, folders, folder);
          await readThere(client, path, there);
        },
        signal,
      ),
    message: async (message) => {
      const key = keyOf(message);
      const count = there.get(key) ?? 0;
      if (count > 0) {
        there.set(key, count - 1);
        return false;
      }
      const { bytes, flags, atMs } = message;
      const wanted = flags.filter((flag) => PUSH_FLAGS.test(flag));
      const done = await connection.run(null, (client) => client.append(path, bytes, wanted, new Date(atMs)), signal);
      if (done === false) throw new SourceError(`The server did not take a message into ${path}.`);
      return true;
    },
    close: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => connection[Symbol.asyncDispose](),
  };
}

/** The server's folder for the same use, or of that name; made and subscribed when there is none. */
async function folderAt(client: ImapFlow, folders: readonly ServerFolder[], wanted: ExportedFolder): Promise<string> {
  const levels = wanted.name.split('/');
  const same = folders.find(
    (folder) =>
      (wanted.specialUse !== null && folder.specialUse === wanted.specialUse) || folder.path.join('/') === wanted.name,
  );
  if (same) return same.serverPath;
  const { path } = await client.mailboxCreate(levels);
  await client.mailboxSubscribe(path);
  return path;
}

async function readThere(client: ImapFlow, path: string, there: Map<string, number>): Promise<void> {
  there.clear();
  const { exists } = await client.mailboxOpen(path, { readOnly: true });
  if (exists === 0) return;
  const query = { uid: true, size: true, internalDate: true, headers: ['message-id'] };
  for await (const { size = 0, internalDate, headers } of client.fetch('1:*', query)) {
    const [id] = headerValues(headerText(headers ?? Buffer.alloc(0)), MESSAGE_ID);
    const key = keyText({ id: id?.value ?? '', sizeBytes: size, atMs: new Date(internalDate ?? 0).getTime() });
    there.set(key, (there.get(key) ?? 0) + 1);
  }
}

function keyOf({ bytes, atMs }: ExportedMessage): string {
  const [id] = headerValues(headerText(bytes), MESSAGE_ID);
  return keyText({ id: id?.value ?? '', sizeBytes: bytes.length, atMs });
}

function keyText({ id, sizeBytes, atMs }: Readonly<{ id: string; sizeBytes: number; atMs: number }>): string {
  return `${id} ${String(sizeBytes)} ${String(Math.floor(atMs / 1000))}`;
}
