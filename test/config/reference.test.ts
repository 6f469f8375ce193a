import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { configReadme, exampleToml } from '../../src/config/reference.ts';
import { listOptions } from '../../src/config/schema.ts';

const root = path.join(import.meta.dirname, '../..');
const example = path.join(root, 'config/sealpost.example.toml');

test('the committed files are what the schema generates (run scripts/generate-config-docs.ts)', () => {
  expect(readFileSync(example, 'utf8')).toBe(exampleToml());
  expect(readFileSync(path.join(root, 'config/README.md'), 'utf8')).toBe(configReadme());
});

test('the example file says what the defaults are', () => {
  expect(loadConfig({ file: example, env: {} })).toEqual(loadConfig({ env: {} }));
});

test('the configuration of the container image is valid', () => {
  const config = loadConfig({ file: path.join(root, 'config/container.toml'), env: {} });
  expect(config.data.directory).toBe('/data');
});

test('O2 environment names follow from paths and are distinct, from names of secret files too', () => {
  // the file of this secret is an option of its own, because it is read again and again
  const isFileOption = (name: string): boolean => name === 'SEALPOST_KEYS_VAULT_TRANSIT_TOKEN';
  const names = listOptions().flatMap(({ environmentName, info }) =>
    info.isSecret && !isFileOption(environmentName) ? [environmentName, `${environmentName}_FILE`] : [environmentName],
  );
  expect(new Set(names).size).toBe(names.length);
  expect(names).toContain('SEALPOST_SMTP_MAX_MESSAGE_BYTES');
  expect(names).toContain('SEALPOST_KEYS_AWS_KMS_SECRET_ACCESS_KEY_FILE');
  expect(names.filter((name) => !/^SEALPOST(_[A-Z0-9]{2,})+$/.test(name))).toEqual([]);
});

test('S1 every whole number says its unit', () => {
  const numbers = listOptions().filter(({ info }) => info.kind === 'integer');
  const unnamed = numbers.filter(
    ({ path }) => !/(Ms|Days|Bytes|Count|KiB|BytesPerSecond|[pP]ort)$/.test(path.at(-1) ?? ''),
  );
  expect(unnamed).toEqual([]);
});

const isAssembled = existsSync(path.join(root, 'src/app.ts'));
test.skipIf(!isAssembled)('every option is read by the server', () => {
  const source = readdirSync(path.join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.startsWith(`config${path.sep}`))
    .map((file) => readFileSync(path.join(root, 'src', file), 'utf8'))
    .join('\n');
  const names = [...new Set(listOptions().map((option) => option.path.at(-1) ?? ''))];
  expect(names.filter((name) => !new RegExp(`\\b${name}\\b`).test(source))).toEqual([]);
});
