import { expect, onTestFinished, test } from 'vitest';
import type { MessageId } from '../../src/base/ids.ts';
import { madeDomain } from '../accounts/fixture.ts';
import { attemptOf, ENVELOPE, recipientOf } from '../support/queue-world.ts';
import { openAdmin } from './fixture.ts';

async function started() {
  const admin = await openAdmin();
  onTestFinished(() => admin[Symbol.asyncDispose]());
  const organization = await madeDomain(admin.base);
  const enqueue = async (...addresses: string[]): Promise<MessageId> => {
    const writer = await admin.queue.newMessage(organization);
    await writer.write(Buffer.alloc(2000));
    await writer.finish();
    return writer.commit({ envelope: ENVELOPE, recipients: addresses.map(recipientOf) });
  };
  return { ...admin, organization, enqueue };
}

test('queue list and show say what waits for whom, and what became of it', async () => {
  const { run, json, queue, enqueue, base } = await started();
  expect((await run('queue list')).out).toBe('ITEM  STATE  SIZE  ACCEPTED  FROM  TO\n');
  const id = await enqueue('x@example.net', 'y@example.net');
  {
    using item = await queue.claim(id);
    const nextAtMs = base.nowMs + 60_000;
    await item?.settle([{ recipient: 0, kind: 'deferred', attempt: attemptOf('4.2.1'), owesReport: false, nextAtMs }]);
  }
  const { out } = await run('queue list');
  expect(out).toContain(`${id}  waiting  2K    1970-01-01 00:16:40 UTC  anna@example.org  x@example.net and 1 more`);
  expect((await run(`queue show ${id}`)).out).toMatch(
    /x@example\.net {2}waiting {2}1 attempts {2}next 1970-01-01 00:17:40 UTC {2}mx\.example\.net 4\.2\.1 said 4\.2\.1\n/,
  );
  expect(await json('queue list --org Example')).toMatchObject({
    items: [{ item: id, sender: 'anna@example.org', recipients: [{ attemptsCount: 1 }, { attemptsCount: 0 }] }],
    state: { messagesCount: 1, recipientsCount: 2 },
  });
  expect((await run('status')).out).toMatch(/^queue +1 messages for 2 recipients, the oldest \d+ d /m);
  expect(await json('status')).toMatchObject({ queue: { messagesCount: 1, sizeBytes: 2000 } });
  expect(await run(`queue show ${'0'.repeat(32)}`)).toMatchObject({
    code: 1,
    error: expect.stringContaining('sealpost queue list') as string,
  });
  expect((await run('queue show nonsense')).code).toBe(1);
});

test('QO1 while the key cannot be had, mail is listed by its id', async () => {
  const { run, base, organization, enqueue } = await started();
  const id = await enqueue('x@example.net');
  await base.accounts.organizations.setState(organization, 'suspended');
  expect((await run('queue list')).out).toMatch(new RegExp(`^${id} +sealed .* \\(sealed\\) +\\(sealed\\)$`, 'm'));
});

test('hold, release, retry and expire; status tells of what is held', async () => {
  const { run, queue, enqueue, base } = await started();
  const [first, second] = [await enqueue('x@example.net'), await enqueue('y@example.net')];
  expect((await run(`queue hold ${first} ${second}`)).out).toBe('Held: 2\n');
  expect((await run('status')).out).toMatch(/2 held/);
  expect(queue.due(base.nowMs, 10)).toEqual([]);
  expect((await run(`queue release ${first}`)).out).toBe('Released: 1\n');
  expect(queue.due(base.nowMs, 10).map(({ id }) => id)).toEqual([first]);
  expect((await run('queue retry --all')).out).toBe('Due now: 2\n');
  expect(queue.due(base.nowMs, 10)).toHaveLength(2);
  expect((await run(`queue expire ${second}`)).out).toBe('Due for the last time: 1\n');
  using item = await queue.claim(second);
  expect(item?.expiresAtMs).toBe(base.nowMs);
  expect((await run('queue hold')).out).toBe('Held: 0\n');
});

test('removing says what is lost, and asks', async () => {
  const { run, queue, enqueue } = await started();
  const id = await enqueue('x@example.net', 'y@example.net');
  const refused = await run(`queue remove ${id}`);
  expect(refused.code).toBe(1);
  expect(refused.error).toContain('This destroys 1 message that was accepted and not delivered');
  expect(refused.error).toContain('from anna@example.org to x@example.net and 1 more');
  expect((await run(`queue remove ${id}`, 'no\n', true)).code).toBe(1);
  expect(queue.state().messagesCount).toBe(1);
  expect((await run(`queue remove ${id}`, `${id}\n`, true)).out).toBe('Removed: 1\n');
  await enqueue('z@example.net');
  expect((await run('queue remove --all --yes')).out).toBe('Removed: 1\n');
  expect(queue.state().messagesCount).toBe(0);
});

test('deleting an organization says what waits to be sent, and destroys it', async () => {
  const { run, queue, enqueue } = await started();
  await enqueue('x@example.net');
  expect((await run('org delete Example --domains example.org')).error).toContain('1 messages that wait to be sent');
  expect(await run('org delete Example --domains example.org --yes')).toMatchObject({ code: 0, error: '' });
  expect(queue.state().messagesCount).toBe(0);
});
