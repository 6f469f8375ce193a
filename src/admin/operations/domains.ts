/** Operations on domains. */
import { z } from 'zod';
import { checkDomain } from '../domain-check.ts';
import { domainRecords, type DomainFacts } from '../domain-records.ts';
import { operation, organizationOf, type AdminContext } from './context.ts';

const named = z.strictObject({ domain: z.string() });

export const domainOperations = {
  'domain.create': operation(
    z.strictObject({ domain: z.string(), organization: z.string().optional() }),
    async (input, context, signal) => {
      const { id } = await organizationOf(input.organization, context, signal);
      return { domain: await context.accounts.dkimKeys.createDomain(input.domain, id, signal), organization: id };
    },
  ),
  'domain.list': operation(z.strictObject({ organization: z.string().optional() }), async (input, context, signal) => {
    if (input.organization === undefined) return context.accounts.domains.list();
    const { id } = await organizationOf(input.organization, context, signal);
    return context.accounts.domains.list(id);
  }),
  'domain.suspend': operation(named, async (input, context) => {
    await context.accounts.domains.setState(input.domain, 'suspended');
    return { domain: input.domain };
  }),
  'domain.resume': operation(named, async (input, context) => {
    await context.accounts.domains.setState(input.domain, 'active');
    return { domain: input.domain };
  }),
  'domain.delete': operation(named, async (input, context) => {
    await context.accounts.domains.delete(input.domain);
    return { domain: input.domain };
  }),
  'domain.records': operation(named, ({ domain }, context) => domainRecords(factsOf(domain, context))),
  'domain.check': operation(named, ({ domain }, context, signal) =>
    checkDomain(factsOf(domain, context), context.resolver, signal),
  ),
} as const;

/** Throws ServerError 'not-found'. */
function factsOf(domain: string, context: AdminContext): DomainFacts {
  const { name, keys } = context.accounts.dkimKeys.ofDomain(domain);
  return { domain: name, hostname: context.hostname, ports: context.state().ports, keys };
}
