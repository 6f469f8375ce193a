/** AC1 AC2 AC3: when a certificate is asked for, and what becomes of the files. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { makeSelfSigned } from '../../src/config/self-signed.ts';
import type { Logger } from '../../src/observe/logger.ts';
import { AcmeCertificate, type AcmeOptions } from '../../src/web/acme.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();
const logger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => logger,
};
const pairFor = (hostname: string) => {
  const { certificatePem, keyPem } = makeSelfSigned({ hostname, notBefore: new Date(), validDays: 90 });
  return { certificate: certificatePem, key: keyPem };
};

function world(
  issue: (options: AcmeOptions, tokens: Map<string, string>) => Promise<{ key: string; certificate: string }>,
) {
  const options: AcmeOptions = {
    directoryUrl: 'https://acme.invalid/directory',
    email: null,
    names: ['mail.example.org'],
    accountKeyFile: join(directory, 'account.pem'),
    certificateFile: join(directory, 'certificate.pem'),
    keyFile: join(directory, 'key.pem'),
    ca: null,
  };
  const old = pairFor('mail.example.org');
  writeFileSync(options.certificateFile, old.certificate);
  writeFileSync(options.keyFile, old.key);
  const seen = { reloads: 0, issued: 0 };
  const acme = new AcmeCertificate({
    options,
    logger,
    reload: () => (seen.reloads += 1),
    nowMs: Date.now,
    issue: (...given) => {
      seen.issued += 1;
      return issue(...given);
    },
  });
  return { acme, options, seen, old };
}

test('AC2 AC3 a self-signed certificate is replaced, by files of mode 0600, and served at once', async () => {
  const fresh = pairFor('mail.example.org');
  const { acme, options, seen } = world((_options, tokens) => {
    tokens.set('token', 'token.answer');
    expect(acme.challenge('token')).toBe('token.answer');
    return Promise.resolve(fresh);
  });
  expect(await acme.renewIfDue()).toBe(true);
  expect(seen).toEqual({ reloads: 1, issued: 1 });
  expect(readFileSync(options.certificateFile, 'utf8')).toBe(fresh.certificate);
  expect(readFileSync(options.keyFile, 'utf8')).toBe(fresh.key);
  for (const file of [options.certificateFile, options.keyFile]) expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(acme.challenge('other')).toBeNull();
  acme[Symbol.dispose]();
});

test.for([
  ['an authority that fails', () => Promise.reject(new Error('rate limited')), 'rate limited'],
  [
    'a certificate for another key',
    () =>
      Promise.resolve({ certificate: pairFor('mail.example.org').certificate, key: pairFor('mail.example.org').key }),
    'another key',
  ],
] as const)('AC1 %s leaves the old pair', async ([, issue, reason]) => {
  const { acme, options, seen, old } = world(issue);
  await expect(acme.renewIfDue()).rejects.toThrow(reason);
  expect(readFileSync(options.certificateFile, 'utf8')).toBe(old.certificate);
  expect(readFileSync(options.keyFile, 'utf8')).toBe(old.key);
  expect(seen.reloads).toBe(0);
});
