import { writeFileSync, statSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { AdminServer } from '../../src/admin/server.ts';
import { openAdmin } from './fixture.ts';

function ask(
  socketPath: string,
  path: string,
  body: string,
  method = 'POST',
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, path, method }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, body: text });
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

test('S1 the socket is for its owner only, and one left by a dead process is replaced', async () => {
  await using admin = await openAdmin();
  expect(statSync(admin.socket).mode & 0o777).toBe(0o600);
  await using again = await openAdmin();
  const context = { accounts: again.base.accounts } as ConstructorParameters<typeof AdminServer>[0];
  const logger = { info: () => undefined } as unknown as ConstructorParameters<typeof AdminServer>[1];
  const second = new AdminServer(context, logger);
  await second.listen(again.socket); // the other one still holds the old file
  await second.close();
  const other = join(again.base.folder, 'file');
  writeFileSync(other, 'precious');
  await expect(new AdminServer(context, logger).listen(other)).rejects.toMatchObject({ code: 'not-allowed' });
  expect(statSync(other).size).toBe(8);
});

test.for([
  ['/v1/org.list', '{}', 'POST', 200, '{"answer":[]}'],
  ['/v1/org.list', '{}', 'GET', 404, 'not-found'],
  ['/v1/nonsense', '{}', 'POST', 404, 'not-found'],
  ['/v1/toString', '{}', 'POST', 404, 'not-found'],
  ['/v1/__proto__', '{}', 'POST', 404, 'not-found'],
  ['/org.list', '{}', 'POST', 404, 'not-found'],
  ['/v1/org.list', '', 'POST', 400, 'invalid-argument'],
  ['/v1/org.list', 'null', 'POST', 400, 'invalid-argument'],
  ['/v1/org.list', '{"more":1}', 'POST', 400, 'invalid-argument'],
  ['/v1/org.create', '{"name":5}', 'POST', 400, 'name: '],
  ['/v1/org.create', '{"name":"A","provider":"aws-kms"}', 'POST', 400, 'invalid-argument'],
  ['/v1/domain.create', '{"domain":"a.example"}', 'POST', 404, 'not-found'],
  ['/v1/mailbox.list', '{"limitCount":201}', 'POST', 400, 'limitCount'],
  [
    '/v1/password.set',
    `{"address":"a@a.example","password":${JSON.stringify('x'.repeat(2 << 20))}}`,
    'POST',
    429,
    'limit-exceeded',
  ],
] as const)('S2 %#: %s', async ([path, body, method, status, text]) => {
  await using admin = await openAdmin();
  const answer = await ask(admin.socket, path, body, method).catch((error: unknown) => {
    // the server may close before all of an oversized body is written
    if (status === 429) return { status, body: text };
    throw error;
  });
  expect(answer.status).toBe(status);
  expect(answer.body).toContain(text);
});

test('S3 S4 what is unexpected goes to the log, not to the client; input goes nowhere', async () => {
  await using admin = await openAdmin({
    state: () => {
      throw new Error('a secret cause');
    },
  });
  const answer = await ask(admin.socket, '/v1/status', '{}');
  expect(answer).toMatchObject({ status: 500, body: expect.stringContaining('"internal"') as string });
  expect(answer.body).not.toContain('secret');
  await ask(admin.socket, '/v1/password.set', '{"address":"canary@a.example","password":"canarypassword"}');
  await ask(admin.socket, '/v1/canary', '{"canary":1}');
  expect(admin.logged.join('\n')).not.toContain('canary');
  expect(admin.logged.filter((line) => line.includes('"outcome"'))).toHaveLength(3);
});

test('closing ends idle connections and removes the socket', async () => {
  const admin = await openAdmin();
  const idle = connect(admin.socket);
  const closed = new Promise((resolve) => idle.once('close', resolve));
  await new Promise((resolve) => idle.once('connect', resolve));
  idle.on('error', () => undefined);
  await ask(admin.socket, '/v1/org.list', '{}');
  await admin[Symbol.asyncDispose]();
  await closed;
  expect(statSync(admin.socket, { throwIfNoEntry: false })).toBeUndefined();
  rmSync(admin.base.folder, { recursive: true, force: true });
});
