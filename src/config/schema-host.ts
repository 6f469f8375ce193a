/** This host: its name, files, certificate and store, and what operators and others reach besides mail. Called by schema.ts. */
import { z } from 'zod';
import * as option from './option.ts';
import { MINUTE_MS, HOUR_MS, KIB, MIB, GIB, isLoopbackHost } from './schema-units.ts';

export const server = z.strictObject({
  hostname: option.text(option.HOSTNAME, {
    fallback: 'localhost',
    help: 'Name of this host in greetings, Received fields and new certificates.',
  }),
});

export const data = z.strictObject({
  directory: option.text(option.PATH, {
    fallback: '/var/lib/sealpost',
    help: 'Where mail and accounts are kept. A relative path starts at the folder of this file.',
  }),
});

export const log = z.strictObject({
  level: option.choice(['debug', 'info', 'warn', 'error'], {
    fallback: 'info',
    help: 'The least severe level logged.',
  }),
  file: option.optionalText(option.PATH, { help: 'JSON lines are appended to this file. Absent: standard output.' }),
});

export const tls = z.strictObject({
  certificateFile: option.text(option.PATH, {
    fallback: 'tls/certificate.pem',
    help: 'Certificate chain, PEM. A relative path starts at data.directory, as do all below.',
  }),
  keyFile: option.text(option.PATH, { fallback: 'tls/key.pem', help: 'Private key of the certificate, PEM.' }),
  minimumVersion: option.choice(['TLSv1.2', 'TLSv1.3'], { fallback: 'TLSv1.2', help: 'Oldest TLS version accepted.' }),
  clientAuthorityFile: option.optionalText(option.PATH, {
    help: 'PEM of authorities. Clients are asked for a certificate that one of them signed: it logs in the addresses in it (EXTERNAL).',
  }),
});

export const store = z.strictObject({
  inlineBodyMaxBytes: option.integer({
    fallback: 64 * KIB,
    min: 0,
    max: MIB,
    help: 'Sealed bodies up to this size live in the mailbox database, larger ones in a file each.',
  }),
  maxOpenMailboxesCount: option.integer({
    fallback: 1024,
    min: 1,
    max: 100_000,
    help: 'Mailbox databases held open at one time.',
  }),
  checkpointIntervalMs: option.integer({
    fallback: 10_000,
    min: 100,
    max: MINUTE_MS,
    help: 'How often write-ahead logs are moved into the databases; deleted records are gone after it.',
  }),
  freeSpaceReserveBytes: option.integer({
    fallback: GIB,
    min: 0,
    max: 1024 * GIB,
    help: 'With less free space than this, mail is refused for the time being.',
  }),
  scrubPeriodDays: option.integer({
    fallback: 30,
    min: 0,
    max: 3650,
    help: 'All stored mail is opened once in so many days, to know that it still opens. 0: never.',
  }),
  scrubMaxBytesPerSecond: option.integer({
    fallback: 8 * MIB,
    min: 64 * KIB,
    max: GIB,
    help: 'How much of it is opened in a second.',
  }),
});

export const backup = z.strictObject({
  s3: z
    .strictObject({
      endpoint: option.optionalText(option.HTTP_URL, { help: 'An S3-compatible service. Absent: AWS itself.' }),
      region: option.optionalText(
        { accepts: 'region', pattern: /^[a-z0-9-]{1,64}$/ },
        { help: 'Absent: as the AWS environment says.' },
      ),
      profile: option.optionalText(
        { accepts: 'profile name', pattern: /^[\w.@+-]{1,128}$/ },
        { help: 'Profile of the AWS configuration files. Absent: the usual AWS credential chain.' },
      ),
      accessKeyId: option.optionalSecret({ help: 'Only for services without the AWS credential chain.' }),
      secretAccessKey: option.optionalSecret({ help: 'Goes with accessKeyId.' }),
      usesPathStyle: option.flag({
        fallback: true,
        help: 'The bucket is named in the path and not in the host name, as most services other than AWS want it.',
      }),
    })
    .refine((table) => (table.accessKeyId === undefined) === (table.secretAccessKey === undefined), {
      error: 'accessKeyId and secretAccessKey are given together or not at all',
    })
    .prefault({}),
});

export const admin = z.strictObject({
  socketFile: option.text(option.PATH, {
    fallback: 'admin.sock',
    help: 'Unix socket of the admin commands. Whoever may open it administers the server.',
  }),
});

export const gateway = z.strictObject({
  listen: option.listen({
    fallback: [],
    help: 'On a gateway: where its main server collects the mail that it took in. Behind TLS, and closed to all but the ticket.',
  }),
  ticketFile: option.text(option.PATH, {
    fallback: 'gateway-ticket.json',
    help: 'On a gateway: its ticket, made by `sealpost gateway init`, of which the main server has a copy. Guard it as a key.',
  }),
  keyFile: option.text(option.PATH, {
    fallback: 'gateway-key.pem',
    help: 'On a gateway: the private key of the certificate in its ticket.',
  }),
  tickets: option.paths({ help: 'On the main server: the tickets of the gateways whose mail it collects.' }),
  collectEveryMs: option.integer({
    fallback: 5000,
    min: 100,
    max: HOUR_MS,
    help: 'On the main server: time between two rounds of collecting.',
  }),
});

export const metrics = z
  .strictObject({
    listen: option.listen({
      fallback: [],
      help: 'Where /metrics (Prometheus), /healthz and /readyz are served over HTTP. Empty: off.',
    }),
    allowRemote: option.flag({
      fallback: false,
      help: 'Let metrics.listen be other addresses than those of this machine. Anybody who gets there can read them.',
    }),
  })
  .refine((table) => table.allowRemote || table.listen.every(({ host }) => isLoopbackHost(host)), {
    error: 'metrics are served on 127.0.0.1, [::1] or localhost only, unless metrics.allowRemote is true',
    path: ['listen'],
  });

export const web = z.strictObject({
  listen: option.listen({
    fallback: [],
    help: "HTTP for ACME's challenges (port 80); all else is sent to https. Empty: off.",
  }),
  listenTls: option.listen({
    fallback: [],
    help: 'HTTPS for the settings of mail programs and the MTA-STS policy (port 443). Empty: off.',
  }),
});

export const acme = z
  .strictObject({
    directoryUrl: option.optionalText(option.HTTP_URL, {
      help: 'ACME authority that issues the TLS certificate, as https://acme-v02.api.letsencrypt.org/directory. Absent: off.',
    }),
    acceptTerms: option.flag({ fallback: false, help: "You have read and accept the authority's terms of service." }),
    email: option.optionalText(
      { accepts: 'email address', pattern: /^[^\s@<>]{1,64}@[^\s@<>]{1,253}$/ },
      { help: 'Where the authority may write to.' },
    ),
    names: option.words(option.HOSTNAME, {
      help: 'Host names in the certificate. Absent: server.hostname alone.',
    }),
    caFile: option.optionalText(option.PATH, { help: 'PEM to trust for the authority itself, for tests.' }),
  })
  .refine((table) => table.directoryUrl === undefined || table.acceptTerms, {
    error: 'the terms of the authority have to be accepted: acceptTerms = true',
    path: ['acceptTerms'],
  });
