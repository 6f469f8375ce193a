/** sealpost receipt .. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { AdminRequestError } from '../client.ts';
import type { Receipt } from '../receipt.ts';
import { examples } from './organizations.ts';
import { openSession, type GlobalOptions } from './session.ts';
import { table, type Terminal } from './terminal.ts';

export function addReceiptCommands(program: Command, terminal: Terminal): void {
  const receipt = program.command('receipt').description('Signed receipts of what was deleted for good.');

  receipt
    .command('list')
    .description('List receipts, the oldest first.')
    .addHelpText('after', examples('receipt list', 'receipt list --json'))
    .action(async (_options: object, command: Command) => {
      const session = await openSession(command, terminal);
      session.print(await session.ask('receipt.list', {}), (all) =>
        table([
          ['COMPLETED', 'WHAT', 'MAILBOX', 'ORGANIZATION', 'KEYS', 'FILE'],
          ...all.map(({ file, receipt: { statement } }) => [
            statement.completedAt,
            statement.what,
            statement.mailbox ?? '',
            statement.organization,
            String(statement.keys.length),
            file,
          ]),
        ]),
      );
    });

  receipt
    .command('verify')
    .description('Check the signature of a receipt. Needs no server where the public key is given.')
    .argument('<file>', 'the receipt')
    .option('--public-key <file>', "the installation's receipts/public-key.pem (default: ask the running server)")
    .addHelpText('after', examples('receipt verify receipt.json', 'receipt verify receipt.json --public-key key.pem'))
    .action(async (file: string, options: { publicKey?: string }, command: Command) => {
      const text = readText(file);
      const publicKey =
        options.publicKey === undefined
          ? (await (await openSession(command, terminal)).ask('receipt.publicKey', {})).pem
          : readText(options.publicKey);
      const found = await checked(text, publicKey);
      const isJson = command.optsWithGlobals<GlobalOptions>().json === true;
      terminal.write(isJson ? `${JSON.stringify(found)}\n` : told(found));
    });
}

async function checked(text: string, publicKey: string): Promise<Receipt> {
  const { verifyReceipt } = await import('../receipt.ts'); // only when it is needed: it takes its time
  const verdict = verifyReceipt(text, publicKey);
  switch (verdict.kind) {
    case 'valid':
      return verdict.receipt;
    case 'malformed':
      throw new AdminRequestError('invalid-argument', 'This is no receipt.');
    case 'other-key':
      throw new AdminRequestError('invalid-argument', `The receipt is signed with another key (${verdict.key}).`);
    case 'forged':
      throw new AdminRequestError('invalid-argument', 'The signature is wrong: the receipt was changed.');
  }
}

function told({ statement }: Receipt): string {
  const { what, organization, mailbox, keys, completedAt, by } = statement;
  const lines = [
    'The signature is good.',
    `${what}: ${mailbox ?? organization}, at ${completedAt}, by ${by}`,
    ...keys.map(
      ({ owner, epoch, rootKey }) => `key destroyed: ${owner}, epoch ${String(epoch)}, wrapped by ${rootKey}`,
    ),
    `not covered: ${statement.excludes}`,
  ];
  return `${lines.join('\n')}\n`;
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const reason = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    throw new AdminRequestError('invalid-argument', `${file} cannot be read (${reason}).`);
  }
}
