/** How mail comes in, is kept in order, read and sent: the tables of SMTP, IMAP, the queue and what they ask. Called by schema.ts. */
import { z } from 'zod';
import * as option from './option.ts';
import { MINUTE_MS, HOUR_MS, KIB, MIB, GIB } from './schema-units.ts';

export const smtp = z.strictObject({
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

export const mail = z.strictObject({
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

export const imap = z.strictObject({
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

export const dns = z.strictObject({
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

export const queue = z.strictObject({
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

export const outbound = z.strictObject({
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
