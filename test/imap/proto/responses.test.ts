import fc from 'fast-check';
import { expect, test } from 'vitest';
import { numberSet } from '../../../src/base/uid-set.ts';
import type { ResponseCode } from '../../../src/imap/proto/codes.ts';
import * as print from '../../../src/imap/proto/responses.ts';
import { imapText } from '../../../src/imap/proto/strings.ts';
import { envelopeText } from '../../../src/imap/proto/structure-text.ts';
import { ClientParser } from './client-parser.ts';

const rev1 = { utf8: false };
const rev2 = { utf8: true };

const codes: [ResponseCode | null, string][] = [
  [null, ''],
  ['TRYCREATE', '[TRYCREATE] '],
  [{ kind: 'APPENDUID', uidValidity: 38505, uids: numberSet([3955, 3956]) }, '[APPENDUID 38505 3955:3956] '],
  [{ kind: 'BADCHARSET', charsets: ['UTF-8', 'US-ASCII'] }, '[BADCHARSET (UTF-8 US-ASCII)] '],
  [{ kind: 'CAPABILITY', names: ['IMAP4rev1', 'AUTH=PLAIN', 'not an atom'] }, '[CAPABILITY IMAP4rev1 AUTH=PLAIN] '],
  [
    { kind: 'COPYUID', uidValidity: 1, source: numberSet([304, 319, 320]), destination: numberSet([3956, 3957, 3958]) },
    '[COPYUID 1 304,319:320 3956:3958] ',
  ],
  [{ kind: 'HIGHESTMODSEQ', modSeq: 2 ** 53 - 1 }, '[HIGHESTMODSEQ 9007199254740991] '],
  [{ kind: 'MODIFIED', numbers: numberSet([7, 9]) }, '[MODIFIED 7,9] '],
  [{ kind: 'PERMANENTFLAGS', flags: ['\\Seen', 'x'], acceptsNew: true }, '[PERMANENTFLAGS (\\Seen x \\*)] '],
  [{ kind: 'PERMANENTFLAGS', flags: [], acceptsNew: false }, '[PERMANENTFLAGS ()] '],
  [{ kind: 'UIDNEXT', uid: 5 }, '[UIDNEXT 5] '],
  [{ kind: 'UIDVALIDITY', uidValidity: 6 }, '[UIDVALIDITY 6] '],
  [{ kind: 'UNSEEN', sequence: 7 }, '[UNSEEN 7] '],
];

test.for(codes)('code %j', ([code, text]) => {
  expect(print.taggedLine('a1', 'OK', code, 'Done')).toBe(`a1 OK ${text}Done\r\n`);
  expect(print.untaggedLine('NO', code, 'Done')).toBe(`* NO ${text}Done\r\n`);
});

test('lines', () => {
  expect([
    print.continuationLine('idling'),
    print.continuationLine(''),
    print.capabilityLine(['IMAP4rev1', 'IDLE']),
    print.enabledLine([]),
    print.enabledLine(['IMAP4REV2']),
    print.idLine([['name', 'Sealpost'], ['os', null]]),
    print.idLine([]),
    print.namespaceLine(),
    print.listLine('LIST', { name: '', attributes: ['\\Noselect'] }, rev1),
    print.listLine('LIST', { name: 'Entwürfe', attributes: ['\\HasNoChildren', '\\Drafts'] }, rev1),
    print.listLine('LIST', { name: 'Entwürfe', attributes: [], childInfo: ['SUBSCRIBED'] }, rev2),
    print.listLine('LSUB', { name: 'a b', attributes: [] }, rev1),
    print.statusLine('INBOX', [['MESSAGES', 231], ['APPENDLIMIT', null]], rev1),
    print.flagsLine(['\\Answered', '$Junk']),
    print.countLine(23, 'EXISTS'),
    print.vanishedLine(numberSet([1, 2, 9]), 'earlier'),
    print.vanishedLine(numberSet([4]), 'now'),
    print.searchLine([2, 84, 882], null),
    print.searchLine([2], 917162500),
    print.searchLine([], null),
    print.esearchLine('a"1', { byUid: true, min: 2, max: 9, all: [2, 9], count: 2, highestModSeq: 5 }),
    print.esearchLine('a1', { byUid: false, all: [], count: 0 }),
    print.fetchLine('* 12 FETCH (', ['UID 5', `FLAGS (${print.flagsText(['\\Seen'])})`, `INTERNALDATE ${print.dateTimeText({ atMs: Date.UTC(1996, 6, 17, 2, 44, 25), zoneMinutes: 0 })}`]),
    print.fetchLine('* 1 FETCH (', [`INTERNALDATE ${print.dateTimeText({ atMs: Date.UTC(2026, 0, 2, 3, 4, 5, 999), zoneMinutes: 0 })}`, 'PREVIEW NIL']),
  ].join('')).toMatchInlineSnapshot(`
    "+ idling
    + 
    * CAPABILITY IMAP4rev1 IDLE
    * ENABLED
    * ENABLED IMAP4REV2
    * ID ("name" "Sealpost" "os" NIL)
    * ID NIL
    * NAMESPACE (("" "/")) NIL NIL
    * LIST (\\Noselect) "/" ""
    * LIST (\\HasNoChildren \\Drafts) "/" Entw&APw-rfe
    * LIST () "/" "EntwÃ¼rfe" ("CHILDINFO" ("SUBSCRIBED"))
    * LSUB () "/" "a b"
    * STATUS INBOX (MESSAGES 231 APPENDLIMIT NIL)
    * FLAGS (\\Answered $Junk)
    * 23 EXISTS
    * VANISHED (EARLIER) 1:2,9
    * VANISHED 4
    * SEARCH 2 84 882
    * SEARCH 2 (MODSEQ 917162500)
    * SEARCH
    * ESEARCH (TAG "a\\"1") UID MIN 2 MAX 9 ALL 2,9 COUNT 2 MODSEQ 5
    * ESEARCH (TAG "a1") COUNT 0
    * 12 FETCH (UID 5 FLAGS (\\Seen) INTERNALDATE "17-Jul-1996 02:44:25 +0000")
    * 1 FETCH (INTERNALDATE " 2-Jan-2026 03:04:05 +0000" PREVIEW NIL)
    "
  `);
}); // prettier-ignore

test.for([
  [-420, '"16-Jul-1996 19:44:25 -0700"'],
  [330, '"17-Jul-1996 08:14:25 +0530"'],
  [-30, '"17-Jul-1996 02:14:25 -0030"'],
] as const)('a date in zone %i', ([zoneMinutes, text]) => {
  expect(print.dateTimeText({ atMs: Date.UTC(1996, 6, 17, 2, 44, 25), zoneMinutes })).toBe(text);
});

test('S2 text that could be read as a code, or is empty, or is not ASCII', () => {
  expect(print.taggedLine('a', 'NO', null, '[ALERT] x')).toBe('a NO - [ALERT] x\r\n');
  expect(print.taggedLine('a', 'NO', null, '')).toBe('a NO - \r\n');
  expect(print.untaggedLine('BYE', null, 'x\r\na OK \u00e9\u010a')).toBe('* BYE x??a OK ??\r\n');
});

test('S2 I5 whatever the values, a client reads one line of the expected shape', () => {
  const nasty = fc.oneof(
    fc.array(fc.constantFrom('\r\n', '\n', '* 9 EXISTS', '"', '\\', '{5}\r\n', ')', '(', '\0', 'a', ' ', 'é', '\u010a', '[x]', '&', 'a1 OK', '\ud800'), { maxLength: 10 }).map((parts) => parts.join('')),
    fc.string({ unit: 'binary', maxLength: 12 }),
  );
  const text = fc.option(nasty);
  fc.assert(
    fc.property(nasty, nasty, text, fc.boolean(), (one, two, three, utf8) => {
      const context = { utf8 };
      const address = { name: three, route: null, mailbox: one, host: two };
      const envelope = { date: one, subject: two, from: [address, address], sender: null, replyTo: null, to: [address], cc: null, bcc: null, inReplyTo: three, messageId: one };
      const lines = new ClientParser(
        print.listLine('LIST', { name: `x${one}`, attributes: [two, '\\Marked', `\\${one}`], childInfo: [one] }, context) +
          print.statusLine(`y${two}`, [['MESSAGES', 1]], context) +
          print.flagsLine([one, two, 'ok']) +
          print.untaggedLine('OK', { kind: 'PERMANENTFLAGS', flags: [one, two], acceptsNew: true }, two) +
          print.taggedLine(one, 'NO', null, two) +
          print.capabilityLine(['A', one, two]) +
          print.idLine([[one, two], [two, three]]) +
          print.esearchLine(one, { byUid: true, count: 1 }) +
          print.fetchLine('* 1 FETCH (', [`ENVELOPE ${envelopeText(envelope, context)}`, `PREVIEW ${three === null ? 'NIL' : imapText(three, context)}`, 'UID 1']) +
          '* DONE\r\n',
      ).lines();
      expect(lines.map((line) => (['LIST', 'STATUS', 'FLAGS', 'OK', 'NO', 'CAPABILITY', 'ID', 'ESEARCH', 'DONE'].includes(String(line[1])) ? line[1] : line[2]))).toEqual(
        ['LIST', 'STATUS', 'FLAGS', 'OK', 'NO', 'CAPABILITY', 'ID', 'ESEARCH', 'FETCH', 'DONE'],
      );
      const fetch = lines[8]?.[3] as unknown[];
      expect(fetch[0]).toBe('ENVELOPE');
      expect(fetch[1]).toHaveLength(10);
      expect([fetch[2], fetch[4], fetch[5], fetch.length]).toEqual(['PREVIEW', 'UID', '1', 6]);
    }),
    { numRuns: 1_500 },
  );
}); // prettier-ignore
