/** A server whose keyring is protected by a passphrase: it starts with it only, and says what is wrong at once. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { TestServer } from '../support/server.ts';
import { inboxOf, serverWithMail } from './providers/mail-round-trip.ts';

const TIMEOUT_MS = 60_000;
const PASSPHRASE = 'a passphrase of some length';

test(
  'KL1 init seals a new keyring; without the passphrase, or with a wrong one, the server does not start',
  { timeout: TIMEOUT_MS },
  async () => {
    const server = await serverWithMail({ config: { keys: { localKeyring: { passphrase: PASSPHRASE } } } });
    const before = await inboxOf(server);
    expect(readFileSync(join(server.data, 'keyring.json'), 'utf8')).toContain('"kdf": "scrypt"');
    await server.kill();

    const reopened = (env: Record<string, string>, localKeyring = {}) =>
      TestServer.prepare({ directory: server.directory, env, config: { keys: { localKeyring } } });
    await expect(reopened({}).serve()).rejects.toThrow(
      /cannot start: the keyring is protected by a passphrase, and none is/,
    );
    const wrong = { SEALPOST_KEYS_LOCAL_KEYRING_PASSPHRASE: 'another passphrase' };
    await expect(reopened(wrong).serve()).rejects.toThrow(/cannot start: the passphrase does not open the keyring/);

    const credentials = join(server.directory, 'credentials');
    mkdirSync(credentials);
    writeFileSync(join(credentials, 'sealpost-keyring'), `${PASSPHRASE}\n`);
    const again = reopened({ CREDENTIALS_DIRECTORY: credentials });
    await again.serve();
    expect(await inboxOf(again)).toEqual(before);
  },
);

test(
  'a running server is protected, loses no mail, and reminds of a backup until there is one',
  { timeout: TIMEOUT_MS },
  async () => {
    const server = await serverWithMail({});
    const before = await inboxOf(server);
    await expect.poll(() => server.log()).toContain('root keys are on this disk only');
    expect((await server.run(['status'])).out).toContain('keyring backup');
    await server.kill();
    const passphraseFile = join(server.directory, 'passphrase');
    writeFileSync(passphraseFile, PASSPHRASE);
    const configured = TestServer.prepare({
      directory: server.directory,
      env: { SEALPOST_KEYS_LOCAL_KEYRING_PASSPHRASE_FILE: passphraseFile },
    });
    await configured.serve();
    await expect.poll(() => configured.log()).toContain('the keyring is not protected');
    expect(await configured.run(['keyring', 'protect'])).toMatchObject({ code: 0 });
    await configured.run(['cache', 'drop']);
    expect(await inboxOf(configured)).toEqual(before);
    const copy = join(server.directory, 'copy.json');
    expect(await configured.run(['keyring', 'backup', copy])).toMatchObject({ code: 0 });
    expect(readFileSync(copy, 'utf8')).toBe(readFileSync(join(server.data, 'keyring.json'), 'utf8'));
    await configured.restart();
    expect(await inboxOf(configured)).toEqual(before);
    expect((await configured.run(['status'])).out).not.toContain('keyring backup FILE');
  },
);
