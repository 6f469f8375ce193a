/** Operations on the keys with which a domain's mail is signed. */
import { z } from 'zod';
import { refused } from '../../accounts/directory.ts';
import { DKIM_ALGORITHMS, type DkimKey } from '../../accounts/dkim-keys.ts';
import { checkRecord } from '../domain-check.ts';
import { dkimRecord, type WantedRecord } from '../domain-records.ts';
import { operation, type AdminContext } from './context.ts';

type PublishedKey = DkimKey & Readonly<{ record: WantedRecord }>;

const ofDomain = z.strictObject({ domain: z.string() });

export const dkimOperations = {
  'dkim.create': operation(
    z.strictObject({ domain: z.string(), algorithm: z.enum(DKIM_ALGORITHMS), selector: z.string().optional() }),
    async ({ domain, algorithm, selector }, context, signal) => {
      const wanted = { algorithm, selector, state: 'signing' } as const;
      return published(await context.accounts.dkimKeys.create(domain, wanted, signal));
    },
  ),
  'dkim.list': operation(ofDomain, ({ domain }, context) => context.accounts.dkimKeys.list(domain).map(published)),
  /** Makes the next keys; called again, once their records are published, puts them to use. */
  'dkim.rotate': operation(
    z.strictObject({ domain: z.string(), unchecked: z.boolean().default(false) }),
    async ({ domain, unchecked }, context, signal) => {
      const { dkimKeys } = context.accounts;
      const all = dkimKeys.list(domain);
      const waiting = all.filter(({ state }) => state === 'next');
      if (waiting.length > 0) {
        if (!unchecked) await requirePublished(waiting, context, signal);
        return { kind: 'activated' as const, ...(await dkimKeys.activate(domain)) };
      }
      const signing = all.filter(({ state }) => state === 'signing').map(({ algorithm }) => algorithm);
      const keys: PublishedKey[] = [];
      for (const algorithm of signing.length > 0 ? signing : DKIM_ALGORITHMS) {
        keys.push(published(await dkimKeys.create(domain, { algorithm, state: 'next' }, signal)));
      }
      return { kind: 'made' as const, keys };
    },
  ),
  'dkim.retire': operation(
    z.strictObject({ domain: z.string(), selector: z.string(), evenIfSigning: z.boolean().default(false) }),
    async ({ domain, selector, evenIfSigning }, context) => {
      const { dkimKeys } = context.accounts;
      const key = dkimKeys.list(domain).find((one) => one.selector === selector);
      if (key?.state === 'signing' && !evenIfSigning) {
        throw refused(`${selector} signs the mail of ${key.domain}. Replace it first: sealpost domain dkim rotate`);
      }
      await dkimKeys.remove(domain, selector);
      return { domain, selector };
    },
  ),
} as const;

function published(key: DkimKey): PublishedKey {
  return { ...key, record: dkimRecord(key) };
}

/** Mail signed with a key that nobody finds would be worse than unsigned mail. Throws ServerError 'not-allowed'. */
async function requirePublished(
  keys: readonly DkimKey[],
  { resolver, hostname }: AdminContext,
  signal: AbortSignal,
): Promise<void> {
  for (const key of keys) {
    const record = dkimRecord(key);
    const { status, advice } = await checkRecord(record, hostname, { resolver, signal });
    if (status === 'ok') continue;
    throw refused(
      `The next keys are not used yet: the record of ${key.selector} is ${status}. ${advice ?? ''}\n` +
        `See: sealpost domain dkim list ${key.domain}. To go on without asking the DNS: --unchecked`,
    );
  }
}
