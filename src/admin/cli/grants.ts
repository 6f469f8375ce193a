/** sealpost grant .. */
import type { Command } from 'commander';
import type { OperationAnswer } from '../operations.ts';
import { enforcerText } from './grant-text.ts';
import { examples } from './organizations.ts';
import { openSession } from './session.ts';
import { confirmLoss, table, timeText, type Terminal } from './terminal.ts';

type Grant = OperationAnswer<'grant.create'>;
type Described = OperationAnswer<'grant.show'>;

export function addGrantCommands(program: Command, terminal: Terminal): void {
  const grant = program
    .command('grant')
    .description('Grants: the right of this server to use the root key of an organization.');

  grant
    .command('list')
    .description('List grants, the oldest first, revoked ones and those of deleted organizations too.')
    .option('--org <organization>', 'name or id; without it, all')
    .addHelpText('after', examples('grant list', 'grant list --org Example --json'))
    .action(async (options: { org?: string }, command: Command) => {
      const session = await openSession(command, terminal);
      session.print(await session.ask('grant.list', { organization: options.org }), (all) =>
        table([
          ['GRANT', 'ORGANIZATION', 'STATE', 'ENFORCED BY', 'ROOT KEY', 'CREATED'],
          ...all.map((it) => [
            it.id,
            it.organization,
            stateText(it),
            enforcerText(it),
            it.rootKey,
            timeText(it.createdAtMs),
          ]),
        ]),
      );
    });

  grant
    .command('show')
    .description('Show a grant: what it allows, who enforces it, and what depends on it.')
    .argument('<grant>', 'its id')
    .addHelpText('after', examples('grant show 0f3c5a7e9b1d2f4a6c8e0b2d4f6a8c0e'))
    .action(async (id: string, _options: object, command: Command) => {
      const session = await openSession(command, terminal);
      session.print(await session.ask('grant.show', { grant: id }), shownText);
    });

  grant
    .command('create')
    .description('Make a grant after one was revoked, or finish one that is pending: mail can be read again.')
    .option('--org <organization>', 'name or id; without a grant only the id is known')
    .addHelpText('after', examples('grant create --org 0f3c5a7e9b1d2f4a6c8e0b2d4f6a8c0e'))
    .action(async (options: { org?: string }, command: Command) => {
      const session = await openSession(command, terminal);
      const made = await session.ask('grant.create', { organization: options.org });
      session.print(made, (it) => `Created grant ${it.id}, enforced by ${enforcerText(it)}.\n`);
    });

  grant
    .command('revoke')
    .description('Revoke a grant: from now on the mail of its organization can neither be read nor delivered.')
    .argument('<grant>', 'its id')
    .option('--yes', 'do not ask')
    .addHelpText('after', examples('grant revoke 0f3c5a7e9b1d2f4a6c8e0b2d4f6a8c0e'))
    .action(async (id: string, options: { yes?: boolean }, command: Command) => {
      const session = await openSession(command, terminal);
      const described = await session.ask('grant.show', { grant: id });
      const word = described.organization?.name ?? described.grant.organization;
      await confirmLoss(terminal, { text: effectText(described), word, isConfirmed: options.yes === true });
      const answer = await session.ask('grant.revoke', { grant: id });
      session.print(answer, ({ grant: revoked, providerFailure }) => {
        const done = `Revoked grant ${revoked.id}. To undo it: sealpost grant create --org ${revoked.organization}\n`;
        if (providerFailure === null) return done;
        return `${done}The key service still has its own grant. ${providerFailure}\nThen: sealpost grant revoke ${id}\n`;
      });
      if (answer.providerFailure !== null) process.exitCode = 1;
    });
}

function stateText({ providerGrant, revokedAtMs, providerRevokedAtMs }: Grant): string {
  if (revokedAtMs === null) return providerGrant === 'pending' ? 'pending' : 'in force';
  return providerRevokedAtMs === null ? 'revoked here, key service not told' : 'revoked';
}

function shownText({ grant, organization }: Described): string {
  const { revokedAtMs } = grant;
  const name = organization ? (organization.name ?? '(sealed)') : '(deleted)';
  return table([
    ['grant', grant.id],
    ['state', revokedAtMs === null ? stateText(grant) : `${stateText(grant)}, ${timeText(revokedAtMs)}`],
    ['organization', `${name}, id ${grant.organization}`],
    ['mailboxes', String(organization?.mailboxesCount ?? 0)],
    ['root key', `${grant.provider} ${grant.rootKey}`],
    ['enforced by', enforcerText(grant)],
    ['operations', grant.operations.join(', ')],
    ['only with', pairsText(grant.constraint)],
    ['created', timeText(grant.createdAtMs)],
  ]);
}

function effectText({ grant, organization }: Described): string {
  const what = organization
    ? `organization ${organization.name ?? '(sealed)'} with ${String(organization.mailboxesCount)} mailboxes`
    : 'a deleted organization';
  return (
    `This revokes the grant of ${what}, root key ${grant.rootKey}.\n` +
    'Its keys leave memory at once. Nobody can log in to it or read its mail, and mail for it is deferred, until a new ' +
    `grant is made: sealpost grant create --org ${grant.organization}\nNo mail is lost.`
  );
}

function pairsText(pairs: Grant['constraint']): string {
  return Object.entries(pairs)
    .map(([name, value]) => `${name} = ${value}`)
    .join(', ');
}
