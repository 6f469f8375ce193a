/** P1 for mail on its way out: what was acknowledged to a user is in the queue after a kill, whole, and once. */
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { DOMAIN, TestServer } from '../support/server.ts';
import { SmtpClient } from '../support/wire.ts';

type Listed = Readonly<{ items: readonly { sizeBytes: number; recipients: readonly { address: string }[] }[] }>;

const CLIENTS_COUNT = 4;
const ROUNDS_COUNT = 2;

test(
  'kill -9 while users hand in mail: nothing acknowledged is lost, nothing is there twice',
  { timeout: 180_000 },
  async () => {
    // what is in the queue stays there
    const server = await TestServer.start({ users: CLIENTS_COUNT, config: { outbound: { enabled: false } } });
    const acknowledged: string[] = [];
    let number = 0;

    /** Sends until the server is gone. */
    const submit = async (user: number): Promise<void> => {
      using client = await SmtpClient.open(server.ports.submission, 'smtp');
      const name = `u${String(user)}@${DOMAIN}`;
      await client.ask(`AUTH PLAIN ${Buffer.from(`\0${name}\0pw`).toString('base64')}`);
      for (;;) {
        const id = `n${String((number += 1))}`;
        const message = Buffer.from(
          `From: ${name}\r\nSubject: ${id}\r\n\r\n${'x'.repeat(number % 5 === 0 ? 100_000 : 100)}\r\n`,
        );
        // two recipients elsewhere, and one here: one item, and one copy
        const to = [`${id}@remote.test`, `u${String((user % CLIENTS_COUNT) + 1)}@${DOMAIN}`, `${id}.b@remote.test`];
        if ((await client.deliver({ from: name, to, message })).startsWith('250')) acknowledged.push(id);
      }
    };

    for (let round = 1; round <= ROUNDS_COUNT; round += 1) {
      const before = acknowledged.length;
      const users = Array.from({ length: CLIENTS_COUNT }, (_, index) => submit(index + 1).catch(() => undefined));
      while (acknowledged.length < before + 10) await delay(5);
      await server.kill('SIGKILL');
      await Promise.all(users);
      await server.serve();
    }
    const { code, out } = await server.run(['queue', 'list', '--json', '--limit', '10000']);
    expect(code).toBe(0);
    const listed = (JSON.parse(out) as Listed).items.map(({ recipients }) => recipients.map(({ address }) => address));
    const ids = listed.map(([first = '']) => first.replace('@remote.test', ''));
    expect(acknowledged.filter((id) => !ids.includes(id))).toEqual([]);
    expect(new Set(ids).size).toBe(ids.length);
    for (const [index, id] of ids.entries())
      expect(listed[index]).toEqual([`${id}@remote.test`, `${id}.b@remote.test`]);
    expect((await server.kill('SIGTERM')).code).toBe(0);
  },
);
