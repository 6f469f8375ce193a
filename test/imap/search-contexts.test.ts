import fc from 'fast-check';
import { expect, test } from 'vitest';
import { imapWorld, type ImapClient } from '../protocol/imap-world.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();
const SEARCHES = ['FLAGGED', 'NOT DELETED', 'OR SEEN KEYWORD Work', 'LARGER 12 UNSEEN'];

/** What the client knows: the followed result by tag, kept up to date from what it is told. */
class Follower {
  readonly results = new Map<string, Set<number>>();

  constructor(lines: readonly string[]) {
    this.take(lines);
  }

  take(lines: readonly string[]): void {
    for (const line of lines) {
      const told = /^\* ESEARCH \(TAG "(\w+)"\) UID (ALL|ADDTO|REMOVEFROM) \(?(?:0 )?([\d:,]+)\)?$/.exec(line);
      if (!told) continue;
      const [, tag = '', change, set = ''] = told;
      const result = this.results.get(tag) ?? new Set();
      this.results.set(tag, result);
      for (const range of set.split(',')) {
        const [first = 0, last = first] = range.split(':').map(Number);
        for (let uid = first; uid <= last; uid += 1) {
          if (change === 'REMOVEFROM') expect(result.delete(uid), line).toBe(true);
          else {
            expect(result.has(uid), line).toBe(false);
            result.add(uid);
          }
        }
      }
    }
  }
}

async function found(client: ImapClient, search: string): Promise<number[]> {
  const line = (await client.command(`UID SEARCH ${search}`)).find((each) => each.startsWith('* SEARCH'));
  return (line?.match(/\d+/g) ?? []).map(Number);
}

test('SC1 what a client is told adds up to what a search finds', { timeout: 60_000 }, async () => {
  await using world = await imapWorld(directory);
  const message = fc.constantFrom('x', 'a longer one');
  const step = fc.oneof(
    fc.tuple(fc.constant('APPEND' as const), message, fc.constantFrom('', '(\\Flagged) ', '(\\Deleted) ')),
    fc.tuple(
      fc.constant('STORE' as const),
      fc.integer({ min: 1, max: 6 }),
      fc.constantFrom(
        '+FLAGS (\\Flagged)',
        '-FLAGS (\\Flagged)',
        'FLAGS (\\Deleted)',
        '+FLAGS.SILENT (Work)',
        'FLAGS (\\Seen)',
      ),
    ),
    fc.tuple(fc.constant('EXPUNGE' as const)),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.boolean(), step), { minLength: 3, maxLength: 20 }), async (steps) => {
      const { name } = await world.addUser();
      const [own, other] = [await world.loggedIn(name), await world.loggedIn(name)];
      await own.append('INBOX', 'first', '(\\Flagged) ');
      for (const client of [own, other]) await client.command('SELECT INBOX');
      const lines: string[] = [];
      const tags = new Map<string, string>();
      for (const search of SEARCHES) {
        const said = await own.command(`UID SEARCH RETURN (UPDATE ALL) ${search}`);
        lines.push(...said);
        tags.set(search, said.at(-1)!.split(' ')[0]!);
      }
      const follower = new Follower(lines);
      for (const [isOwn, [kind, ...args]] of steps) {
        const client = isOwn ? own : other;
        let said: string[];
        if (kind === 'APPEND') said = await client.append('INBOX', String(args[0]), args[1]);
        else if (kind === 'STORE') said = await client.command(`UID STORE ${String(args[0])} ${String(args[1])}`);
        else said = await client.command('EXPUNGE');
        if (isOwn) follower.take(said);
      }
      follower.take(await own.command('NOOP'));
      for (const [search, tag] of tags) {
        const told = [...(follower.results.get(tag) ?? [])].sort((a, b) => a - b);
        expect([search, told]).toEqual([search, await found(own, search)]);
      }
      for (const client of [own, other]) client.close();
    }),
    { numRuns: 25 },
  );
});
