import { expect, test } from 'vitest';
import { openAdmin } from './fixture.ts';

test('org retention shows and sets days; mailbox undelete asks for what was expunged since a time', async () => {
  const asked: string[] = [];
  await using admin = await openAdmin({
    undelete: ({ mailbox }, sinceMs) => {
      asked.push(`${mailbox} ${String(sinceMs)}`);
      return Promise.resolve({ folder: 'Undeleted', messagesCount: 2, damagedCount: 1 });
    },
  });
  await admin.json('org create Example');
  await admin.json('domain create example.org');
  const { ref } = await admin.json<{ ref: { mailbox: string } }>('mailbox create ann@example.org --no-password');
  expect((await admin.run('org retention Example')).out).toBe('Expunged messages are shredded at once.\n');
  expect(await admin.json('org retention Example --days 30')).toMatchObject({ days: 30 });
  expect((await admin.run('org retention Example')).out).toContain('kept for 30 days');
  expect(admin.base.accounts.organizations.retaining()).toMatchObject([{ retentionMs: 30 * 86_400_000 }]);
  expect((await admin.run('org retention Example --days 4000')).code).toBe(1);
  expect((await admin.run('org retention Example --days x')).code).toBe(2);

  const { out } = await admin.run('mailbox undelete ann@example.org --since 2026-01-31T10:00Z');
  expect(out).toBe('Brought back 2 messages into Undeleted.\n1 do not open and stay where they are.\n');
  expect(asked).toEqual([`${ref.mailbox} ${String(Date.UTC(2026, 0, 31, 10))}`]);
  for (const since of ['yesterday', '2026-13-01', '2026']) {
    expect((await admin.run(`mailbox undelete ann@example.org --since ${since}`)).code).toBe(2);
  }
});
