/**
 * Reads the configuration: file, then environment, then secret files, then the schema.
 *
 * L1  All faults are reported at once, each with the path of its option; no value is quoted, for it
 *     may be a secret.
 * L2  The environment wins over the file. An unknown SEALPOST_ name is a fault, as in the file.
 * L3  A secret may come from the file that `<environment name>_FILE` names, never from both. Some may also come as a
 *     systemd credential ($CREDENTIALS_DIRECTORY), which the other two ways in the environment win over.
 * L4  The result is deeply frozen, and its paths are absolute: data.directory relative to the
 *     configuration file, all others relative to data.directory.
 *
 * Called by main.ts before anything else.
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parse as parseToml, TomlError } from 'smol-toml';
import type { z } from 'zod';
import { type Config, configSchema, type ListedOption, listOptions } from './schema.ts';

/** One thing wrong: `option` is a dotted path, an environment name, or the file's name. */
type ConfigFault = Readonly<{ option: string; problem: string }>;

/** The configuration cannot be used; the message lists every fault. */
export class ConfigError extends Error {
  readonly faults: readonly ConfigFault[];

  constructor(faults: readonly ConfigFault[]) {
    super(`configuration: ${faults.map((fault) => `\n  ${fault.option}: ${fault.problem}`).join('')}`);
    this.name = 'ConfigError';
    this.faults = faults;
  }
}

type ConfigSources = Readonly<{
  file?: string | undefined;
  env: Readonly<Record<string, string | undefined>>;
}>;

type Table = Record<string, unknown>;
const MAX_FILE_BYTES = 1024 * 1024;
const MAX_SOCKET_PATH_BYTES = 107; // sun_path of Linux, less its final zero
const ENVIRONMENT_PREFIX = 'SEALPOST_';
/** Kubernetes sets these by itself for a service named sealpost. */
const FOREIGN_NAME = /^SEALPOST_(SERVICE_(HOST|PORT)|PORT($|_))/;

/** Reads and checks the configuration. Throws ConfigError. */
export function loadConfig(sources: ConfigSources): Config {
  const faults: ConfigFault[] = [];
  const values = sources.file === undefined ? {} : readTable(sources.file, faults);
  applyEnvironment(values, sources.env, faults);
  const checked = configSchema.safeParse(values);
  if (!checked.success) faults.push(...checked.error.issues.flatMap(faultsOfIssue));
  if (!checked.success || faults.length > 0) throw new ConfigError(faults);
  const config = withAbsolutePaths(checked.data, sources.file);
  if (Buffer.byteLength(config.admin.socketFile) > MAX_SOCKET_PATH_BYTES) {
    const problem = `longer than ${String(MAX_SOCKET_PATH_BYTES)} bytes as an absolute path, which sockets do not allow`;
    throw new ConfigError([{ option: 'admin.socketFile', problem }]);
  }
  return deepFreeze(config);
}

function readTable(file: string, faults: ConfigFault[]): Table {
  try {
    return parseToml(readLimited(file));
  } catch (error) {
    faults.push({ option: file, problem: readProblem(error) });
    return {};
  }
}

function readLimited(file: string): string {
  const content = readFileSync(file);
  if (content.length > MAX_FILE_BYTES) throw new RangeError('larger than 1 MiB');
  return content.toString('utf8');
}

/** The message of a TomlError goes on with the lines of the file: only its first line is kept (L1). */
function readProblem(error: unknown): string {
  if (error instanceof TomlError) {
    return `line ${String(error.line)}, column ${String(error.column)}: ${firstLine(error.message)}`;
  }
  if (error instanceof Error && 'code' in error) return `cannot be read (${String(error.code)})`;
  return firstLine(String(error));
}

function firstLine(message: string): string {
  return message.split('\n', 1)[0] ?? '';
}

function applyEnvironment(values: Table, env: ConfigSources['env'], faults: ConfigFault[]): void {
  const options = listOptions();
  const known = new Set(options.map((option) => option.environmentName));
  for (const option of options) {
    const name = option.environmentName;
    const direct = env[name];
    // vaultTransit.tokenFile is an option by itself, of the same name in the environment
    const hasFile = option.info.isSecret && !options.some((other) => other.environmentName === `${name}_FILE`);
    const file = hasFile ? env[`${name}_FILE`] : undefined;
    if (hasFile) known.add(`${name}_FILE`);
    if (direct !== undefined && file !== undefined) {
      faults.push({ option: name, problem: `given twice, here and as ${name}_FILE` });
    } else if (direct !== undefined) {
      setAt(values, option.path, fromEnvironment(option, direct));
    } else if (file !== undefined) {
      applySecretFile(values, { option, file, source: `${name}_FILE` }, faults);
    } else {
      applyCredential(values, { option, directory: env['CREDENTIALS_DIRECTORY'] }, faults);
    }
  }
  for (const name of Object.keys(env)) {
    if (name.startsWith(ENVIRONMENT_PREFIX) && !known.has(name) && !FOREIGN_NAME.test(name)) {
      faults.push({ option: name, problem: 'no such option' });
    }
  }
}

type SecretFile = Readonly<{ option: ListedOption; file: string; source: string }>;

function applySecretFile(values: Table, { option, file, source }: SecretFile, faults: ConfigFault[]): void {
  try {
    setAt(values, option.path, readLimited(file).replace(/\r?\n$/, ''));
  } catch (error) {
    faults.push({ option: source, problem: readProblem(error) });
  }
}

type CredentialSource = Readonly<{ option: ListedOption; directory: string | undefined }>;

function applyCredential(values: Table, { option, directory }: CredentialSource, faults: ConfigFault[]): void {
  const name = option.info.systemdCredential;
  if (name === undefined || directory === undefined) return;
  const file = path.join(directory, name);
  if (existsSync(file)) applySecretFile(values, { option, file, source: file }, faults);
}

/** Gives the value that the file would hold; what does not convert stays text, and the schema refuses it. */
function fromEnvironment(option: ListedOption, written: string): unknown {
  switch (option.info.kind) {
    case 'integer':
      return /^-?\d+(_\d+)*$/.test(written) ? Number(written.replaceAll('_', '')) : written;
    case 'boolean':
      return written === 'true' ? true : written === 'false' ? false : written;
    case 'list':
      return written.trim() === '' ? [] : written.split(',').map((member) => member.trim());
    case 'text':
    case 'choice':
      return written;
  }
}

function setAt(values: Table, optionPath: readonly string[], value: unknown): void {
  let table = values;
  for (const name of optionPath.slice(0, -1)) {
    const inner = Object.hasOwn(table, name) ? table[name] : (table[name] = {});
    if (typeof inner !== 'object' || inner === null) return; // not a table: the schema reports it
    table = inner as Table;
  }
  table[optionPath.at(-1) ?? ''] = value;
}

function faultsOfIssue(issue: z.core.$ZodIssue): ConfigFault[] {
  const at = issue.path.map(String);
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ option: [...at, key].join('.'), problem: 'no such option' }));
  }
  return [{ option: at.join('.'), problem: issue.message }];
}

/** L4. */
function withAbsolutePaths(config: Config, file: string | undefined): Config {
  const base = file === undefined ? process.cwd() : path.dirname(path.resolve(file));
  const directory = path.resolve(base, config.data.directory);
  const inData = (name: string): string => path.resolve(directory, name);
  const { log, tls, keys, admin, gateway } = config;
  return {
    ...config,
    data: { ...config.data, directory },
    log: log.file === undefined ? log : { ...log, file: inData(log.file) },
    tls: withTlsPaths(tls, inData),
    keys: {
      ...keys,
      localKeyring: { ...keys.localKeyring, file: inData(keys.localKeyring.file) },
      vaultTransit: withPaths(keys.vaultTransit, inData),
    },
    admin: { ...admin, socketFile: inData(admin.socketFile) },
    gateway: {
      ...gateway,
      ticketFile: inData(gateway.ticketFile),
      keyFile: inData(gateway.keyFile),
      tickets: gateway.tickets.map(inData),
    },
  };
}

function withTlsPaths(tls: Config['tls'], inData: (name: string) => string) {
  const { certificateFile, keyFile, clientAuthorityFile } = tls;
  return {
    ...tls,
    certificateFile: inData(certificateFile),
    keyFile: inData(keyFile),
    ...(clientAuthorityFile === undefined ? {} : { clientAuthorityFile: inData(clientAuthorityFile) }),
  };
}

function withPaths(vault: Config['keys']['vaultTransit'], inData: (name: string) => string) {
  const { tokenFile, caFile } = vault;
  return {
    ...vault,
    ...(tokenFile === undefined ? {} : { tokenFile: inData(tokenFile) }),
    ...(caFile === undefined ? {} : { caFile: inData(caFile) }),
  };
}

function deepFreeze<T extends object>(value: T): T {
  for (const inner of Object.values(value) as unknown[]) {
    if (typeof inner === 'object' && inner !== null && !Object.isFrozen(inner)) deepFreeze(inner);
  }
  return Object.freeze(value);
}
