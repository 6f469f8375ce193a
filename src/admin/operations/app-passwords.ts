/** Operations on what one mailbox logs in by besides its password, and on the IMAP capabilities that it is offered. */
import { z } from 'zod';
import { APP_PASSWORD_PROTOCOLS } from '../../accounts/app-passwords.ts';
import { invalid } from '../../accounts/directory.ts';
import { operation } from './context.ts';

const named = z.strictObject({ address: z.string() });

/** Makes one; it is in the answer, and nowhere else. */
const create = operation(
  z.strictObject({
    address: z.string(),
    name: z.string(),
    protocols: z.array(z.enum(APP_PASSWORD_PROTOCOLS)).min(1).nullable().default(null),
  }),
  async (input, context, signal) => {
    const { appPasswords, mailboxes } = context.accounts;
    const { ref, address } = await mailboxes.require(input.address, signal);
    const made = await appPasswords.create(ref, { name: input.name, protocols: input.protocols }, signal);
    return { address, ...made };
  },
);

const list = operation(named, async (input, context, signal) => {
  const { ref } = await context.accounts.mailboxes.require(input.address, signal);
  return context.accounts.appPasswords.list(ref, signal);
});

const revoke = operation(
  z.strictObject({ address: z.string(), id: z.string().regex(/^[0-9a-f]{32}$/) }),
  async (input, context, signal) => {
    const { ref } = await context.accounts.mailboxes.require(input.address, signal);
    await context.accounts.appPasswords.revoke(ref, input.id);
    context.endSessions(ref, 'An app password was revoked'); // whoever knew only that one is out
    return { ref, id: input.id };
  },
);

const NAMES = z.array(z.string().max(64)).max(100).default([]);

/** Shows what is switched off for a mailbox, after changing it as asked. */
const capability = operation(
  z.strictObject({ address: z.string(), disable: NAMES, enable: NAMES }),
  async (input, context, signal) => {
    const { mailboxes } = context.accounts;
    const { ref, address } = await mailboxes.require(input.address, signal);
    const [disable, enable] = [input.disable, input.enable].map((names) => names.map((name) => name.toUpperCase()));
    const unknown = [...(disable ?? []), ...(enable ?? [])].find((name) => !context.capabilityNames.includes(name));
    if (unknown !== undefined) {
      throw invalid(`A mailbox cannot have ${unknown} switched off. It can: ${context.capabilityNames.join(' ')}`);
    }
    const before = mailboxes.capabilitiesOff(ref);
    const off = new Set([...before, ...(disable ?? [])]).difference(new Set(enable));
    if (off.symmetricDifference(new Set(before)).size > 0) await mailboxes.setCapabilitiesOff(ref, [...off].sort());
    return { address, disabled: mailboxes.capabilitiesOff(ref) };
  },
);

export const appPasswordOperations = {
  'app-password.create': create,
  'app-password.list': list,
  'app-password.revoke': revoke,
  'mailbox.capability': capability,
} as const;
