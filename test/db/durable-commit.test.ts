import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { DurableCommit } from '../../src/db/durable-commit.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();

test('D1 D2 many waiters are served, those that come during a sync by the next one', async () => {
  const descriptor = openSync(join(directory, 'log'), 'w');
  const commit = new DurableCommit(descriptor, () => {
    throw new Error('no failure was expected');
  });
  const order: number[] = [];
  const first = commit.durable().then(() => order.push(1));
  const others = [2, 3].map((name) => commit.durable().then(() => order.push(name)));
  await Promise.all([first, ...others]);
  expect(order).toEqual([1, 2, 3]);
  closeSync(descriptor);
});

test('D3 after a failed sync nothing is ever durable', async () => {
  const descriptor = openSync(join(directory, 'other'), 'w');
  closeSync(descriptor); // fdatasync now fails with EBADF
  const failures: Error[] = [];
  const commit = new DurableCommit(descriptor, (error) => failures.push(error));
  const [one, two] = [commit.durable(), commit.durable()];
  await expect(one).rejects.toMatchObject({ code: 'storage-failed', retryable: false });
  await expect(two).rejects.toMatchObject({ code: 'storage-failed' });
  await expect(commit.durable()).rejects.toMatchObject({ code: 'storage-failed' });
  expect(failures).toHaveLength(1);
});
