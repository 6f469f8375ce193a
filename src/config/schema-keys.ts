/** Keys, and who may log in. Called by schema.ts. */
import { z } from 'zod';
import * as option from './option.ts';
import { MINUTE_MS, HOUR_MS, isReadableOnTheWay } from './schema-units.ts';

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

export const keys = keyOptions.refine(
  (table) => table.defaultProvider !== 'vault-transit' || table.vaultTransit.address,
  {
    error: 'vault-transit needs vaultTransit.address',
    path: ['defaultProvider'],
  },
);

export const accounts = z.strictObject({
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
