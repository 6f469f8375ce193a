/**
 * P3 of the promises: nothing a customer provides is on disk in plaintext. Words that occur nowhere else go in by
 * every door, are stored, searched, renamed and refused; then every file the process wrote is read.
 */
import { generateKeyPairSync, randomInt } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TomlTable } from 'smol-toml';
import { expect, onTestFinished, test } from 'vitest';
import { filesUnder, findWords, formsOf } from '../support/canary.ts';
import { startDnsServer } from '../support/dns-server.ts';
import { DOMAIN, TestServer } from '../support/server.ts';
import { startSmtpRemote } from '../support/smtp-remote.ts';
import { Strace, straceProblem } from '../support/strace.ts';
import { ImapClient, SmtpClient } from '../support/wire.ts';

const LETTERS = 'bcdfghjklmnpqrstvwxyz';
/** Sixteen letters; `accent` puts a non-ASCII one in the middle. */
function freshWord(accent = ''): string {
  const letters = (count: number): string =>
    Array.from({ length: count }, () => LETTERS[randomInt(LETTERS.length)]).join('');
  return `${letters(8)}${accent}${letters(8)}`;
}

const words = {
  organization: freshWord(),
  displayName: freshWord('ü'),
  local: freshWord(),
  alias: freshWord(),
  pairLocal: freshWord(),
  password: freshWord(),
  wrongPassword: freshWord(),
  unknownUser: freshWord(),
  helo: freshWord(),
  envelopeSender: freshWord(),
  unknownRecipient: freshWord(),
  fromName: freshWord(),
  subject: freshWord(),
  encodedSubject: freshWord('é'),
  messageId: freshWord(),
  body: freshWord(),
  quotedBody: freshWord('ß'),
  base64Body: freshWord(),
  largeBody: freshWord(),
  attachment: freshWord(),
  attachment2231: freshWord('ø'),
  attachment2047: freshWord('å'),
  attachmentText: freshWord(),
  folder: freshWord(),
  accentFolder: freshWord('ä'),
  renamed: freshWord(),
  subscribed: freshWord(),
  keyword: freshWord(),
  searched: freshWord(),
  badCommand: freshWord(),
  unknownFolder: freshWord(),
  clientId: freshWord(),
  appPassword: freshWord(),
  importedSubject: freshWord(),
  importedFolder: freshWord(),
  importedKeyword: freshWord(),
  remoteLocal: freshWord(),
  remoteDomain: freshWord(),
  hiddenRecipient: freshWord(),
  originalRecipient: freshWord(),
  envelopeId: freshWord(),
  submittedLarge: freshWord(),
  spoofed: freshWord(),
  annotationName: freshWord(),
  annotation: freshWord('ö'),
  remoteReply: freshWord(),
};

function encodedWord(text: string): string {
  return `=?utf-8?B?${Buffer.from(text).toString('base64')}?=`;
}

function quotedPrintable(text: string): string {
  return [...Buffer.from(text)]
    .map((byte) => (byte < 0x80 ? String.fromCharCode(byte) : `=${byte.toString(16).toUpperCase()}`))
    .join('');
}

/** `extra` makes it long enough for a file of its own. */
function canaryMessage(extra = ''): Buffer {
  const percent = encodeURIComponent(words.attachment2231);
  return Buffer.from(
    [
      `From: ${words.fromName} <${words.envelopeSender}@example.net>`,
      `To: <${words.local}@${DOMAIN}>`,
      `Subject: ${words.subject} ${encodedWord(words.encodedSubject)}`,
      `Message-ID: <${words.messageId}@example.net>`,
      'MIME-Version: 1.0',
      'Content-Type: multipart/mixed; boundary=b',
      '',
      '--b',
      'Content-Type: text/plain; charset=utf-8',
      'Content-Transfer-Encoding: quoted-printable',
      '',
      `${words.body} ${quotedPrintable(words.quotedBody)}`,
      '--b',
      'Content-Type: text/plain; charset=utf-8',
      'Content-Transfer-Encoding: base64',
      '',
      Buffer.from(`and ${words.base64Body} too`).toString('base64'),
      '--b',
      `Content-Type: application/octet-stream; name="${words.attachment}.bin"`,
      `Content-Disposition: attachment; filename*=utf-8''${percent}.bin`,
      '',
      words.attachmentText,
      '--b',
      `Content-Type: text/plain; name="${encodedWord(words.attachment2047)}"`,
      '',
      extra,
      '--b--',
      '',
    ].join('\r\n'),
  );
}

test('the scan finds every form of a word, so that it can fail', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sealpost-planted-'));
  onTestFinished(() => {
    rmSync(folder, { recursive: true });
  });
  for (const word of [words.subject, words.quotedBody]) {
    const forms = formsOf(word);
    expect(forms.length).toBeGreaterThanOrEqual(18);
    for (const { name, bytes } of forms) {
      writeFileSync(join(folder, 'planted'), Buffer.concat([Buffer.alloc(5000, 7), bytes, Buffer.alloc(9, 7)]));
      const found = findWords([folder], Object.values(words));
      expect(found.map((finding) => finding.form)).toContain(name);
      expect(new Set(found.map((finding) => finding.word))).toEqual(new Set([word]));
    }
    for (const before of ['', 'x', 'xy']) {
      writeFileSync(join(folder, 'planted'), Buffer.from(`${before}${word}.....`).toString('base64'));
      expect(findWords([folder], [word])).not.toEqual([]);
    }
  }
  rmSync(join(folder, 'planted'));
  writeFileSync(join(folder, words.folder), ''); // the name of a file
  expect(findWords([folder], [words.folder])).toHaveLength(1);
});

/** How the private keys of DKIM begin in the form in which they are sealed: PKCS #8 of RSA and of Ed25519. */
const PRIVATE_KEY_STARTS = ['300d06092a864886f70d01010105000482', '300506032b657004220420'].map((hex) =>
  Buffer.from(hex, 'hex'),
);
/** Files in which a private key lies, as it is or in hex. */
function filesWithPrivateKeys(folders: readonly string[]): string[] {
  const forms = PRIVATE_KEY_STARTS.flatMap((start) => [start, Buffer.from(start.toString('hex'))]);
  return filesUnder(folders).filter((file) => {
    const content = readFileSync(file);
    return forms.some((form) => content.includes(form));
  });
}

test('the scan finds private keys, so that it can fail', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sealpost-planted-'));
  onTestFinished(() => {
    rmSync(folder, { recursive: true });
  });
  for (const { privateKey } of [generateKeyPairSync('rsa', { modulusLength: 2048 }), generateKeyPairSync('ed25519')]) {
    const der = privateKey.export({ type: 'pkcs8', format: 'der' });
    for (const planted of [der, Buffer.from(der.toString('hex'))]) {
      writeFileSync(join(folder, 'planted'), planted);
      expect(filesWithPrivateKeys([folder])).toHaveLength(1);
    }
  }
});

/** Mail from other servers is checked, and so held on its way in; nobody answers the lookups. */
const CONFIG = {
  store: { checkpointIntervalMs: 100 },
  mail: { trustedPeers: [], maxHeldBytes: 1_048_576 },
  dns: { servers: ['127.0.0.1:1'], tryTimeoutMs: 100, triesCount: 1 },
};

test(
  'no word of a customer is in any file, after every way in and after kill, restart and stop',
  { timeout: 90_000 },
  async () => {
    const server = await TestServer.start({ users: 0, config: { ...CONFIG, ...(await remoteServers()) } });
    const created =
      straceProblem() === null ? await Strace.attach(server.pid, ['-e', 'trace=openat,creat,mkdir']) : null;
    await setUp(server);
    await mailIn(server);
    await mailOut(server);
    await useImap(server);
    await importMail(server);
    const all = Object.values(words);
    const folders = [server.directory];
    expect(filesUnder([server.data]).some((file) => file.includes('/blobs/'))).toBe(true);
    expect(server.log().split('\n').length).toBeGreaterThan(5);
    expect(findWords(folders, all)).toEqual([]);
    expect(filesWithPrivateKeys(folders)).toEqual([]);
    if (created) expect(createdElsewhere(created, server.directory)).toEqual([]);
    await created?.detach();
    await server.kill('SIGKILL');
    expect(findWords(folders, all)).toEqual([]);
    await server.serve();
    using imap = await ImapClient.open(server.ports.imap);
    await imap.ok(`LOGIN ${words.local}@${DOMAIN} ${words.password}`);
    expect((await imap.ok('LIST "" "*"')).untagged.map(({ text }) => text).join()).toContain(words.renamed);
    expect((await server.kill('SIGTERM')).code).toBe(0);
    expect(findWords(folders, all)).toEqual([]);
    expect(filesWithPrivateKeys(folders)).toEqual([]);
  },
);

async function setUp(server: TestServer): Promise<void> {
  for (const [command, input] of [
    [['org', 'create', words.organization], ''],
    [['domain', 'create', DOMAIN], ''],
    [['domain', 'dkim', 'rotate', DOMAIN], ''],
    [['domain', 'dkim', 'rotate', DOMAIN, '--unchecked'], ''],
    [['mailbox', 'create', `${words.local}@${DOMAIN}`, '--name', words.displayName], `${words.password}\n`],
    [['mailbox', 'create', `${words.pairLocal}@${DOMAIN}`, '--key-pair', '--no-password'], ''],
    [['alias', 'create', `${words.alias}@${DOMAIN}`, `${words.local}@${DOMAIN}`], ''],
    [['mailbox', 'app-password', 'create', `${words.local}@${DOMAIN}`, words.appPassword], ''],
    [['mailbox', 'app-password', 'list', `${words.local}@${DOMAIN}`], ''],
    [['mailbox', 'list'], ''],
    [['alias', 'list'], ''],
    [['org', 'list'], ''],
  ] as const) {
    const { code, error } = await server.run(command, input);
    expect([command[0], code, error]).toEqual([command[0], 0, '']);
  }
}

async function mailIn(server: TestServer): Promise<void> {
  for (const protocol of ['smtp', 'lmtp'] as const) {
    using client = await SmtpClient.open(server.ports[protocol], protocol);
    await client.ask(`${protocol === 'smtp' ? 'EHLO' : 'LHLO'} ${words.helo}.example.net`);
    const from = `${words.envelopeSender}@example.net`;
    for (const to of [words.local, words.alias, words.pairLocal]) {
      expect(await client.deliver({ from, to: [`${to}@${DOMAIN}`], message: canaryMessage() })).toMatch(/^250 /);
    }
    const large = canaryMessage(`${words.largeBody}\r\n`.repeat(20_000));
    for (const to of [words.local, words.pairLocal]) {
      expect(await client.deliver({ from, to: [`${to}@${DOMAIN}`], message: large })).toMatch(/^250 /);
    }
    const unknown = await client.deliver({ from, to: [`${words.unknownRecipient}@${DOMAIN}`], message: large });
    expect(unknown).toMatch(/^550 /);
    expect(await client.ask(`${words.badCommand} ${words.unknownRecipient}`)).toMatch(/^5/);
    expect(await client.ask(`VRFY ${words.unknownRecipient}`)).toMatch(/^\d/);
  }
}

/** Submitted: some of it stays in the queue for a server that wants it later, some is refused there and comes back. */
async function mailOut(server: TestServer): Promise<void> {
  using client = await SmtpClient.open(server.ports.submission, 'smtp');
  const login = (user: string, password: string): Promise<string> =>
    client.ask(`AUTH PLAIN ${Buffer.from(`\0${user}@${DOMAIN}\0${password}`).toString('base64')}`);
  expect(await login(words.local, words.wrongPassword)).toMatch(/^535 /);
  expect(await login(words.unknownUser, words.wrongPassword)).toMatch(/^535 /);
  expect(await login(words.local, words.password)).toMatch(/^235 /);
  const remote = `${words.remoteLocal}@${words.remoteDomain}.example`;
  const own = `From: ${words.fromName} <${words.alias}@${DOMAIN}>\r\nBcc: ${words.hiddenRecipient}@example.net\r\n`;
  const withoutFrom = (message: Buffer): Buffer => message.subarray(message.indexOf('\n') + 1);
  for (const extra of ['', `${words.submittedLarge}\r\n`.repeat(20_000)]) {
    const message = Buffer.concat([Buffer.from(own), withoutFrom(canaryMessage(extra))]);
    const from = `${words.local}@${DOMAIN}> ENVID=${words.envelopeId} RET=HDRS BODY=8BITMIME`;
    const to = `${remote}> NOTIFY=FAILURE,DELAY ORCPT=rfc822;${words.originalRecipient}@example.net`;
    for (const line of [`MAIL FROM:<${from}`, `RCPT TO:<${to}`, `RCPT TO:<${words.hiddenRecipient}@example.net>`]) {
      expect(await client.ask(line)).toMatch(/^250 /);
    }
    expect(await client.ask('DATA')).toMatch(/^354 /);
    expect(await client.transfer(message)).toMatch(/^250 /);
  }
  const message = canaryMessage();
  expect(await client.deliver({ from: `${words.spoofed}@example.net`, to: [remote], message })).toMatch(/^553 /);
  expect(await client.deliver({ from: `${words.local}@${DOMAIN}`, to: [remote], message })).toMatch(/^550 /);
  const { code, out } = await server.run(['queue', 'list']);
  expect(code).toBe(0);
  expect(out).toContain(words.remoteDomain);
  using imap = await ImapClient.login(server.ports.imap, `${words.local}@${DOMAIN}`, words.password);
  await imap.ok('SELECT INBOX');
  const reportsCount = async (): Promise<number> => {
    const texts = (await imap.fetchAll()).map(({ bytes }) => bytes.toString());
    return texts.filter((text) => text.includes(`Diagnostic-Code: smtp; 550 5.1.1 ${words.remoteReply}`)).length;
  };
  await expect.poll(reportsCount, { timeout: 20_000 }).toBe(2);
}

/** The configuration that leads to a server which refuses everything, one recipient for good. */
async function remoteServers(): Promise<TomlTable> {
  const answer = (line: string): string | undefined => {
    if (!line.startsWith('RCPT')) return undefined;
    return line.includes(words.hiddenRecipient) ? `550 5.1.1 ${words.remoteReply}` : `451 4.3.0 ${words.remoteReply}`;
  };
  const remote = await startSmtpRemote({ ehlo: ['PIPELINING', '8BITMIME', 'DSN'], answer });
  const domains = [`${words.remoteDomain}.example`, 'example.net'];
  const zone = Object.fromEntries(domains.map((domain) => [domain, { MX: [`10 mx.${words.remoteDomain}.example`] }]));
  const dns = await startDnsServer({ ...zone, [`mx.${words.remoteDomain}.example`]: { A: ['127.0.0.1'] } });
  return {
    dns: { servers: [`127.0.0.1:${String(dns.port)}`] },
    outbound: { enabled: true, port: remote.port, refusedNetworks: [] },
  };
}

async function useImap(server: TestServer): Promise<void> {
  using imap = await ImapClient.open(server.ports.imap);
  const login = (user: string, password: string) => imap.command(`LOGIN ${user}@${DOMAIN} ${password}`);
  expect((await login(words.local, words.wrongPassword)).status).toBe('NO');
  expect((await login(words.unknownUser, words.wrongPassword)).status).toBe('NO');
  expect((await imap.command(`ID ("name" "${words.clientId}")`)).status).toMatch(/OK|BAD/);
  expect((await login(words.local, words.password)).status).toBe('OK');
  expect((await imap.command(`X${words.badCommand} "${words.subject}"`)).status).toBe('BAD');
  expect((await imap.command(`SELECT ${words.unknownFolder}`)).status).toBe('NO');
  const accent = `${words.accentFolder.slice(0, 8)}&AOQ-${words.accentFolder.slice(9)}`; // modified UTF-7 of ä
  for (const name of [words.folder, accent, `Archive/${words.renamed}x`]) await imap.ok(`CREATE "${name}"`);
  await imap.ok(`SUBSCRIBE "${words.subscribed}"`).catch(() => undefined); // some servers want it to exist
  await imap.ok(`SUBSCRIBE "${words.folder}"`);
  expect((await imap.append(words.folder, canaryMessage(), `\\Seen ${words.keyword}`)).status).toBe('OK');
  expect((await imap.append('INBOX', canaryMessage(words.largeBody.repeat(9000)))).status).toBe('OK');
  const { exists } = await imap.select('INBOX');
  expect(exists).toBe(9);
  await imap.ok(`UID STORE 1:7 +FLAGS (\\Flagged ${words.keyword})`); // reports on outgoing mail may come meanwhile
  for (const criterion of [
    `TEXT "${words.body}"`,
    `BODY "${words.base64Body}"`,
    `BODY "${words.attachmentText.toUpperCase()}"`,
    `SUBJECT "${words.subject}"`,
    `FROM "${words.fromName}"`,
    `HEADER Message-ID "${words.messageId}"`,
    `KEYWORD ${words.keyword}`,
    `TEXT "${words.searched}"`,
  ]) {
    const { untagged } = await imap.ok(`UID SEARCH ${criterion}`);
    const found =
      untagged
        .map(({ text }) => text)
        .join()
        .match(/\d+/g)?.length ?? 0;
    if (criterion.includes(words.searched)) expect(found).toBe(0);
    else if (!criterion.includes(words.attachmentText.toUpperCase()))
      expect([criterion, found]).toEqual([criterion, 7]);
  }
  await imap.ok('UID FETCH 1:* (ENVELOPE BODYSTRUCTURE BODY.PEEK[] BODY.PEEK[1]<0.20> PREVIEW EMAILID THREADID)');
  await imap.ok('UID SORT (SUBJECT DISPLAYFROM) UTF-8 ALL');
  for (const algorithm of ['REFERENCES', 'ORDEREDSUBJECT']) await imap.ok(`UID THREAD ${algorithm} UTF-8 ALL`);
  await imap.ok(`UID COPY 1:3 "${words.folder}"`);
  await imap.ok(`UID MOVE 1 "${accent}"`);
  await imap.ok('UID STORE 2 +FLAGS (\\Deleted)');
  await imap.ok('EXPUNGE');
  await imap.ok(`RENAME "${words.folder}" "${words.renamed}"`);
  await imap.ok(`SETMETADATA INBOX (/private/vendor/${words.annotationName} "${words.annotation}")`);
  await imap.ok(`GETMETADATA INBOX /private/vendor/${words.annotationName}`);
  await imap.ok('LIST "" "*"');
  await imap.ok('LOGOUT');
}

/** The archive lies elsewhere: it is the operator's. */
async function importMail(server: TestServer): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'sealpost-archive-'));
  onTestFinished(() => {
    rmSync(folder, { recursive: true });
  });
  const message = `X-Keywords: ${words.importedKeyword}\nSubject: ${words.importedSubject}\n\n${words.body}\n`;
  writeFileSync(join(folder, words.importedFolder), `From a@b Mon Sep 12 10:00:00 2022\n${message}\n`.repeat(3));
  for (const storedCount of [3, 0]) {
    const { code, out } = await server.run(['import', 'mbox', `${words.local}@${DOMAIN}`, folder, '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ folders: [{ folder: words.importedFolder, storedCount, equalCount: 3 }] });
  }
}

/** Files that the process made outside `directory`. */
function createdElsewhere(strace: Strace, directory: string): string[] {
  return strace
    .calls()
    .filter(({ name, given }) => name !== 'openat' || given.includes('O_CREAT'))
    .map(({ given }) => /"([^"]*)"/.exec(given)?.[1] ?? '?')
    .filter((path) => !path.startsWith(directory) && !path.startsWith('/dev/'));
}
