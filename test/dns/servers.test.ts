import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { isLoopback, systemNameServers } from '../../src/dns/servers.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

test('the name servers of the system, three at most', () => {
  const file = join(temporaryDirectory(), 'resolv.conf');
  writeFileSync(
    file,
    '# nameserver 1.1.1.1\nnameserver 192.0.2.1\nnameserver x\nnameserver fe80::1%eth0\noptions edns0\n',
  );
  expect(systemNameServers(file)).toEqual([
    { address: '192.0.2.1', port: 53 },
    { address: 'fe80::1%eth0', port: 53 },
  ]);
  writeFileSync(file, 'nameserver 192.0.2.1\n'.repeat(4));
  expect(systemNameServers(file)).toHaveLength(3);
});

test('without any it is this host', () => {
  expect(systemNameServers('/nonexistent/resolv.conf')).toEqual([{ address: '127.0.0.1', port: 53 }]);
});

test.for([
  ['127.0.0.1', true],
  ['127.8.9.10', true],
  ['::1', true],
  ['192.0.2.127', false],
  ['1127.0.0.1', false],
  ['fe80::1', false],
] as const)('D2 %s is on this host: %s', ([address, expected]) => {
  expect(isLoopback({ address, port: 53 })).toBe(expected);
});
