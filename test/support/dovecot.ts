/** A Dovecot for one user, spoken to over its standard streams: the answers that ours are compared with. */
import { spawn, spawnSync, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { ImapClient } from '../protocol/imap-world.ts';

const PROGRAM = '/usr/lib/dovecot/imap';
/** It refuses to run as root. */
const NOBODY = 65_534;

/** Why there is none; '' where there is one. */
export function withoutDovecot(): string {
  if (!existsSync(PROGRAM)) return ' (skipped: no dovecot-imapd)';
  const isRoot = process.getuid?.() === 0;
  return isRoot && spawnSync('setpriv', ['--version']).error ? ' (skipped: no setpriv)' : '';
}

/** A client that is logged in to an empty mailbox. */
export async function dovecotClient(): Promise<ImapClient & AsyncDisposable> {
  const home = mkdtempSync(join(tmpdir(), 'compared-'));
  const config = join(home, 'dovecot.conf');
  const settings = [
    'ssl = no',
    'log_path = /dev/stderr',
    `base_dir = ${home}/run`,
    `mail_location = maildir:${home}/mail`,
  ];
  writeFileSync(config, `${settings.join('\n')}\n`);
  const asNobody = [`--reuid=${String(NOBODY)}`, `--regid=${String(NOBODY)}`, '--clear-groups'];
  const isRoot = process.getuid?.() === 0;
  if (isRoot) chownSync(home, NOBODY, NOBODY);
  const own = ['-c', config];
  const options: SpawnOptions = { env: { USER: 'compared', HOME: home }, stdio: ['pipe', 'pipe', 'ignore'] };
  const child = isRoot ? spawn('setpriv', [...asNobody, PROGRAM, ...own], options) : spawn(PROGRAM, own, options);
  const client = new ImapClient(Duplex.from({ readable: child.stdout!, writable: child.stdin! }));
  await client.line(); // PREAUTH
  return Object.assign(client, { [Symbol.asyncDispose]: () => ended(child, home) });
}

async function ended(child: ChildProcess, home: string): Promise<void> {
  child.stdin?.end();
  if (child.exitCode === null) await once(child, 'close');
  rmSync(home, { recursive: true, force: true });
}
