/** DS1 DS2 DS3: an installation as a file, applied to a real directory. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { DeclaredState, Plan } from '../../src/admin/declared-state.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { openAdmin } from './fixture.ts';

const directory = temporaryDirectory();
type Applied = Plan & Readonly<{ isDone: boolean }>;

async function world() {
  const admin = await openAdmin();
  onTestFinished(() => admin[Symbol.asyncDispose]());
  const file = join(directory, `${String(Math.random()).slice(2)}.json`);
  const apply = async (state: unknown, options = '--yes --json') => {
    writeFileSync(file, JSON.stringify(state));
    return admin.run(`apply ${file} ${options}`);
  };
  const applied = async (state: unknown, options?: string): Promise<Applied> => {
    const { code, out, error } = await apply(state, options);
    if (code !== 0) throw new Error(error);
    return JSON.parse(out) as Applied;
  };
  const snapshot = () => admin.json<DeclaredState>('snapshot');
  await admin.json('org create Seed');
  const [seed] = (await snapshot()).organizations;
  if (!seed) throw new Error('no organization');
  const key = { provider: seed.provider, rootKey: seed.rootKey };
  return { admin, apply, applied, snapshot, key, seed };
}

test('DS1 DS3 a file makes an installation, its snapshot is the file, and again there is nothing to do', async () => {
  const { applied, snapshot, key, seed, admin } = await world();
  const acme = {
    name: 'Acme',
    ...key,
    state: 'active',
    domains: [
      { name: 'acme.example', state: 'active' },
      { name: 'old.example', state: 'suspended' },
    ],
    mailboxes: [
      {
        address: 'ann@acme.example',
        displayName: 'Ann',
        state: 'active',
        keyKind: 'symmetric',
        maxBytes: 1000,
        maxMessagesCount: null,
        aliases: ['a@acme.example', 'sales@acme.example'],
      },
      {
        address: 'bob@acme.example',
        displayName: null,
        state: 'suspended',
        keyKind: 'pair',
        maxBytes: null,
        maxMessagesCount: 5,
        aliases: [],
      },
    ],
  };
  const wanted = { organizations: [acme, seed] };
  const plan = await applied(wanted, '--plan --json');
  expect([plan.isDone, plan.steps.length]).toEqual([false, 11]);
  expect((await snapshot()).organizations).toHaveLength(1);
  await applied(wanted);
  expect(await snapshot()).toEqual(wanted);
  expect(await applied(wanted)).toEqual({ steps: [], notes: [], isDone: true });
  expect((await admin.base.accounts.mailboxes.require('ann@acme.example')).hasPassword).toBe(false);
});

test('DS2 what the file lacks stays and is told, but aliases follow it; a key is not changed', async () => {
  const { applied, snapshot, admin, seed } = await world();
  for (const line of [
    'domain create a.example',
    'mailbox create ann@a.example --no-password',
    'mailbox create bob@a.example --no-password',
    'alias create old@a.example ann@a.example',
  ]) {
    await admin.json(line);
  }
  const before = await snapshot();
  const ann = before.organizations[0]?.mailboxes.find(({ address }) => address === 'ann@a.example');
  const wanted = {
    organizations: [{ ...seed, rootKey: 'other', domains: [], mailboxes: [{ ...ann, aliases: ['new@a.example'] }] }],
  };
  const { steps, notes } = await applied(wanted);
  expect(steps.map(({ text }) => text)).toEqual([
    'create alias new@a.example of ann@a.example',
    'delete alias old@a.example of ann@a.example',
  ]);
  expect(notes.join('\n')).toMatch(
    /key move[^]*domain a\.example is not in the file[^]*mailbox bob@a\.example is not in the file/,
  );
  const after = await snapshot();
  expect(after.organizations[0]?.mailboxes.map(({ address, aliases }) => [address, aliases])).toEqual([
    ['ann@a.example', ['new@a.example']],
    ['bob@a.example', []],
  ]);
  expect(after.organizations[0]?.rootKey).toBe(seed.rootKey);
});

test('nothing is changed without consent, or by a file that is not understood', async () => {
  const { apply, snapshot, key } = await world();
  const wanted = { organizations: [{ name: 'New', ...key }] };
  const asked = await apply(wanted, '');
  expect([asked.code, asked.error.includes('create organization New')]).toEqual([1, true]);
  for (const bad of [{ organizations: [{ name: 'X' }] }, { organisations: [] }, 'text'])
    expect((await apply(bad)).code).toBe(1);
  expect((await snapshot()).organizations).toHaveLength(1);
});
