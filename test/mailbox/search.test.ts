import { afterAll, beforeAll, expect, test } from 'vitest';
import { modSeq, type FolderId } from '../../src/base/ids.ts';
import type { Mailbox } from '../../src/mailbox/mailbox.ts';
import type { SearchKey } from '../../src/mailbox/search-key.ts';
import { appendTo, folderIdOf, mail } from '../support/messages.ts';
import { mailboxWorld, type MailboxWorld } from '../support/mailbox-world.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();
const DAY_MS = 86_400_000;
let world: MailboxWorld;
let mailbox: Mailbox;
let inbox: FolderId;

beforeAll(async () => {
  world = await mailboxWorld(directory);
  mailbox = await world.open(await world.addMailbox());
  inbox = await folderIdOf(mailbox, 'INBOX');
  const latin = Buffer.concat([
    mail({ Subject: '=?iso-8859-1?Q?Gr=FC=DFe?=', 'Content-Type': 'text/plain; charset=iso-8859-1' }, ''),
    Buffer.from('Stra\u00dfe und \u00c4pfel', 'latin1'),
  ]);
  const encoded = mail(
    { From: 'Ann <ann@example.org>', Date: 'Tue, 2 Jan 2024 23:30:00 -0500', 'Content-Transfer-Encoding': 'base64' },
    Buffer.from('a needle in base64').toString('base64'),
  );
  const nested = mail(
    { Subject: 'outer', 'Content-Type': 'multipart/mixed; boundary=b' },
    '--b\r\n\r\nfirst\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nquoted-=\r\nprintable\r\n--b--\r\n',
  );
  await appendTo(mailbox, inbox, latin, {
    flags: ['\\Seen', 'Work'],
    atMs: Date.UTC(2024, 0, 1, 23, 30),
    zoneMinutes: 60,
  });
  await appendTo(mailbox, inbox, encoded, { flags: ['\\Flagged'], atMs: Date.now() - DAY_MS });
  await appendTo(mailbox, inbox, nested, { flags: [], atMs: Date.now() });
});
afterAll(async () => {
  mailbox[Symbol.dispose]();
  await world[Symbol.asyncDispose]();
});

async function found(key: SearchKey, first = 1): Promise<number[]> {
  const matches = await mailbox.search({
    folder: inbox,
    key,
    within: [{ first, last: 3 }],
    resolve: (set) => (set.kind === 'saved' ? [{ first: 2, last: 2 }] : set.set.ranges),
  });
  return matches.map((match) => match.uid);
}
const header = (name: string, text: string): SearchKey => ({ kind: 'header', name, text });
const body = (text: string): SearchKey => ({ kind: 'body', text });
const whole = (text: string): SearchKey => ({ kind: 'text', text });
const day = (
  of: 'internal' | 'sent',
  relation: 'before' | 'on' | 'since',
  date: readonly [number, number],
): SearchKey => ({
  kind: 'date',
  of,
  relation,
  date: { year: 2024, month: date[0], day: date[1] },
});

test.for<[string, SearchKey, number[]]>([
  ['all', { kind: 'all' }, [1, 2, 3]],
  ['a flag', { kind: 'flag', flag: '\\Seen' }, [1]],
  ['a keyword in another case', { kind: 'flag', flag: 'wORK' }, [1]],
  ['not', { kind: 'not', key: { kind: 'flag', flag: '\\Seen' } }, [2, 3]],
  ['and', { kind: 'and', keys: [{ kind: 'flag', flag: '\\Flagged' }, body('needle')] }, [2]],
  ['an empty and', { kind: 'and', keys: [] }, [1, 2, 3]],
  ['or over stages', { kind: 'or', left: { kind: 'flag', flag: '\\Seen' }, right: body('first') }, [1, 3]],
  ['not over text', { kind: 'not', key: body('needle') }, [1, 3]],
  ['a saved result', { kind: 'uid', uids: { kind: 'saved' } }, [2]],
  ['an encoded word', header('subject', 'gr\u00fc\u00dfe'), [1]],
  ['part of an address', header('from', 'NN@EXAMPLE'), [2]],
  ['a field that is there', header('subject', ''), [1, 3]],
  ['a field of the inner message only', header('subject', 'inner'), []],
  ['a body in Latin-1', body('\u00c4PFEL'), [1]],
  ['a body in base64', body('NEEDLE IN'), [2]],
  ['text of a nested message', body('quoted-'), [3]],
  ['TEXT looks into the header', whole('ann@example'), [2]],
  ['BODY does not', body('ann@example'), []],
  ['larger', { kind: 'larger', sizeBytes: 150 }, [3]],
  ['modification sequence', { kind: 'modseq', atLeast: modSeq(1) }, [1, 2, 3]],
  ['INTERNALDATE is compared in its own zone', day('internal', 'on', [1, 2]), [1]],
  ['SENTON ignores the zone', day('sent', 'on', [1, 2]), [2]],
  ['SENTBEFORE excludes the day', day('sent', 'before', [1, 2]), []],
  ['SENTSINCE includes it', day('sent', 'since', [1, 2]), [2]],
  ['younger than two days', { kind: 'age', relation: 'younger', seconds: 2 * 86_400 }, [2, 3]],
  ['older than half a day', { kind: 'age', relation: 'older', seconds: 43_200 }, [1, 2]],
])('%s', async ([, key, uids]) => {
  expect(await found(key)).toEqual(uids);
  expect(await found(key)).toEqual(uids); // again, from the sealed search text
});

test('H1 flags, sizes and UIDs of messages without keywords are searched without any key', async () => {
  world.advance(60_000);
  world.refuse('unreachable');
  try {
    expect(
      await found(
        {
          kind: 'and',
          keys: [
            { kind: 'flag', flag: '\\Flagged' },
            { kind: 'larger', sizeBytes: 1 },
          ],
        },
        2,
      ),
    ).toEqual([2]);
    await expect(found(body('needle'))).rejects.toMatchObject({ code: 'key-unavailable' });
  } finally {
    world.refuse(null);
    world.advance(60_000);
  }
  expect(await found(body('needle'))).toEqual([2]);
});
