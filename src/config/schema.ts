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

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

const server = z.strictObject({
  hostname: option.text(option.HOSTNAME, {
    fallback: 'localhost',
    help: 'Name of this host in greetings, Received fields and new certificates.',
  }),
});

const data = z.strictObject({
  directory: option.text(option.PATH, {
    fallback: '/var/lib/sealpost',
    help: 'Where mail and accounts are kept. A relative path starts at the folder of this file.',
  }),
});

const log = z.strictObject({
  level: option.choice(['debug', 'info', 'warn', 'error'], {
    fallback: 'info',
    help: 'The least severe level logged.',
  }),
  file: option.optionalText(option.PATH, { help: 'JSON lines are appended to this file. Absent: standard output.' }),
});

const tls = z.strictObject({
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

const smtp = z.strictObject({
  maxMessageBytes: option.integer({
    fallback: 50 * MIB,
    min: 64 * KIB,
    max: GIB,
    help: 'Largest message accepted, as announced by SIZE.',
  }),
  maxRecipientsCount: option.integer({
    fallback: 100,
    min: 100,
    max: 10_000,
    help: 'Recipients of one transaction. RFC 5321 §4.5.3.1.8 asks for at least 100.',
  }),
  maxConnectionsCount: option.integer({
    fallback: 1000,
    min: 1,
    max: 100_000,
    help: 'Connections of each SMTP or LMTP listener at one time.',
  }),
  idleTimeoutMs: option.integer({
    fallback: 5 * MINUTE_MS,
    min: 1000,
    max: HOUR_MS,
    help: 'A connection that sends nothing for so long is closed. RFC 5321 §4.5.3.2.7 recommends five minutes.',
  }),
  bareNewlines: option.choice(['normalise', 'reject'], {
    fallback: 'normalise',
    help: 'What is done with CR or LF alone in a message: made CRLF, or the message is refused.',
  }),
  dataTimeoutMs: option.integer({
    fallback: 10 * MINUTE_MS,
    min: 10_000,
    max: 24 * HOUR_MS,
    help: 'A message must arrive in full within this time.',
  }),
  dataMinimumBytesPerSecond: option.integer({
    fallback: 256,
    min: 0,
    max: 10 * MIB,
    help: 'A message that arrives more slowly, measured over a minute, is given up. 0: no minimum.',
  }),
  mx: z
    .strictObject({
      listen: option.listen({ fallback: ['*:25'], help: 'Where mail from other servers arrives. Empty: off.' }),
    })
    .prefault({}),
  lmtp: z
    .strictObject({
      listen: option.listen({
        fallback: [],
        help: 'Where a mail transfer agent hands over mail by LMTP. No authentication: keep it on loopback.',
      }),
    })
    .prefault({}),
  submission: z
    .strictObject({
      listen: option.listen({
        fallback: ['*:587'],
        help: 'Where users hand in mail, after STARTTLS and a login. Empty: off.',
      }),
      allowCleartextLogin: option.flag({
        fallback: false,
        help: 'Accept AUTH and mail without TLS, from loopback addresses only.',
      }),
      maxMessagesPerHourCount: option.integer({
        fallback: 500,
        min: 1,
        max: 10_000_000,
        help: 'Messages that one mailbox may send within an hour, on both submission ports together.',
      }),
      maxRecipientsPerHourCount: option.integer({
        fallback: 2000,
        min: 1,
        max: 10_000_000,
        help: 'Recipients that one mailbox may have within an hour.',
      }),
      traceClientAddress: option.flag({
        fallback: false,
        help: "Tell recipients, in the Received field, the address and name of the sender's device.",
      }),
    })
    .prefault({}),
  submissions: z
    .strictObject({
      listen: option.listen({
        fallback: ['*:465'],
        help: 'As smtp.submission, under TLS from the first byte. Empty: off.',
      }),
    })
    .prefault({}),
});

const mail = z.strictObject({
  dmarc: option.choice(['enforce', 'quarantine', 'tag'], {
    fallback: 'enforce',
    help: 'What is done with mail that fails DMARC: what the policy of its domain asks for, or at most put into Junk, or only marked.',
  }),
  trustedPeers: option.networks({
    fallback: ['127.0.0.0/8', '::1/128'],
    help: 'Servers of your own that hand over mail of others on the MX listener: it is taken as it is, without any check.',
  }),
  timeLimitMs: option.integer({
    fallback: 20_000,
    min: 1000,
    max: 5 * MINUTE_MS,
    help: 'How long the end of a message is held for its checks. RFC 7208 §4.6.4 asks for at least 20 seconds.',
  }),
  maxHeldBytes: option.integer({
    fallback: 64 * MIB,
    min: MIB,
    max: 16 * GIB,
    help: 'Memory for all messages that are being checked; what does not fit is held in sealed files.',
  }),
  dnsbl: z
    .strictObject({
      zones: option.hostnames({
        help: 'DNS block lists: mail from a client address that one of them lists is refused. Mind their terms of use.',
      }),
    })
    .prefault({}),
  greylist: z
    .strictObject({
      delayMs: option.integer({
        fallback: 0,
        min: 0,
        max: HOUR_MS,
        help: 'A sender not seen before must come again after this time. 0: off.',
      }),
    })
    .prefault({}),
  clamd: z
    .strictObject({
      address: option.optionalText(option.SOCKET_ADDRESS, {
        help: 'The virus scanner clamd; mail with a virus is refused. Absent: no scan.',
      }),
      timeLimitMs: option.integer({ fallback: 30_000, min: 100, max: 5 * MINUTE_MS, help: 'How long it may take.' }),
      whenAway: option.choice(['defer', 'accept'], {
        fallback: 'defer',
        help: 'What is done with mail while it does not answer: the sender is to come again, or it is marked and delivered.',
      }),
    })
    .prefault({}),
  rspamd: z
    .strictObject({
      url: option.optionalText(option.HTTP_URL, {
        help: 'The spam filter rspamd, its normal worker; what it says is done. Absent: no filter.',
      }),
      timeLimitMs: option.integer({ fallback: 10_000, min: 100, max: 5 * MINUTE_MS, help: 'How long it may take.' }),
      whenAway: option.choice(['accept', 'defer'], {
        fallback: 'accept',
        help: 'What is done with mail while it does not answer: it is marked and delivered, or the sender is to come again.',
      }),
    })
    .prefault({}),
});

const imap = z.strictObject({
  listen: option.listen({ fallback: ['*:143'], help: 'IMAP with STARTTLS. Empty: off.' }),
  listenTls: option.listen({ fallback: ['*:993'], help: 'IMAP under TLS from the first byte. Empty: off.' }),
  allowCleartextLogin: option.flag({
    fallback: false,
    help: 'Accept LOGIN and AUTHENTICATE without TLS, from loopback addresses only.',
  }),
  disabledCapabilities: option.words(
    { accepts: 'capability name', pattern: /^[A-Za-z0-9+=._-]{1,64}$/ },
    {
      help: 'Capabilities that are neither advertised nor enabled, for clients that misuse them. For one mailbox: sealpost mailbox capability.',
    },
  ),
  maxConnectionsCount: option.integer({
    fallback: 5000,
    min: 1,
    max: 100_000,
    help: 'IMAP connections at one time.',
  }),
  maxConnectionsPerAddressCount: option.integer({
    fallback: 200,
    min: 1,
    max: 100_000,
    help: 'IMAP connections at one time from one client address.',
  }),
  loginTimeoutMs: option.integer({
    fallback: MINUTE_MS,
    min: 1000,
    max: 30 * MINUTE_MS,
    help: 'A connection must log in within this time.',
  }),
  idleTimeoutMs: option.integer({
    fallback: 30 * MINUTE_MS,
    min: 30 * MINUTE_MS,
    max: 24 * HOUR_MS,
    help: 'An authenticated connection that sends nothing for so long is closed. RFC 9051 §5.4: 30 minutes or more.',
  }),
  maxLiteralBytes: option.integer({
    fallback: 50 * MIB,
    min: 64 * KIB,
    max: GIB,
    help: 'Largest literal of a command, hence largest message of APPEND.',
  }),
  maxOutputBufferBytes: option.integer({
    fallback: MIB,
    min: 64 * KIB,
    max: 64 * MIB,
    help: 'Response bytes held for a client that reads slowly, before its commands wait.',
  }),
});

const dns = z.strictObject({
  servers: option.servers({
    defaultPort: 53,
    help: 'Name servers that are asked, in this order. Best: a validating resolver on this host. Empty: those of /etc/resolv.conf.',
  }),
  trustAd: option.choice(['loopback', 'always', 'never'], {
    fallback: 'loopback',
    help: 'From which of them the word is taken that an answer was validated by DNSSEC, which DANE needs. `always` only if nobody can sit between.',
  }),
  tryTimeoutMs: option.integer({
    fallback: 3000,
    min: 100,
    max: 30_000,
    help: 'How long one of them is waited for before the next is asked.',
  }),
  triesCount: option.integer({ fallback: 2, min: 1, max: 10, help: 'How often each of them is asked, in turn.' }),
  cacheMaxBytes: option.integer({
    fallback: 16 * MIB,
    min: 0,
    max: GIB,
    help: 'Memory for answers that may be used again.',
  }),
});

const keyOptions = z.strictObject({
  cacheMaxAgeMs: option.integer({
    fallback: MINUTE_MS,
    min: 1,
    max: MINUTE_MS,
    help: 'How long an unwrapped mailbox key may be used after the key service answered. Never more than a minute.',
  }),
  cacheMaxEntriesCount: option.integer({
    fallback: 10_000,
    min: 1,
    max: 1_000_000,
    help: 'Unwrapped mailbox keys held at one time.',
  }),
  cacheMaxLeasesCount: option.integer({
    fallback: 1_000_000,
    min: 1,
    max: 4_294_967_295,
    help: 'Uses of one unwrapped mailbox key before the key service is asked again.',
  }),
  directoryKeyGraceMs: option.integer({
    fallback: 15 * MINUTE_MS,
    min: 0,
    max: 24 * HOUR_MS,
    help: 'How long logins and recipient checks go on while the key service cannot be reached.',
  }),
  verifyIntervalMs: option.integer({
    fallback: 24 * HOUR_MS,
    min: 0,
    max: 30 * 24 * HOUR_MS,
    help: 'Every wrapped key is opened once in so long, to know that it still opens. 0: never.',
  }),
  defaultProvider: option.choice(['local-keyring', 'aws-kms', 'vault-transit'], {
    fallback: 'local-keyring',
    help: 'Key service of organizations that are created without naming one.',
  }),
  defaultKey: option.text(
    { accepts: 'key name, id, alias or ARN', pattern: /^[A-Za-z0-9:/_.-]{1,512}$/ },
    { fallback: 'default', help: 'Root key of organizations that are created without naming one.' },
  ),
  localKeyring: z
    .strictObject({
      file: option.text(option.PATH, {
        fallback: 'keyring.json',
        help: 'Root keys of the local key service. Keep a copy elsewhere: without it the mail is lost.',
      }),
      passphrase: option.optionalSecret({
        help: 'Opens a keyring that `sealpost keyring protect` has sealed. Keep it elsewhere, too.',
        systemdCredential: 'sealpost-keyring',
      }),
    })
    .prefault({}),
  awsKms: z
    .strictObject({
      endpoint: option.optionalText(option.HTTP_URL, { help: 'A KMS-compatible service. Absent: AWS itself.' }),
      region: option.optionalText(
        { accepts: 'AWS region', pattern: /^[a-z]{2}(-[a-z]+)+-\d$/ },
        { help: 'Absent: as the AWS environment says.' },
      ),
      profile: option.optionalText(
        { accepts: 'profile name', pattern: /^[\w.@+-]{1,128}$/ },
        { help: 'Profile of the AWS configuration files. Absent: the usual AWS credential chain.' },
      ),
      accessKeyId: option.optionalSecret({ help: 'Only for services without the AWS credential chain.' }),
      secretAccessKey: option.optionalSecret({ help: 'Goes with accessKeyId.' }),
      granteePrincipal: option.optionalText(
        { accepts: 'ARN of a principal', pattern: /^arn:[\w-]+:(iam|sts):[\w-]*:\d{12}:[\w+=,.@:/-]{1,256}$/ },
        {
          help: 'This server to AWS: new organizations get a KMS grant for it. Absent: no KMS grant, only our own record.',
        },
      ),
      timeoutMs: option.integer({
        fallback: 2000,
        min: 100,
        max: 10_000,
        help: 'A call, its second try included, ends within this time.',
      }),
    })
    .refine((table) => (table.accessKeyId === undefined) === (table.secretAccessKey === undefined), {
      error: 'accessKeyId and secretAccessKey are given together or not at all',
    })
    .prefault({}),
  vaultTransit: z
    .strictObject({
      address: option.optionalText(option.HTTP_URL, {
        help: 'HashiCorp Vault or OpenBao with a Transit engine. Plain http: only on this machine.',
      }),
      namespace: option.optionalText(
        { accepts: 'path', pattern: /^[A-Za-z0-9_.-]+(\/[A-Za-z0-9_.-]+)*\/?$/ },
        { help: 'Namespace in which the engine and the token are.' },
      ),
      mount: option.text(
        { accepts: 'path', pattern: /^[A-Za-z0-9_-][A-Za-z0-9_.-]*(\/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$/ },
        { fallback: 'transit', help: 'Where the engine is mounted: the mount of root keys without one in their name.' },
      ),
      token: option.optionalSecret({ help: 'Renewed before it runs out, if it can be renewed.' }),
      tokenFile: option.optionalText(option.PATH, {
        help: 'Holds the token, and is read again for each request: the sink of a Vault Agent. Instead of token.',
      }),
      caFile: option.optionalText(option.PATH, {
        help: 'PEM of the authority that signed its certificate. Absent: the authorities that Node trusts.',
      }),
      timeoutMs: option.integer({
        fallback: 2000,
        min: 100,
        max: 10_000,
        help: 'A call ends within this time.',
      }),
    })
    .refine(
      ({ address, token, tokenFile }) => address === undefined || (token === undefined) !== (tokenFile === undefined),
      { error: 'address goes with either token or tokenFile' },
    )
    .refine((table) => table.address === undefined || !isReadableOnTheWay(table.address), {
      error: 'address must be https: unless it is on this machine: keys and token would be read on the way',
    })
    .prefault({}),
});

const keys = keyOptions.refine((table) => table.defaultProvider !== 'vault-transit' || table.vaultTransit.address, {
  error: 'vault-transit needs vaultTransit.address',
  path: ['defaultProvider'],
});

const store = z.strictObject({
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

const queue = z.strictObject({
  maxMessagesCount: option.integer({
    fallback: 100_000,
    min: 1,
    max: 10_000_000,
    help: 'Messages that may wait to be sent at one time; more are refused for the time being.',
  }),
  firstRetryMs: option.integer({
    fallback: 5 * MINUTE_MS,
    min: 1000,
    max: 24 * HOUR_MS,
    help: 'The pause after the first failed attempt; each further one is twice as long, and varied by a fifth.',
  }),
  maxRetryMs: option.integer({
    fallback: 2 * HOUR_MS,
    min: 1000,
    max: 24 * HOUR_MS,
    help: 'The longest pause between two attempts.',
  }),
  giveUpAfterMs: option.integer({
    fallback: 5 * 24 * HOUR_MS,
    min: 1000,
    max: 30 * 24 * HOUR_MS,
    help: 'Mail that could not be delivered for so long is returned. RFC 5321 §4.5.4.1 asks for 4 to 5 days.',
  }),
  delayReportAfterMs: option.integer({
    fallback: 4 * HOUR_MS,
    min: 1000,
    max: 30 * 24 * HOUR_MS,
    help: 'The sender is told of a delay after this time, once.',
  }),
});

const outbound = z.strictObject({
  enabled: option.flag({
    fallback: true,
    help: 'Off: outgoing mail stays in the queue. Nothing gets there without a submission or a report on one.',
  }),
  hostname: option.optionalText(option.HOSTNAME, {
    help: 'What this server calls itself to others. Absent: server.hostname. It should lead to the address that others see.',
  }),
  sourceAddresses: option.list(
    { accepts: 'IP addresses', pattern: /^[0-9a-fA-F.:]{2,45}$/ },
    { fallback: [], help: 'Addresses of this host to send from, one of each family. Empty: as the system chooses.' },
  ),
  port: option.integer({ fallback: 25, min: 1, max: 65_535, help: 'Port of the mail exchangers of others.' }),
  maxConnectionsCount: option.integer({
    fallback: 50,
    min: 1,
    max: 10_000,
    help: 'Deliveries at one time.',
  }),
  maxConnectionsPerDomainCount: option.integer({
    fallback: 5,
    min: 1,
    max: 1000,
    help: 'Deliveries to one domain at one time.',
  }),
  connectTimeoutMs: option.integer({
    fallback: 30_000,
    min: 100,
    max: 10 * MINUTE_MS,
    help: 'A host must answer within this time.',
  }),
  replyTimeoutMs: option.integer({
    fallback: 5 * MINUTE_MS,
    min: 100,
    max: HOUR_MS,
    help: 'How long a reply to a command is waited for. RFC 5321 §4.5.3.2 asks for five minutes.',
  }),
  dataTimeoutMs: option.integer({
    fallback: 10 * MINUTE_MS,
    min: 100,
    max: HOUR_MS,
    help: 'How long the reply to a whole message is waited for. RFC 5321 §4.5.3.2.6 asks for ten minutes.',
  }),
  tls: option.choice(['opportunistic', 'required'], {
    fallback: 'opportunistic',
    help: 'Where neither DANE nor MTA-STS nor the message asks for more: TLS where it is offered, or no mail without.',
  }),
  caFile: option.optionalText(option.PATH, {
    help: 'PEM of authorities that are trusted besides those of Node, for MTA-STS and smarthosts.',
  }),
  refusedNetworks: option.list(
    { accepts: 'networks (`address/bits`)', pattern: /^[0-9a-fA-F.:]{2,45}\/\d{1,3}$/ },
    {
      fallback: ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3', '::/127', 'fe80::/10', 'ff00::/8'],
      help: 'No mail exchanger is looked for there, whatever the domain of a recipient says.',
    },
  ),
  transports: option.list(
    {
      accepts: 'routes (`domain host:port tls`)',
      pattern: /^\.?[a-z0-9.-]+ [a-z0-9.:[\]-]+:\d{1,5} (opportunistic|starttls|tls)$/,
    },
    {
      fallback: [],
      help: 'Where mail for a domain goes instead of its mail exchangers. `.example.org` is all domains below it.',
    },
  ),
  smarthost: z
    .strictObject({
      host: option.optionalText(option.HOSTNAME, {
        help: 'All other mail goes to this server. Absent: to the mail exchangers of the recipients.',
      }),
      port: option.integer({ fallback: 587, min: 1, max: 65_535, help: 'Its port.' }),
      tls: option.choice(['starttls', 'tls', 'opportunistic'], {
        fallback: 'starttls',
        help: 'With starttls and tls its certificate must be valid for its name.',
      }),
      user: option.optionalText(
        { accepts: 'user name', pattern: /^[^\p{Cc}]+$/u },
        { help: 'Absent: no login. A login is tried under TLS only.' },
      ),
      password: option.optionalSecret({ help: 'Goes with user.' }),
    })
    .refine((table) => (table.user === undefined) === (table.password === undefined), {
      error: 'user and password are given together or not at all',
    })
    .prefault({}),
});

const accounts = z.strictObject({
  loginDomain: option.optionalText(option.HOSTNAME, {
    help: 'The domain of a user name that is given without one. Absent: such a name is refused.',
  }),
  argon2: z
    .strictObject({
      memoryKiB: option.integer({
        fallback: 19_456,
        min: 8192,
        max: 1_048_576,
        help: 'Memory of one Argon2id password check.',
      }),
      passesCount: option.integer({ fallback: 2, min: 1, max: 16, help: 'Argon2id passes over that memory.' }),
      maxConcurrentCount: option.integer({
        fallback: 4,
        min: 1,
        max: 128,
        help: 'Password checks at one time; further ones wait.',
      }),
    })
    .prefault({}),
  scram: z
    .strictObject({
      iterationsCount: option.integer({
        fallback: 50_000,
        min: 4096,
        max: 65_536,
        help: 'PBKDF2 iterations that a SCRAM client computes, for passwords set from now on. Some clients refuse more.',
      }),
      sha1: option.flag({
        fallback: false,
        help: 'Keep secrets for SCRAM-SHA-1 and offer it, for clients that have nothing better.',
      }),
    })
    .prefault({}),
  oauth: z
    .strictObject({
      issuer: option.optionalText(option.HTTP_URL, {
        help: 'OpenID provider whose access tokens log in (OAUTHBEARER, XOAUTH2), as it names itself. Absent: none.',
      }),
      audience: option.optionalText(
        { accepts: 'text', pattern: /^[^\p{Cc}]+$/u },
        { help: 'For whom such a token must be issued: this server, as the provider knows it. Goes with issuer.' },
      ),
      addressClaim: option.text(
        { accepts: 'claim name', pattern: /^[\w:/.-]{1,256}$/ },
        {
          fallback: 'email',
          help: 'The claim that holds an address of the mailbox. `email` counts only where `email_verified` is true.',
        },
      ),
      timeoutMs: option.integer({
        fallback: 5000,
        min: 100,
        max: 30_000,
        help: 'A request to the provider ends within this time.',
      }),
    })
    .refine((table) => (table.issuer === undefined) === (table.audience === undefined), {
      error: 'issuer and audience are given together or not at all',
    })
    .refine((table) => table.issuer === undefined || !isReadableOnTheWay(table.issuer), {
      error: 'issuer must be https: unless it is on this machine',
    })
    .prefault({}),
});

const backup = z.strictObject({
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

const admin = z.strictObject({
  socketFile: option.text(option.PATH, {
    fallback: 'admin.sock',
    help: 'Unix socket of the admin commands. Whoever may open it administers the server.',
  }),
});

const gateway = z.strictObject({
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

const metrics = z
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

const web = z.strictObject({
  listen: option.listen({
    fallback: [],
    help: "HTTP for ACME's challenges (port 80); all else is sent to https. Empty: off.",
  }),
  listenTls: option.listen({
    fallback: [],
    help: 'HTTPS for the settings of mail programs and the MTA-STS policy (port 443). Empty: off.',
  }),
});

const acme = z
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

function isLoopbackHost(host: string | undefined): boolean {
  return host !== undefined && /^(localhost|127(\.\d{1,3}){3}|::1)$/.test(host);
}

/** Unencrypted, and not only on this machine. */
function isReadableOnTheWay(address: string): boolean {
  return /^http:/.test(address) && !/^http:\/\/(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?(\/|$)/.test(address);
}

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
