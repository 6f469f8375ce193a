import { describe, expect, test } from 'vitest';
import { MailClient, until } from './mail-client.ts';
import { PLAIN, secured, sendTo, startSubmission } from './submission-world.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');

describe('SU1 logging in', () => {
  test('S4 before TLS nothing is asked for and nothing is accepted; after it AUTH is announced', async () => {
    const { submission, state } = await startSubmission();
    const client = await MailClient.introduced(submission);
    const features = await client.ask('EHLO client.example.net');
    expect(features).toContain('250-STARTTLS');
    expect(features).not.toMatch(/AUTH|REQUIRETLS/);
    expect(await client.ask(`AUTH PLAIN ${PLAIN('bob')}`)).toMatch(/^538 5\.7\.11 /);
    expect(await client.ask('AUTH LOGIN')).toMatch(/^538 /);
    expect(await client.ask('MAIL FROM:<bob@example.org>')).toMatch(/^530 5\.7\.0 Must issue a STARTTLS/);
    expect(state.attempts).toEqual([]);
    await client.ask('STARTTLS');
    await client.startTls();
    expect(await client.ask('MAIL FROM:<bob@example.org>')).toMatch(/^503 /); // EHLO is to come first
    const secure = await client.ask('EHLO client.example.net');
    for (const feature of ['AUTH PLAIN LOGIN', 'DSN', 'REQUIRETLS', '8BITMIME', 'SMTPUTF8', 'PIPELINING']) {
      expect(secure).toContain(feature);
    }
    expect(await client.ask('MAIL FROM:<bob@example.org>')).toMatch(/^530 5\.7\.0 Authentication required/);
    expect(await client.ask(`AUTH PLAIN ${PLAIN('bob')}`)).toBe('235 2.7.0 Authentication succeeded');
    expect(await client.ask('EHLO client.example.net')).not.toContain('AUTH');
    expect(await client.ask('MAIL FROM:<bob@example.org>')).toMatch(/^250 /);
  });

  test('S3 a login that was made before STARTTLS, on loopback, does not outlive it', async () => {
    const { submission } = await startSubmission({ allowCleartextLogin: true });
    const client = await MailClient.introduced(submission);
    expect(await client.ask(`AUTH PLAIN ${PLAIN('bob')}`)).toMatch(/^235 /);
    await client.ask('STARTTLS');
    await client.startTls();
    await client.ask('EHLO client.example.net');
    expect(await client.ask('MAIL FROM:<bob@example.org>')).toMatch(/^530 /);
  });

  test('in every way that clients do it', async () => {
    const { submissions } = await startSubmission();
    for (const lines of [
      [`AUTH PLAIN ${PLAIN('bob')}`],
      ['auth plain', PLAIN('bob@example.org')],
      [`AUTH PLAIN ${PLAIN('bob', 'pw', 'bob')}`],
      ['AUTH LOGIN', base64('bob'), base64('pw')],
      [`AUTH LOGIN ${base64('bob')}`, base64('pw')],
    ]) {
      const client = await secured(submissions);
      const replies: string[] = [];
      for (const line of lines) replies.push(await client.ask(line));
      expect(replies.slice(0, -1).every((reply) => reply.startsWith('334'))).toBe(true);
      expect(replies.at(-1)).toMatch(/^235 /);
    }
    const client = await secured(submissions);
    expect(await client.ask('AUTH LOGIN')).toBe(`334 ${base64('Username:')}`);
    expect(await client.ask(base64('bob'))).toBe(`334 ${base64('Password:')}`);
  });

  // One row: lines, and the replies' codes.
  test.for([
    [`AUTH PLAIN ${PLAIN('bob', 'wrong')}`, '535 5.7.8'],
    [`AUTH PLAIN ${PLAIN('nobody')}`, '535 5.7.8'],
    [`AUTH PLAIN ${PLAIN('bob', 'pw', 'eve')}`, '535 5.7.8'],
    [`AUTH PLAIN ${base64('bob\0pw')}`, '501 5.5.2'],
    [`AUTH PLAIN ${base64('\0\0')}`, '501 5.5.2'],
    ['AUTH PLAIN =', '501 5.5.2'],
    ['AUTH PLAIN !!!', '501 5.5.2'],
    [`AUTH PLAIN ${Buffer.of(0, 0xff, 0, 0xff).toString('base64')}`, '501 5.5.2'],
    ['AUTH PLAIN|*', '334|501 5.7.0'],
    ['AUTH LOGIN|', '334|334'],
    ['AUTH LOGIN||', '334|334|535 5.7.8'],
    ['AUTH CRAM-MD5', '504 5.5.4'],
    ['AUTH constructor', '504 5.5.4'],
    ['AUTH', '501 5.5.4'],
    [`AUTH PLAIN ${PLAIN('bob')} more`, '501 5.5.4'],
    [`AUTH PLAIN ${PLAIN('bob')}|AUTH PLAIN ${PLAIN('eve')}`, '235 2.7.0|503 5.5.1'],
  ] as const)('%j is answered %j', async ([lines, expected]) => {
    const { submissions } = await startSubmission();
    const client = await secured(submissions);
    const replies: string[] = [];
    for (const line of lines.split('|')) replies.push(await client.ask(line));
    expect(replies.length).toBe(expected.split('|').length);
    replies.forEach((reply, index) => expect(reply).toMatch(new RegExp(`^${expected.split('|')[index] ?? '-'}`)));
    expect(await client.ask('NOOP')).toMatch(/^(250|334|501)/);
  });

  test('AU2 a key that cannot be had is no wrong password; the fifth wrong one ends the connection', async () => {
    const { submissions, state, logged } = await startSubmission();
    state.loginFault = 'key-unavailable';
    const client = await secured(submissions);
    expect(await client.ask(`AUTH PLAIN ${PLAIN('bob')}`)).toMatch(/^454 4\.7\.0 /);
    state.loginFault = null;
    for (let n = 0; n < 4; n += 1) expect(await client.ask(`AUTH PLAIN ${PLAIN('bob', 'no')}`)).toMatch(/^535 /);
    expect(await client.ask(`AUTH PLAIN ${PLAIN('bob', 'no')}`)).toMatch(/^535 /);
    expect(await client.rest()).toMatch(/^421 4\.7\.0 Too many failed logins/);
    expect(logged.filter((line) => line.includes('login refused'))).toHaveLength(5);
    expect(logged.join()).not.toContain(PLAIN('bob', 'no')); // AU3
  });

  test('who was suspended, or changed the password, sends nothing more', async () => {
    const { submissions, state, queue } = await startSubmission();
    const client = await secured(submissions, 'bob');
    expect(await client.ask('MAIL FROM:<bob@example.org>')).toMatch(/^250 /);
    expect(await client.ask('RCPT TO:<x@example.net>')).toMatch(/^250 /);
    expect(await client.ask('DATA')).toMatch(/^354 /);
    state.isCurrent = false;
    client.send('From: bob@example.org\r\n\r\nhello\r\n.\r\n');
    expect(await client.reply()).toMatch(/^530 /);
    expect(await client.ask('MAIL FROM:<bob@example.org>')).toMatch(/^530 /);
    expect([queue.queued, queue.openWriters]).toEqual([[], 0]);
  });
});

describe('SU2 senders', () => {
  // S6. One row: sender, header fields, the reply.
  test.for([
    ['bob@example.org', 'From: bob@example.org', '250'],
    ['BOB@Example.ORG', 'From: "Bob" <b.alias@example.org>', '250'], // an alias
    ['b.alias@example.org', 'From: bob@example.org\r\nSender: b.alias@example.org', '250'],
    ['eve@example.org', 'From: bob@example.org', '553 5.7.1'],
    ['x@example.net', 'From: bob@example.org', '553 5.7.1'],
    ['nobody@example.org', 'From: bob@example.org', '553 5.7.1'],
    ['bob@example.org', 'From: eve@example.org', '550 5.7.1'],
    ['bob@example.org', 'From: bob@example.org, eve@example.org', '550 5.7.1'],
    ['bob@example.org', 'From: bob@example.org\r\nSender: eve@example.org', '550 5.7.1'],
    ['bob@example.org', 'From: bob@example.org\r\nfrom: eve@example.org', '550 5.7.1'],
    ['bob@example.org', 'From: bob@example.org <eve@example.org>', '550 5.7.1'],
    ['bob@example.org', 'From: undisclosed:;', '550 5.7.1'],
    ['broken@example.org', 'From: bob@example.org', '451 4.3.0'], // the key of the directory cannot be had
    ['bob@example.org', 'From: broken@example.org', '451 4.3.0'],
    ['', 'From: bob@example.org', '550 5.7.1'],
    ['', 'From: bob@example.org\r\nContent-Type: multipart/report; boundary=b', '250'], // RFC 8098 §3
    ['', 'From: eve@example.org\r\nAuto-Submitted: auto-replied', '550 5.7.1'],
  ])('<%s> with %j: %s', async ([from, header, expected]) => {
    const { submissions, queue, mailboxes } = await startSubmission();
    const client = await secured(submissions, 'bob');
    const to = ['x@example.net', 'eve@example.org'];
    expect(await sendTo(client, { from, to, message: `${header}\r\n\r\nhello\r\n` })).toMatch(
      new RegExp(`^${expected} `),
    );
    const count = expected === '250' ? 1 : 0;
    expect([queue.queued.length, mailboxes.stored.length, queue.openWriters]).toEqual([count, count, 0]);
    expect(mailboxes).toMatchObject({ openHandles: 0, openWriters: 0 });
    expect(await sendTo(client, {})).toMatch(/^250 /); // the connection goes on
  });
});

describe('SU3 recipients', () => {
  test('those here get their copies, those elsewhere share one item, with what their senders asked', async () => {
    const { submissions, queue, mailboxes } = await startSubmission();
    const client = await secured(submissions, 'bob');
    for (const line of [
      'MAIL FROM:<bob@example.org> SIZE=100 BODY=8BITMIME RET=HDRS ENVID=QQ+2B1 REQUIRETLS AUTH=<>',
      'RCPT TO:<x@example.net> NOTIFY=FAILURE,DELAY ORCPT=rfc822;y@example.net',
      'RCPT TO:<eve@example.org>',
      'RCPT TO:<z@sub.example.com> NOTIFY=NEVER',
    ]) {
      expect(await client.ask(line)).toMatch(/^250 /);
    }
    expect(await client.ask('RCPT TO:<nobody@example.org>')).toMatch(/^550 5\.1\.1 /);
    expect(await client.ask('RCPT TO:<x@[192.0.2.1]>')).toMatch(/^550 5\.1\.2 /);
    expect(await client.ask('DATA')).toMatch(/^354 /);
    client.send('From: bob@example.org\r\nBcc: z@sub.example.com\r\n\r\ngr\xc3\xbc\xc3\x9fe\r\n..dot\r\n.\r\n');
    expect(await client.reply()).toMatch(/^250 2\.0\.0 /);
    const [item] = queue.queued;
    expect(item?.envelope).toMatchObject({
      sender: 'bob@example.org',
      envelopeId: 'QQ+1',
      returnContent: 'headers',
      is8Bit: true,
      isUtf8: false,
      requiresTls: true,
    });
    expect(item?.envelope.submitter).toMatch(/^[0-9a-f]{32}$/);
    expect(item?.recipients).toEqual([
      { address: 'x@example.net', originalRecipient: 'rfc822;y@example.net', notify: ['failure', 'delay'] },
      { address: 'z@sub.example.com', originalRecipient: null, notify: [] },
    ]);
    // SU5; Return-Path is the last host's to write
    expect(item?.bytes).toMatch(
      /^Received: by mx\.example\.org with ESMTPSA id [0-9a-f]{32}-1;\r\n\t[^\r]+\r\nDate: [^\r]+\r\nMessage-ID: <[0-9a-f]{32}@example\.org>\r\nFrom: bob@example\.org\r\n\r\ngr\xc3\xbc\xc3\x9fe\r\n\.dot\r\n$/,
    );
    expect(mailboxes.stored.map(({ user }) => user)).toEqual(['eve']);
    expect(mailboxes.stored[0]?.bytes.toString('latin1')).toBe(
      `Return-Path: <bob@example.org>\r\n${item?.bytes ?? ''}`,
    );
  });

  test('who is named twice elsewhere gets it once', async () => {
    const { submissions, queue } = await startSubmission();
    const to = ['x@example.net', 'x@EXAMPLE.net', 'X@example.net'];
    expect(await sendTo(await secured(submissions, 'bob'), { to })).toMatch(/^250 /);
    expect(queue.queued[0]?.recipients.map(({ address }) => address)).toEqual(['x@example.net', 'X@example.net']);
  });

  test('the trace tells of the client where the operator wants it', async () => {
    const { submissions, queue } = await startSubmission({ traceClientAddress: true });
    expect(await sendTo(await secured(submissions, 'bob'), {})).toMatch(/^250 /);
    expect(queue.queued[0]?.bytes).toMatch(/^Received: from client\.example\.net \(\[127\.0\.0\.1\]\)\r\n\tby mx/);
  });

  // P2. One row: what is asked, and the answer.
  test.for([
    ['MAIL FROM:<bob@example.org> RET=ALL', '501 5.5.4'],
    ['MAIL FROM:<bob@example.org> ENVID=', '501 5.5.4'],
    ['MAIL FROM:<bob@example.org> REQUIRETLS=1', '501 5.5.4'],
    ['MAIL FROM:<bob@example.org> HOLDFOR=10', '555 5.5.4'],
    ['MAIL FROM:<bob@example.org>|RCPT TO:<x@example.net> NOTIFY=NEVER,DELAY', '250 2.1.0|501 5.5.4'],
    ['MAIL FROM:<bob@example.org>|RCPT TO:<x@example.net> ORCPT=x@example.net', '250 2.1.0|501 5.5.4'],
    ['MAIL FROM:<bob@example.org>|AUTH PLAIN AA==', '250 2.1.0|503 5.5.1'],
  ] as const)('%j is answered %j', async ([lines, expected]) => {
    const { submissions } = await startSubmission();
    const client = await secured(submissions, 'bob');
    for (const [index, line] of lines.split('|').entries()) {
      expect(await client.ask(line)).toMatch(new RegExp(`^${expected.split('|')[index] ?? '-'} `));
    }
  });

  test('S5 on the other listeners nobody sends elsewhere, whoever it says it is', async () => {
    const { mx, lmtp, queue } = await startSubmission({ allowCleartextLogin: true });
    for (const [port, hello] of [
      [mx, 'EHLO'],
      [lmtp, 'LHLO'],
    ] as const) {
      const client = await MailClient.introduced(port, `${hello} client.example.net`);
      expect(await client.ask(`AUTH PLAIN ${PLAIN('bob')}`)).toMatch(/^500 /);
      expect(await client.ask('MAIL FROM:<bob@example.org>')).toMatch(/^250 /);
      for (const to of [
        'x@example.net',
        'x%example.net@example.org',
        '"x@example.net"@example.org',
        '@example.org:x@example.net',
      ]) {
        expect(await client.ask(`RCPT TO:<${to}>`)).toMatch(/^550 5\.(7\.1|1\.1) /);
      }
      expect(await client.ask('DATA')).toMatch(/^503 /);
    }
    expect(queue.queued).toEqual([]);
  });
});

describe('D2 all or nothing', () => {
  test.for([
    ['newMessage', 'key-unavailable', '451 4.3.0'],
    ['newMessage', 'storage-full', '452 4.3.1'],
    ['write', 'storage-full', '452 4.3.1'],
    ['finish', 'storage-full', '452 4.3.1'],
  ] as const)(
    'a queue that fails at %s (%s) is told as %s, and nobody has the message',
    async ([step, code, expected]) => {
      const { submissions, queue, mailboxes } = await startSubmission();
      const client = await secured(submissions, 'bob');
      queue.faults.set(step, code);
      const to = ['eve@example.org', 'x@example.net'];
      expect(await sendTo(client, { to })).toMatch(new RegExp(`^${expected} `));
      await client.ask('RSET');
      expect([mailboxes.stored, mailboxes.openHandles, mailboxes.openWriters, queue.openWriters]).toEqual([
        [],
        0,
        0,
        0,
      ]);
      queue.faults.clear();
      expect(await sendTo(client, { to })).toMatch(/^250 /);
      expect([mailboxes.stored.length, queue.queued.length]).toEqual([1, 1]);
    },
  );

  test('a mailbox that fails withdraws the message from the queue, and a client that leaves takes all with it', async () => {
    const { submissions, queue, mailboxes } = await startSubmission();
    const client = await secured(submissions, 'bob');
    const to = ['x@example.net', 'eve@example.org'];
    mailboxes.fail('eve', 'finish', 'storage-full');
    expect(await sendTo(client, { to })).toMatch(/^452 /);
    await client.ask('MAIL FROM:<bob@example.org>');
    await client.ask('RCPT TO:<x@example.net>');
    await client.ask('DATA');
    client.send('From: bob@example.org\r\n\r\nhalf');
    await until(() => queue.openWriters === 1);
    client.destroy();
    await until(() => queue.openWriters === 0);
    expect([queue.queued, mailboxes.stored, mailboxes.openWriters]).toEqual([[], [], 0]);
  });

  test('a loop, a header without end, and a message too large are refused', async () => {
    const { submissions, queue } = await startSubmission();
    const client = await secured(submissions, 'bob');
    const loop = `${'Received: x\r\n'.repeat(51)}From: bob@example.org\r\n\r\n`;
    expect(await sendTo(client, { message: loop })).toMatch(/^554 5\.4\.6 /);
    expect(await sendTo(client, { message: 'X: y\r\n'.repeat(300_000) })).toMatch(/^552 5\.3\.4 Message header/);
    expect(await sendTo(client, { message: `From: bob@example.org\r\n\r\n${'x'.repeat(50_000_001)}\r\n` })).toMatch(
      /^552 5\.3\.4 /,
    );
    expect([queue.queued, queue.openWriters]).toEqual([[], 0]);
    expect(await sendTo(client, {})).toMatch(/^250 /);
  });
});

test('SU4 who sends too much is told to come again, on whatever connection', async () => {
  const { submissions } = await startSubmission({ maxMessagesPerHourCount: 2, maxRecipientsPerHourCount: 5 });
  const client = await secured(submissions, 'bob');
  for (let n = 0; n < 2; n += 1) expect(await sendTo(client, {})).toMatch(/^250 /);
  const another = await secured(submissions, 'bob');
  expect(await sendTo(another, {})).toMatch(/^450 4\.7\.1 You have sent too many messages/);
  const eve = await secured(submissions, 'eve');
  const from = 'eve@example.org';
  const to = [1, 2, 3, 4, 5, 6].map((n) => `x${String(n)}@example.net`);
  expect(await sendTo(eve, { from, to })).toMatch(/^452 4\.7\.1 You have had too many recipients/);
});

test('SU1 port 465 is TLS from the first byte, and what is pipelined is answered in its order', async () => {
  const { submissions, queue } = await startSubmission();
  const client = await secured(submissions);
  client.send(
    `AUTH PLAIN ${PLAIN('bob')}\r\nMAIL FROM:<bob@example.org>\r\nRCPT TO:<x@example.net>\r\nRCPT TO:<y@example.net>\r\nDATA\r\n`,
  );
  const replies: string[] = [];
  for (let n = 0; n < 5; n += 1) replies.push((await client.reply()).slice(0, 3));
  expect(replies).toEqual(['235', '250', '250', '250', '354']);
  client.send('From: bob@example.org\r\n\r\nhello\r\n.\r\n');
  expect(await client.reply()).toMatch(/^250 /);
  expect(queue.queued[0]?.recipients).toHaveLength(2);
});
