import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { ConfigError, loadConfig } from '../../src/config/load.ts';

function directory(): string {
  const made = mkdtempSync(path.join(tmpdir(), 'sealpost-config-'));
  onTestFinished(() => {
    rmSync(made, { recursive: true });
  });
  return made;
}

function fileWith(toml: string): string {
  const file = path.join(directory(), 'sealpost.toml');
  writeFileSync(file, toml);
  return file;
}

function faultsOf(toml: string, env: Record<string, string> = {}): ConfigError['faults'] {
  try {
    loadConfig({ file: fileWith(toml), env });
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
  return [];
}

test('without file and environment there are the defaults', () => {
  const config = loadConfig({ env: { PATH: '/bin' } });
  expect(config.smtp).toMatchObject({
    maxMessageBytes: 52_428_800,
    maxRecipientsCount: 100,
    bareNewlines: 'normalise',
  });
  expect(config.smtp.mx.listen).toEqual([{ host: undefined, port: 25 }]);
  expect(config.imap).toMatchObject({ allowCleartextLogin: false, idleTimeoutMs: 1_800_000 });
  expect(config.keys).toMatchObject({ cacheMaxAgeMs: 60_000, defaultProvider: 'local-keyring' });
  expect(config.keys.awsKms.accessKeyId).toBeUndefined();
});

test('L1 all faults at once, each with its option', () => {
  const faults = faultsOf(
    '[imap]\nidleTimeoutMs = "soon"\nunknown = 1\n[keys]\ncacheMaxAgeMs = 60001\n[nonsense]\na = 1\n[smtp.mx]\nlisten = ["25"]',
    { SEALPOST_LOG_LEVEL: 'loud', SEALPOST_IMAP_LISTN: '*:143' },
  );
  expect(faults.map((fault) => fault.option).sort()).toEqual([
    'SEALPOST_IMAP_LISTN',
    'imap.idleTimeoutMs',
    'imap.unknown',
    'keys.cacheMaxAgeMs',
    'log.level',
    'nonsense',
    'smtp.mx.listen.0',
  ]);
  expect(new ConfigError(faults).message.split('\n')).toHaveLength(1 + faults.length);
});

test.for([
  ['a syntax error', 'password = "canary\n[x'],
  ['a wrong type', '[keys.awsKms]\nsecretAccessKey = ["canary"]'],
  ['a secret that is too long', `[keys.awsKms]\nsecretAccessKey = "canary${'x'.repeat(2000)}"`],
  ['a secret as a table', '[keys.awsKms.secretAccessKey]\ncanary = "canary"'],
] as const)('L1 %s is reported without quoting a value', ([, toml]) => {
  const { message } = new ConfigError(faultsOf(toml));
  expect(message.length).toBeGreaterThan(20);
  expect(message).not.toContain('canary');
});

test('L1 a file that cannot be read is a fault beside the others', () => {
  const missing = path.join(directory(), 'none.toml');
  expect(() => loadConfig({ file: missing, env: { SEALPOST_NONE: '1' } })).toThrow(
    /none\.toml: .*ENOENT[^]*SEALPOST_NONE/,
  );
});

test('L2 the environment wins over the file', () => {
  const file = fileWith('[imap]\nlisten = ["*:143"]\nmaxConnectionsCount = 5\n[log]\nlevel = "error"');
  const env = {
    SEALPOST_IMAP_LISTEN: '127.0.0.1:0, [::1]:1143',
    SEALPOST_IMAP_LISTEN_TLS: '',
    SEALPOST_IMAP_ALLOW_CLEARTEXT_LOGIN: 'true',
    SEALPOST_SMTP_MAX_MESSAGE_BYTES: '1_000_000',
    SEALPOST_ACCOUNTS_ARGON2_MEMORY_KIB: '8192',
  };
  const config = loadConfig({ file, env });
  expect(config.imap.listen).toEqual([
    { host: '127.0.0.1', port: 0 },
    { host: '::1', port: 1143 },
  ]);
  expect(config.imap).toMatchObject({ listenTls: [], allowCleartextLogin: true, maxConnectionsCount: 5 });
  expect(config.log.level).toBe('error');
  expect(config.smtp.maxMessageBytes).toBe(1_000_000);
  expect(config.accounts.argon2.memoryKiB).toBe(8192);
});

test.for([
  ['SEALPOST_IMAP_ALLOW_CLEARTEXT_LOGIN', 'yes'],
  ['SEALPOST_IMAP_MAX_CONNECTIONS_COUNT', '5.5'],
  ['SEALPOST_IMAP_MAX_CONNECTIONS_COUNT', '0x10'],
  ['SEALPOST_IMAP_MAX_CONNECTIONS_COUNT', ''],
  ['SEALPOST_IMAP_LISTEN', '127.0.0.1:65536'],
  ['SEALPOST_IMAP_LISTEN', '::1:143'],
  ['SEALPOST_SERVER_HOSTNAME', 'Mail.Example'],
  ['SEALPOST_SERVER_HOSTNAME', 'mail example'],
  ['SEALPOST_KEYS_AWS_KMS_ENDPOINT', 'http://user:pw@host'],
  ['SEALPOST_KEYS_CACHE_MAX_AGE_MS', '60001'],
  ['SEALPOST_DATA_DIRECTORY', 'a\nb'],
])('L2 %s=%s is refused', ([name, value]) => {
  expect(faultsOf('', { [name ?? '']: value ?? '' })).toHaveLength(1);
});

test('L2 what Kubernetes sets for a service named sealpost is no fault', () => {
  const env = { SEALPOST_SERVICE_HOST: '10.0.0.1', SEALPOST_PORT: 'tcp://10.0.0.1:25', SEALPOST_PORT_25_TCP_ADDR: 'x' };
  expect(faultsOf('', env)).toEqual([]);
});

test('L3 a secret from a file, never from two places, never missing', () => {
  const secret = path.join(directory(), 'secret');
  writeFileSync(secret, 's3cret\n');
  const env = { SEALPOST_KEYS_AWS_KMS_ACCESS_KEY_ID: 'id', SEALPOST_KEYS_AWS_KMS_SECRET_ACCESS_KEY_FILE: secret };
  expect(loadConfig({ env }).keys.awsKms).toMatchObject({ accessKeyId: 'id', secretAccessKey: 's3cret' });
  const twice = faultsOf('', { ...env, SEALPOST_KEYS_AWS_KMS_SECRET_ACCESS_KEY: 'other' });
  expect(twice.map((fault) => fault.option)).toContain('SEALPOST_KEYS_AWS_KMS_SECRET_ACCESS_KEY');
  const missing = faultsOf('', { ...env, SEALPOST_KEYS_AWS_KMS_SECRET_ACCESS_KEY_FILE: `${secret}.none` });
  expect(missing.map((fault) => fault.option)).toContain('SEALPOST_KEYS_AWS_KMS_SECRET_ACCESS_KEY_FILE');
  expect(faultsOf('', { SEALPOST_LOG_LEVEL_FILE: secret })).toHaveLength(1);
});

test('L3 half a pair of AWS credentials is a fault', () => {
  expect(faultsOf('[keys.awsKms]\naccessKeyId = "id"')).toMatchObject([{ option: 'keys.awsKms' }]);
});

test('L4 paths are absolute: the directory beside the file, the rest in the directory', () => {
  const file = fileWith('[data]\ndirectory = "mail"\n[tls]\nkeyFile = "/etc/key.pem"\n[log]\nfile = "log/x.log"');
  const base = path.join(path.dirname(file), 'mail');
  const config = loadConfig({ file, env: {} });
  expect(config.data.directory).toBe(base);
  expect(config.tls).toMatchObject({
    keyFile: '/etc/key.pem',
    certificateFile: path.join(base, 'tls/certificate.pem'),
  });
  expect(config.log.file).toBe(path.join(base, 'log/x.log'));
  expect(config.keys.localKeyring.file).toBe(path.join(base, 'keyring.json'));
  expect(config.admin.socketFile).toBe(path.join(base, 'admin.sock'));
});

test('L4 a socket path that the system cannot bind is a fault', () => {
  expect(faultsOf(`[admin]\nsocketFile = "${'d/'.repeat(60)}s"`)).toMatchObject([{ option: 'admin.socketFile' }]);
});

test('L4 the configuration cannot be changed', () => {
  const config = loadConfig({ env: {} }) as unknown as { imap: { listen: unknown[] }; smtp: { mx: object } };
  expect(() => config.imap.listen.push('x')).toThrow(TypeError);
  expect(Object.isFrozen(config.smtp.mx)).toBe(true);
});

test('L3 a Vault token comes from one place, and its file stays a file', () => {
  const token = path.join(directory(), 'token');
  writeFileSync(token, 'hvs.one\n');
  const env = { SEALPOST_KEYS_VAULT_TRANSIT_ADDRESS: 'https://vault.example:8200' };
  const { keys } = loadConfig({ env: { ...env, SEALPOST_KEYS_VAULT_TRANSIT_TOKEN_FILE: token } });
  expect(keys.vaultTransit).toMatchObject({ tokenFile: token, mount: 'transit' });
  expect(keys.vaultTransit.token).toBeUndefined();
  for (const more of ['', '\ntoken = "a"\ntokenFile = "b"']) {
    expect(faultsOf(`[keys.vaultTransit]\naddress = "https://vault.example"${more}`)).toEqual([
      { option: 'keys.vaultTransit', problem: 'address goes with either token or tokenFile' },
    ]);
  }
});

test('Vault over plain http is for this machine only', () => {
  const faults = (address: string) => faultsOf(`[keys.vaultTransit]\naddress = "${address}"\ntoken = "t"`);
  for (const local of ['http://127.0.0.1:8200', 'http://localhost', 'http://[::1]:8200/path', 'https://vault:8200']) {
    expect([local, faults(local)]).toEqual([local, []]);
  }
  for (const remote of ['http://vault:8200', 'http://localhost.example', 'http://127.0.0.1.example:8200']) {
    expect([remote, faults(remote)]).toEqual([
      remote,
      [{ option: 'keys.vaultTransit', problem: expect.stringContaining('https:') as string }],
    ]);
  }
  expect(faultsOf('[keys]\ndefaultProvider = "vault-transit"')).toEqual([
    { option: 'keys.defaultProvider', problem: 'vault-transit needs vaultTransit.address' },
  ]);
});

test('L3 the passphrase of the keyring may be a systemd credential, which the environment wins over', () => {
  const credentials = directory();
  const env = { CREDENTIALS_DIRECTORY: credentials };
  expect(loadConfig({ env }).keys.localKeyring.passphrase).toBeUndefined();
  writeFileSync(path.join(credentials, 'sealpost-keyring'), 'from systemd\n');
  expect(loadConfig({ env }).keys.localKeyring.passphrase).toBe('from systemd');
  const both = { ...env, SEALPOST_KEYS_LOCAL_KEYRING_PASSPHRASE: 'from here' };
  expect(loadConfig({ env: both }).keys.localKeyring.passphrase).toBe('from here');
});
