/** Submission in front of mailboxes and a queue in memory. Users are bob and eve; their password is `pw`. */
import { connect as connectTls } from 'node:tls';
import { connect } from 'node:net';
import { messageId } from '../../src/base/ids.ts';
import { ServerError, type ErrorCode } from '../../src/base/errors.ts';
import type { Config } from '../../src/config/schema.ts';
import type { NewQueuedMessage, QueueWriter } from '../../src/queue/writer.ts';
import { Sasl } from '../../src/sasl/mechanisms.ts';
import { memoryAddresses, memoryDelivery, refOf } from '../delivery/memory-mailboxes.ts';
import { listenFor, MailClient } from './mail-client.ts';

type Step = 'newMessage' | 'write' | 'finish' | 'commit';

export class MemoryQueue {
  readonly queued: (NewQueuedMessage & { bytes: string })[] = [];
  readonly faults = new Map<Step, ErrorCode>();
  openWriters = 0;

  async newMessage(): Promise<QueueWriter> {
    this.#step('newMessage');
    this.openWriters += 1;
    const chunks: Buffer[] = [];
    let isOpen = true;
    const end = (): void => {
      if (isOpen) this.openWriters -= 1;
      isOpen = false;
    };
    return {
      write: async (chunk: Uint8Array) => {
        this.#step('write');
        chunks.push(Buffer.from(chunk));
      },
      finish: async () => {
        this.#step('finish');
      },
      commit: async (message: NewQueuedMessage) => {
        end();
        this.#step('commit');
        this.queued.push({ ...message, bytes: Buffer.concat(chunks).toString('latin1') });
        return messageId('0'.repeat(32));
      },
      discard: async () => {
        end();
      },
    } as unknown as QueueWriter;
  }

  #step(step: Step): void {
    const code = this.faults.get(step);
    if (code) throw new ServerError(code, { clientText: 'ordered fault', retryable: true });
  }
}

export async function startSubmission(config: Partial<Config['smtp']['submission']> = {}) {
  const { delivery, mailboxes } = memoryDelivery();
  const queue = new MemoryQueue();
  const state = { isCurrent: true, attempts: [] as string[], loginFault: null as ErrorCode | null };
  const submission = {
    queue,
    addresses: {
      isOwnedBy: async (ref: { mailbox: string }, address: string) => {
        const found = await memoryAddresses.resolveRecipient(address);
        return found.kind === 'mailbox' && found.ref.mailbox === ref.mailbox;
      },
    },
    sasl: new Sasl({
      logins: {
        login: async (username: string, password: string) => {
          state.attempts.push(username);
          if (state.loginFault) throw new ServerError(state.loginFault, { clientText: 'x', retryable: true });
          const [user = ''] = username.split('@');
          if (password !== 'pw' || !['bob', 'eve'].includes(user)) return { kind: 'refused' } as const;
          const login = { ref: refOf(user), username: `${user}@example.org`, isCurrent: () => state.isCurrent };
          return { kind: 'ok', ...login } as const;
        },
      },
    }),
  };
  const listen = [{ host: '127.0.0.1', port: 0 }];
  const limits = { maxMessagesPerHourCount: 1000, maxRecipientsPerHourCount: 1000 };
  const rest = { listen, allowCleartextLogin: false, traceClientAddress: false, ...limits };
  const started = await listenFor(delivery, { submission: { ...rest, ...config } }, submission);
  return { ...started, mailboxes, queue, state };
}

export const PLAIN = (user: string, password = 'pw', onBehalfOf = ''): string =>
  Buffer.from(`${onBehalfOf}\0${user}\0${password}`).toString('base64');

/** Connected to port 465, and logged in where a user is named. */
export async function secured(port: number, user?: string): Promise<MailClient> {
  const client = new MailClient(connectTls({ socket: connect(port, '127.0.0.1'), rejectUnauthorized: false }));
  await client.reply();
  await client.ask('EHLO client.example.net');
  if (user !== undefined) await client.ask(`AUTH PLAIN ${PLAIN(user)}`);
  return client;
}

export async function sendTo(
  client: MailClient,
  { from = 'bob@example.org', to = ['x@example.net'], message = 'From: bob@example.org\r\n\r\nhello\r\n' },
): Promise<string> {
  const started = await client.ask(`MAIL FROM:<${from}>`);
  if (!started.startsWith('250')) return started;
  for (const address of to) {
    const reply = await client.ask(`RCPT TO:<${address}>`);
    if (!reply.startsWith('250')) return reply;
  }
  const goAhead = await client.ask('DATA');
  if (!goAhead.startsWith('354')) return goAhead;
  client.send(`${message}.\r\n`);
  return client.reply();
}
