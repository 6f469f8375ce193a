/**
 * Runs the dialogues of *.script against a real server.
 *
 * A dialogue starts at `=== title`, with a new user whose client is logged in, or not if the title ends in
 * "(before login)". `C:` sends a line, `S:` expects the next response, `S*:` skips responses until one matches,
 * `END:` expects the end of the stream; `C2:`, `S2:` speak for a second client of the same user. In what is sent
 * `<CRLF>`, `<NUL>` and `<x:100>` (the letter a hundred times) stand for bytes; in what is expected `<any>` stands for
 * any text. Lines that begin with `#` are comments.
 */
import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { imapWorld, type ImapClient, type ImapWorld } from './imap-world.ts';

type Step = Readonly<{ kind: 'C' | 'S' | 'S*' | 'END'; client: 1 | 2; text: string; line: number }>;
type Dialogue = Readonly<{ title: string; steps: readonly Step[] }>;

const directory = temporaryDirectory();
let world: ImapWorld;
beforeAll(async () => {
  world = await imapWorld(directory);
});
afterAll(async () => {
  await world[Symbol.asyncDispose]();
});

const files = globSync('*.script', { cwd: import.meta.dirname }).sort();
test('there are scripts', () => {
  expect(files.length).toBeGreaterThan(3);
});

describe.for(files)('%s', (file) => {
  test.for(dialoguesOf(file))('$title', async ({ title, steps }) => {
    const user = await world.addUser();
    const open = (): Promise<ImapClient> =>
      title.endsWith('(before login)') ? world.connect() : world.loggedIn(user.name);
    const clients = { 1: await open(), 2: steps.some((step) => step.client === 2) ? await open() : null };
    for (const step of steps) {
      const client = clients[step.client]!;
      const where = `${basename(file)}:${String(step.line)}`;
      if (step.kind === 'C') client.send(`${sent(step.text).replaceAll('<USER>', user.name)}\r\n`);
      else if (step.kind === 'END') expect(await inTime(client.line(), where), where).toBeNull();
      else await expectLine(client, step, where);
    }
  });
});

async function expectLine(client: ImapClient, step: Step, where: string): Promise<void> {
  const wanted = pattern(step.text);
  const skipped: (string | null)[] = [];
  for (;;) {
    const line = await inTime(client.line(), `${where} after ${JSON.stringify(skipped)}`);
    if (step.kind === 'S' || line === null) {
      expect(line, where).toMatch(wanted);
      return;
    }
    if (wanted.test(line)) return;
    skipped.push(line);
  }
}

async function inTime<T>(promise: Promise<T>, where: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`${where}: nothing came`));
    }, 3_000);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function dialoguesOf(file: string): Dialogue[] {
  const dialogues: { title: string; steps: Step[] }[] = [];
  const lines = readFileSync(join(import.meta.dirname, file), 'utf8').split('\n');
  for (const [index, line] of lines.entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const title = /^=== (.+)$/.exec(line)?.[1];
    if (title !== undefined) {
      dialogues.push({ title, steps: [] });
      continue;
    }
    const parts = /^(C|S\*?|END)(2?): ?(.*)$/.exec(line);
    if (!parts) throw new Error(`${file}:${String(index + 1)}: not a step`);
    const [, kind, second, text] = parts;
    const client = second === '2' ? 2 : 1;
    dialogues.at(-1)?.steps.push({ kind: kind as Step['kind'], client, text: text ?? '', line: index + 1 });
  }
  return dialogues;
}

function sent(text: string): string {
  return Buffer.from(text)
    .toString('latin1')
    .replaceAll('<CRLF>', '\r\n')
    .replaceAll('<NUL>', '\0')
    .replace(/<(.):(\d+)>/g, (_, char: string, count: string) => char.repeat(Number(count)));
}

function pattern(text: string): RegExp {
  const source = Buffer.from(text)
    .toString('latin1')
    .split('<any>')
    .map((piece) =>
      piece
        .replaceAll('<CRLF>', '\r\n')
        .replaceAll('<NUL>', '\0')
        .replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'),
    )
    .join('[\\s\\S]*');
  return new RegExp(`^${source}$`);
}
