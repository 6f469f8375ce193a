/** sealpost key .. */
import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import type { OperationAnswer } from '../operations.ts';
import { addKeyChangeCommands } from './key-changes.ts';
import { examples } from './organizations.ts';
import { openSession } from './session.ts';
import { table, timeText, type Terminal } from './terminal.ts';

export function addKeyCommands(program: Command, terminal: Terminal): void {
  const key = program.command('key').description('Wrapped keys, and what the key services were asked.');
  addKeyChangeCommands(key, terminal);

  key
    .command('list')
    .description('List wrapped keys: owner, epoch, and the root key that wraps them. No key material is shown.')
    .option('--org <organization>', 'name or id; without it, all')
    .addHelpText('after', examples('key list', 'key list --org Example --json'))
    .action(async (options: { org?: string }, command: Command) => {
      const session = await openSession(command, terminal);
      session.print(await session.ask('key.list', { organization: options.org }), (all) =>
        table([
          ['OWNER', 'EPOCH', 'STATE', 'KEY SERVICE', 'ROOT KEY', 'ORGANIZATION', 'CREATED'],
          ...all.map((it) => [
            it.owner,
            String(it.epoch),
            it.state,
            it.provider,
            it.rootKey,
            it.organization,
            timeText(it.createdAtMs),
          ]),
        ]),
      );
    });

  const audit = key
    .command('audit')
    .description('Show calls to key services, the newest first: when, what, for whom, why, and how it ended.')
    .option('--org <organization>', 'name or id; without it, all')
    .option('--limit <count>', 'how many (1 to 1000)', wholeNumber, 100)
    .addHelpText('after', examples('key audit --limit 20', 'key audit --org Example --json', 'key audit verify'))
    .action(async (options: { org?: string; limit: number }, command: Command) => {
      const session = await openSession(command, terminal);
      const asked = { organization: options.org, limitCount: options.limit };
      session.print(await session.ask('key.audit', asked), (all) =>
        table([
          ['TIME', 'OPERATION', 'OUTCOME', 'PURPOSE', 'PRINCIPAL', 'OWNER', 'KEY SERVICE', 'ROOT KEY', 'REQUEST'],
          ...all.map((it) => [
            timeText(Date.parse(it.eventTime)),
            it.eventName,
            it.errorCode ?? 'ok',
            `${it.additionalEventData.protocol}/${it.additionalEventData.purpose}`,
            it.userIdentity.principalId ?? '',
            it.requestParameters.encryptionContext?.['sealpost:mailbox'] ?? '',
            it.additionalEventData.provider,
            it.keyId,
            it.requestID ?? '',
          ]),
        ]),
      );
    });

  audit
    .command('verify')
    .description('Check that no entry of the audit was changed, removed or put in. Exits with 1 when one was.')
    .option('--expect <hash>', 'a newest hash that was kept elsewhere: the audit must go on from there', auditHash)
    .addHelpText('after', examples('key audit verify', 'key audit verify --expect "$(cat kept-hash)" --json'))
    .action(async (options: { expect?: string }, command: Command) => {
      const session = await openSession(command, terminal);
      const verdict = await session.ask('key.audit.verify', { expected: options.expect });
      session.print(verdict, verdictText);
      if (verdict.kind !== 'intact') process.exitCode = 1;
    });
}

function verdictText(verdict: OperationAnswer<'key.audit.verify'>): string {
  if (verdict.kind === 'intact') {
    const kept = 'Keep the hash elsewhere: an audit that was made anew has another one.';
    return `The audit is whole: ${String(verdict.rowsCount)} entries, newest hash ${verdict.headHash}.\n${kept}\n`;
  }
  if (verdict.kind === 'another') {
    const whole = `Its ${String(verdict.rowsCount)} entries fit each other, but none has the hash that was kept.`;
    return `THIS IS ANOTHER AUDIT. ${whole} It was made anew, or is older.\n`;
  }
  const { rowId, reason, intactRowsCount } = verdict;
  return `THE AUDIT IS BROKEN at entry ${String(rowId)}: ${reason}. The ${String(intactRowsCount)} before it are whole.\n`;
}

function auditHash(text: string): string {
  if (!/^[0-9a-f]{64}$/.test(text)) throw new InvalidArgumentError('Not a hash of 64 hexadecimal digits.');
  return text;
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('Not a whole number.');
  return Number(text);
}
