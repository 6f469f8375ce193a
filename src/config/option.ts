/**
 * The kinds of configuration option. Each function makes one option: its zod schema, and in
 * `optionInfo` what the loader, the example file and the documentation need to know about it.
 *
 * O1  Every option has a help text, a default (or is documented as absent) and a stated range.
 * O2  The name of an option in the environment follows from its path: `smtp.maxMessageBytes` is
 *     SEALPOST_SMTP_MAX_MESSAGE_BYTES.
 *
 * Called by schema.ts only; load.ts and reference.ts read `optionInfo`.
 */
import { isIP } from 'node:net';
import { z } from 'zod';

type OptionKind = 'integer' | 'boolean' | 'text' | 'choice' | 'list';
/** What is known of an option besides its schema. `fallback` is as written in the file; null: absent. */
export type OptionInfo = Readonly<{
  kind: OptionKind;
  help: string;
  accepts: string;
  fallback: OptionValue | null;
  isSecret: boolean;
  /** Name of the file in systemd's credentials directory that may hold it. */
  systemdCredential?: string | undefined;
}>;
type OptionValue = string | number | boolean | readonly string[];
/** Where a server listens. `host` undefined: every address of the machine. `port` 0: any free port. */
type ListenAddress = Readonly<{ host: string | undefined; port: number }>;
type ServerAddress = Readonly<{ address: string; port: number }>;

export const optionInfo = z.registry<OptionInfo>();

type IntegerOptions = Readonly<{ fallback: number; min: number; max: number; help: string }>;

/** A whole number; the unit is in the option's name. */
export function integer({ fallback, min, max, help }: IntegerOptions) {
  return z
    .int()
    .min(min)
    .max(max)
    .default(fallback)
    .register(optionInfo, { kind: 'integer', help, accepts: integerRange(min, max), fallback, isSecret: false });
}

/** On or off. */
export function flag({ fallback, help }: Readonly<{ fallback: boolean; help: string }>) {
  return z
    .boolean()
    .default(fallback)
    .register(optionInfo, { kind: 'boolean', help, accepts: '`true` or `false`', fallback, isSecret: false });
}

/** One of a few words. */
export function choice<const Words extends readonly [string, ...string[]]>(
  words: Words,
  { fallback, help }: Readonly<{ fallback: Words[number]; help: string }>,
) {
  const accepts = words.map((word) => `\`${word}\``).join(', ');
  return z
    .enum(words)
    .default(fallback as never)
    .register(optionInfo, { kind: 'choice', help, accepts, fallback, isSecret: false });
}

type TextRule = Readonly<{ accepts: string; pattern: RegExp }>;
const MAX_TEXT_LENGTH = 1024;

const ANY_TEXT: TextRule = { accepts: 'text', pattern: /^[^\p{Cc}]+$/u };
/** A socket file of this machine, or a host and a port. */
export const SOCKET_ADDRESS: TextRule = {
  accepts: 'absolute path of a socket, or host:port',
  pattern: /^(?:\/[^\p{Cc}]+|(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\]):\d{1,5})$/u,
};
/** A path; load.ts makes it absolute. */
export const PATH: TextRule = { accepts: 'path', pattern: /^[^\p{Cc}]+$/u };
/** RFC 1123 letters, digits and hyphens; lower case, so that names compare by bytes. */
export const HOSTNAME: TextRule = {
  accepts: 'host name in lower case',
  pattern: /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/,
};
/** An HTTP origin with an optional path, without credentials. */
export const HTTP_URL: TextRule = {
  accepts: 'http: or https: URL without user and password',
  pattern: /^https?:\/\/[^\s@/?#]+(\/[^\s?#]*)?$/,
};

function textSchema(rule: TextRule) {
  return z.string().max(MAX_TEXT_LENGTH).regex(rule.pattern, `expected ${rule.accepts}`);
}

/** Text with a default. */
export function text(rule: TextRule, { fallback, help }: Readonly<{ fallback: string; help: string }>) {
  return textSchema(rule)
    .default(fallback)
    .register(optionInfo, { kind: 'text', help, accepts: rule.accepts, fallback, isSecret: false });
}

/** Text that may be absent. */
export function optionalText(rule: TextRule, { help }: Readonly<{ help: string }>) {
  return textSchema(rule)
    .optional()
    .register(optionInfo, { kind: 'text', help, accepts: rule.accepts, fallback: null, isSecret: false });
}

/** Paths, at most `MAX_PATHS_COUNT`; load.ts makes them absolute. */
export function paths({ help }: Readonly<{ help: string }>) {
  return z
    .array(textSchema(PATH))
    .max(MAX_PATHS_COUNT)
    .default([])
    .register(optionInfo, { kind: 'list', help, accepts: 'list of paths', fallback: [], isSecret: false });
}

const MAX_PATHS_COUNT = 64;

type SecretOptions = Readonly<{ help: string; systemdCredential?: string }>;

/** Text that may be absent, may come from a file named by `<environment name>_FILE`, and is never printed. */
export function optionalSecret({ help, systemdCredential }: SecretOptions) {
  return textSchema(ANY_TEXT).optional().register(optionInfo, {
    kind: 'text',
    help,
    accepts: 'secret text',
    fallback: null,
    isSecret: true,
    systemdCredential,
  });
}

/** Words in any order, at most `MAX_WORDS_COUNT`; none unless given. */
export function words(rule: TextRule, { help }: Readonly<{ help: string }>) {
  return z
    .array(textSchema(rule))
    .max(MAX_WORDS_COUNT)
    .prefault([])
    .register(optionInfo, { kind: 'list', help, accepts: `list of ${rule.accepts}s`, fallback: [], isSecret: false });
}

/** Listening addresses, at most `MAX_LISTEN_COUNT`; none: the listener is off. */
export function listen({ fallback, help }: Readonly<{ fallback: readonly string[]; help: string }>) {
  return z
    .array(z.string().transform(parseListenAddress))
    .max(MAX_LISTEN_COUNT)
    .prefault([...fallback])
    .register(optionInfo, { kind: 'list', help, accepts: 'list of `host:port`', fallback, isSecret: false });
}

/** Texts of one kind, at most `MAX_LIST_COUNT`. */
export function list(rule: TextRule, { fallback, help }: Readonly<{ fallback: readonly string[]; help: string }>) {
  return z
    .array(textSchema(rule))
    .max(MAX_LIST_COUNT)
    .default([...fallback])
    .register(optionInfo, { kind: 'list', help, accepts: `list of ${rule.accepts}`, fallback, isSecret: false });
}

const MAX_LIST_COUNT = 1000;

/** Servers by IP address, at most `MAX_SERVERS_COUNT`; those without a port get `defaultPort`. */
export function servers({ defaultPort, help }: Readonly<{ defaultPort: number; help: string }>) {
  return z
    .array(z.string().transform((written, context) => parseServer(written, defaultPort, context)))
    .max(MAX_SERVERS_COUNT)
    .prefault([])
    .register(optionInfo, {
      kind: 'list',
      help,
      accepts: 'list of IP addresses, with or without `:port`',
      fallback: [],
      isSecret: false,
    });
}

const MAX_SERVERS_COUNT = 8;
const SERVER_ADDRESS = /^(?:\[(?<ipv6>[0-9a-fA-F:.]+)\]|(?<ipv4>[\d.]+))(?::(?<port>\d{1,5}))?$/;

function parseServer(written: string, defaultPort: number, context: z.RefinementCtx): ServerAddress {
  if (isIP(written) === 6) return { address: written, port: defaultPort };
  const parts = SERVER_ADDRESS.exec(written)?.groups;
  const address = parts?.['ipv6'] ?? parts?.['ipv4'] ?? '';
  const port = Number(parts?.['port'] ?? defaultPort);
  if (isIP(address) > 0 && port > 0 && port <= 65_535) return { address, port };
  context.addIssue({ code: 'custom', message: 'expected an IP address, [IPv6]:port or IPv4:port' });
  return z.NEVER;
}

const MAX_LISTEN_COUNT = 16;
const MAX_WORDS_COUNT = 100;
const LISTEN_ADDRESS = /^(?:\[(?<ipv6>[0-9a-fA-F:.]+)\]|(?<any>\*)|(?<name>[A-Za-z0-9.-]+)):(?<port>\d{1,5})$/;

function parseListenAddress(written: string, context: z.RefinementCtx): ListenAddress {
  const parts = LISTEN_ADDRESS.exec(written)?.groups;
  const port = Number(parts?.['port']);
  if (parts && port <= 65_535) return { host: parts['any'] ? undefined : (parts['ipv6'] ?? parts['name']), port };
  context.addIssue({ code: 'custom', message: 'expected host:port, [IPv6]:port or *:port' });
  return z.NEVER;
}

const MAX_HOSTNAMES_COUNT = 16;

/** Domain names. */
export function hostnames({ help }: Readonly<{ help: string }>) {
  return z
    .array(textSchema(HOSTNAME))
    .max(MAX_HOSTNAMES_COUNT)
    .prefault([])
    .register(optionInfo, { kind: 'list', help, accepts: 'list of domain names', fallback: [], isSecret: false });
}

const MAX_NETWORKS_COUNT = 100;
const NETWORK = /^(?<address>[0-9A-Fa-f:.]+)(?:\/(?<prefix>\d{1,3}))?$/;

/** Networks of IP addresses. */
export function networks({ fallback, help }: Readonly<{ fallback: readonly string[]; help: string }>) {
  return z
    .array(z.string().transform(parseNetwork))
    .max(MAX_NETWORKS_COUNT)
    .prefault([...fallback])
    .register(optionInfo, {
      kind: 'list',
      help,
      accepts: 'list of IP addresses, with or without `/prefix`',
      fallback,
      isSecret: false,
    });
}

function parseNetwork(written: string, context: z.RefinementCtx): Readonly<{ address: string; prefixBits: number }> {
  const parts = NETWORK.exec(written)?.groups;
  const address = parts?.['address'] ?? '';
  const widthBits = isIP(address) === 6 ? 128 : 32;
  const prefixBits = Number(parts?.['prefix'] ?? widthBits);
  if (isIP(address) !== 0 && prefixBits <= widthBits) return { address, prefixBits };
  context.addIssue({ code: 'custom', message: 'expected an IP address or address/prefix' });
  return z.NEVER;
}

function integerRange(min: number, max: number): string {
  return `${grouped(min)} to ${grouped(max)}`;
}

/** 26,214,400 as 26_214_400, which TOML accepts. */
function grouped(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, '_');
}
