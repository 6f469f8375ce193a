import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { setUpDemo, setUpUsers } from '../../src/admin/set-up.ts';
import { makeMissingFiles } from '../../src/admin/set-up-files.ts';
import { loadConfig } from '../../src/config/load.ts';
import { LocalKeyring } from '../../src/keys/providers/local-keyring.ts';
import { LOCAL_KEY, openFixture } from '../accounts/fixture.ts';

const peer = { address: '192.0.2.1' };

test('U1 U2 the demo mailbox is made once, and its password is told once', async () => {
  await using fixture = await openFixture();
  const deps = { accounts: fixture.accounts, defaultKey: LOCAL_KEY };
  const request = { organization: 'Demo', domain: 'example.test', local: 'demo' };
  const first = await setUpDemo(deps, request);
  expect(first).toEqual({ address: 'demo@example.test', password: expect.stringMatching(/^[\w-]{16}$/) as string });
  expect(await setUpDemo(deps, request)).toEqual({ address: 'demo@example.test', password: null });
  expect((await fixture.accounts.logins.login(first.address, first.password ?? '', peer)).kind).toBe('ok');
  const postmaster = await fixture.accounts.addresses.resolveRecipient('Postmaster@example.test');
  expect(postmaster.kind).toBe('mailbox');
  await expect(setUpDemo(deps, { ...request, organization: 'Other' })).rejects.toMatchObject({ code: 'not-allowed' });
});

test('U1 test users cost one hash, and a second run adds only what is missing', async () => {
  await using fixture = await openFixture();
  const deps = { accounts: fixture.accounts, defaultKey: LOCAL_KEY };
  const request = { organization: 'Test', domain: 'bench.test', password: 'pw' };
  expect(await setUpUsers(deps, { ...request, count: 20 })).toEqual({ createdCount: 20, existingCount: 0 });
  expect(fixture.hashes).toBe(1);
  expect(await setUpUsers(deps, { ...request, count: 25 })).toEqual({ createdCount: 5, existingCount: 20 });
  for (const user of ['u1', 'u25']) {
    expect((await fixture.accounts.logins.login(`${user}@bench.test`, 'pw', peer)).kind).toBe('ok');
  }
});

test('F1 F2 files are made when they are missing, for their owner only, and never replaced', async () => {
  const base = mkdtempSync(join(tmpdir(), 'sealpost-init-'));
  const directory = join(base, 'data');
  const env = {
    SEALPOST_DATA_DIRECTORY: directory,
    SEALPOST_KEYS_DEFAULT_KEY: 'mail',
    SEALPOST_SERVER_HOSTNAME: 'mx.example',
  };
  const config = loadConfig({ env });
  const made = await makeMissingFiles(config);
  const { certificateFile, keyFile } = config.tls;
  const keyring = config.keys.localKeyring.file;
  expect([...made].sort()).toEqual([certificateFile, directory, keyFile, keyring].sort());
  expect(new X509Certificate(readFileSync(certificateFile)).checkHost('mx.example')).toBe('mx.example');
  await expect(new LocalKeyring(keyring).describe('mail')).resolves.toBeDefined();
  for (const file of [keyring, keyFile, certificateFile]) expect(statSync(file).mode & 0o777, file).toBe(0o600);
  expect(statSync(directory).mode & 0o777).toBe(0o700);
  const before = [keyring, keyFile, certificateFile].map((file) => readFileSync(file, 'utf8'));
  expect(await makeMissingFiles(config)).toEqual([]);
  expect([keyring, keyFile, certificateFile].map((file) => readFileSync(file, 'utf8'))).toEqual(before);
  rmSync(certificateFile);
  await expect(makeMissingFiles(config)).rejects.toMatchObject({ code: 'not-allowed' });
  rmSync(base, { recursive: true });
});
