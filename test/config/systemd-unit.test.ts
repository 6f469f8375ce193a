/** config/sealpost.service: what the README promises of it, and that systemd understands it where there is one. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const unit = readFileSync(join(import.meta.dirname, '../../config/sealpost.service'), 'utf8');
const directory = temporaryDirectory();

test.each([
  'LimitCORE=0',
  'MemorySwapMax=0',
  'ProtectProc=invisible',
  'NoNewPrivileges=yes',
  'PrivateTmp=yes',
  'ProtectSystem=strict',
  'UMask=0077',
  'StateDirectoryMode=0700',
])('keys in memory and files on disk are guarded: %s', (line) => {
  expect(unit.split('\n')).toContain(line);
});

test('the server takes no signal that opens a debugger', () => {
  expect(unit).toMatch(/^ExecStart=\S+\/node --disable-sigusr1 --max-semi-space-size=4 \S+\/src\/main\.ts serve /m);
});

const hasSystemd = spawnSync('systemd-analyze', ['--version']).status === 0;
test.skipIf(!hasSystemd)('systemd-analyze finds no fault in it', () => {
  const file = join(directory, 'sealpost.service');
  writeFileSync(file, unit.replaceAll(/(?<==)\/opt\/sealpost\/node_modules\/\.bin\/node/g, '/bin/true'));
  const { status, stderr } = spawnSync('systemd-analyze', ['verify', file], { encoding: 'utf8' });
  const ours = stderr.split('\n').filter((line) => line.includes('sealpost'));
  expect([status, ours]).toEqual([0, []]);
});
