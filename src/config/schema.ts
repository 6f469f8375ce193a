/**
 * Every option of the server, once: name, type, range, default and help. Everything else about the
 * configuration (environment names, the example file, the reference, the `Config` type) follows.
 *
 * S1  A name says its unit: Ms, Bytes, Count, KiB (a port has none).
 * S2  Sizes, numbers and durations that a peer could drive up have a maximum.
 * S3  Unknown names are faults.
 *
 * Called by load.ts and reference.ts. Others import the type `Config` or one of its tables.
 */
import { z } from 'zod';
import * as option from './option.ts';
import { server, data, log, tls, store, backup, admin, gateway, metrics, web, acme } from './schema-host.ts';
import { keys, accounts } from './schema-keys.ts';
import { smtp, mail, imap, dns, queue, outbound } from './schema-mail.ts';

/** The tables in the order of the example file. */
export const configSchema = z.strictObject({
  server: server.prefault({}),
  data: data.prefault({}),
  log: log.prefault({}),
  tls: tls.prefault({}),
  smtp: smtp.prefault({}),
  mail: mail.prefault({}),
  imap: imap.prefault({}),
  dns: dns.prefault({}),
  keys: keys.prefault({}),
  store: store.prefault({}),
  queue: queue.prefault({}),
  outbound: outbound.prefault({}),
  accounts: accounts.prefault({}),
  backup: backup.prefault({}),
  admin: admin.prefault({}),
  metrics: metrics.prefault({}),
  web: web.prefault({}),
  acme: acme.prefault({}),
  gateway: gateway.prefault({}),
});

type DeepReadonly<T> = T extends object ? { readonly [Key in keyof T]: DeepReadonly<T[Key]> } : T;

/** A checked configuration; every path in it is absolute. */
export type Config = DeepReadonly<z.output<typeof configSchema>>;

/** One option as the loader and the reference see it. */
export type ListedOption = Readonly<{ path: readonly string[]; environmentName: string; info: option.OptionInfo }>;

/** Every option, in the order of the schema. */
export function listOptions(): readonly ListedOption[] {
  return optionsOf(configSchema, []);
}

function optionsOf(schema: unknown, path: readonly string[]): ListedOption[] {
  const table = schema instanceof z.ZodPrefault ? schema.unwrap() : schema;
  if (table instanceof z.ZodObject) {
    return Object.entries(table.shape).flatMap(([name, member]) => optionsOf(member, [...path, name]));
  }
  const info = schema instanceof z.ZodType ? option.optionInfo.get(schema) : undefined;
  if (!info) throw new TypeError(`option ${path.join('.')} is not made by option.ts`);
  return [{ path, environmentName: environmentName(path), info }];
}

function environmentName(path: readonly string[]): string {
  const words = path.map((name) =>
    name
      .replace('KiB', 'Kib')
      .replace(/(?<=[a-z0-9])(?=[A-Z])/g, '_')
      .toUpperCase(),
  );
  return ['SEALPOST', ...words].join('_');
}
