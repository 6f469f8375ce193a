/** A remote SMTP server that does what a script says, byte by byte; it records what it got. */
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { onTestFinished } from 'vitest';

/** `CUT` hangs up, `MUTE` says nothing from now on, null says nothing this once. */
type Step = string | Buffer | typeof CUT | typeof MUTE | null;
export const MUTE = Symbol('mute');
export const CUT = Symbol('cut');
export type RemoteMessage = Readonly<{ sender: string; recipients: readonly string[]; data: Buffer }>;

/** How it answers; what is left out is answered as a plain server does. A string is sent with CRLF. */
export type RemoteScript = Readonly<{
  greeting?: Step;
  ehlo?: readonly string[] | ((isTls: boolean) => readonly string[]);
  /** Answers one command line; undefined: as usual, null: not at all. */
  answer?: (line: string, count: number) => Step | undefined;
  /** Called with the number of bytes of data so far. */
  duringData?: (bytes: number, recipients: readonly string[]) => Step | undefined;
  afterData?: (message: RemoteMessage, count: number) => Step | undefined;
  tls?: Readonly<{ key: string; cert: string }>;
}>;

export type SmtpRemote = Readonly<{
  port: number;
  /** Whole messages that were answered 2xx. */
  messages: RemoteMessage[];
  /** Every command line of all sessions. */
  lines: string[];
  /** The bytes after DATA of all messages, as they came, ends included. */
  raw: Buffer[];
  connectionsCount(): number;
}>;

const END = Buffer.from('\r\n.\r\n');

/** Stopped when the test ends. */
export async function startSmtpRemote(
  script: RemoteScript = {},
  { host = '127.0.0.1', port = 0 }: Readonly<{ host?: string; port?: number }> = {},
): Promise<SmtpRemote> {
  const [messages, lines, raw] = [[] as RemoteMessage[], [] as string[], [] as Buffer[]];
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    converse(socket, script, { messages, lines, raw });
  });
  await new Promise<void>((resolve) => server.listen(port, host, resolve));
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise<void>((resolve) => {
      server.close(() => {
        resolve();
      });
    });
  });
  return { port: (server.address() as AddressInfo).port, messages, lines, raw, connectionsCount: () => connections };
}

type Record = Readonly<{ messages: RemoteMessage[]; lines: string[]; raw: Buffer[] }>;

function converse(first: Socket, script: RemoteScript, record: Record): void {
  let socket: Socket = first;
  let [rest, isData, isMute, count] = [Buffer.alloc(0), false, false, 0];
  let [sender, recipients] = ['', [] as string[]];
  const say = (step: Step): void => {
    if (step === null || isMute || socket.destroyed) return;
    if (step === MUTE) isMute = true;
    else if (step === CUT) socket.destroy();
    else socket.write(Buffer.isBuffer(step) ? step : `${step}\r\n`);
  };
  const usual = (line: string): Step => {
    const verb = line.split(' ', 1)[0]?.toUpperCase();
    switch (verb) {
      case 'EHLO': {
        const all = typeof script.ehlo === 'function' ? script.ehlo(socket instanceof TLSSocket) : (script.ehlo ?? []);
        const keywords = ['remote.test', ...all];
        return keywords.map((word, at) => `250${at === keywords.length - 1 ? ' ' : '-'}${word}`).join('\r\n');
      }
      case 'MAIL':
        [sender, recipients] = [/<(.*)>/.exec(line)?.[1] ?? '', []];
        return '250 2.1.0 ok';
      case 'RCPT':
        recipients.push(/<(.*)>/.exec(line)?.[1] ?? '');
        return '250 2.1.5 ok';
      case 'DATA':
        return recipients.length > 0 ? '354 go on' : '503 5.5.1 no recipients';
      case 'QUIT':
        return '221 2.0.0 bye';
      case 'STARTTLS':
        return script.tls ? '220 2.0.0 go on' : '502 5.5.1 no';
      default:
        return '250 2.0.0 ok';
    }
  };
  const onLine = (line: string): void => {
    record.lines.push(line);
    count += 1;
    const given = script.answer?.(line, count);
    const answer = given === undefined ? usual(line) : given;
    if (typeof answer === 'string' && answer.startsWith('354')) isData = true;
    say(answer);
    if (/^STARTTLS$/i.test(line) && typeof answer === 'string' && answer.startsWith('220') && script.tls) {
      first.removeAllListeners('data');
      const secure = new TLSSocket(first, { isServer: true, ...script.tls });
      socket = secure;
      secure.on('error', () => first.destroy());
      secure.on('data', onData);
    }
  };
  const onData = (bytes: Buffer): void => {
    rest = Buffer.concat([rest, bytes]);
    while (rest.length > 0) {
      if (isData) {
        const step = script.duringData?.(rest.length, recipients);
        if (step !== undefined) say(step);
        const isEmpty = rest.subarray(0, 3).equals(Buffer.from('.\r\n'));
        const end = isEmpty ? 0 : rest.indexOf(END);
        if (end < 0) return;
        const [data, after] = isEmpty ? [Buffer.alloc(0), 3] : [rest.subarray(0, end + 2), end + END.length];
        record.raw.push(rest.subarray(0, after));
        rest = rest.subarray(after);
        isData = false;
        const message = { sender, recipients, data };
        const given = script.afterData?.(message, record.raw.length);
        const answer = given === undefined ? '250 2.0.0 taken' : given;
        if (typeof answer === 'string' && answer.startsWith('2')) record.messages.push(message);
        recipients = [];
        say(answer);
      } else {
        const end = rest.indexOf('\n');
        if (end < 0) return;
        const line = rest.subarray(0, end).toString('latin1').replace(/\r$/, '');
        rest = rest.subarray(end + 1);
        onLine(line);
      }
    }
  };
  socket.on('error', () => undefined);
  socket.on('data', onData);
  say(script.greeting === undefined ? '220 remote.test ESMTP' : script.greeting);
}
