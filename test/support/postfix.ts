/** A private Postfix on a free loopback port that takes mail for one domain into Maildirs. It needs root. */
import { spawn } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { temporaryDirectory } from './temporary-directory.ts';

const [PROGRAM, DAEMONS] = ['/usr/sbin/postfix', '/usr/lib/postfix/sbin'];

export const hasPostfix = existsSync(PROGRAM) && existsSync(DAEMONS) && process.getuid?.() === 0;

type PostfixOptions = Readonly<{
  domain: string;
  users: readonly string[];
  tls: Readonly<{ key: string; cert: string }>;
}>;

/** Whoever starts it calls `stop`. */
export async function startPostfix({ domain, users, tls }: PostfixOptions) {
  const base = join(temporaryDirectory(), 'postfix');
  const at = (...names: readonly string[]) => join(base, ...names);
  for (const name of ['etc', 'queue', 'data', 'mail']) mkdirSync(at(name), { recursive: true });
  const [postfixUid, nobody] = [uidOf('postfix'), 65_534];
  chownSync(at('data'), postfixUid, -1);
  chownSync(at('mail'), nobody, nobody);
  for (let folder = base; folder !== '/tmp' && folder !== '/'; folder = join(folder, '..')) chmodSync(folder, 0o755);
  const port = await freePort();
  writeFileSync(at('etc/tls.pem'), `${tls.key}${tls.cert}`, { mode: 0o600 });
  const mailboxes = users.map((user) => `{ ${user}@${domain} = ${user}/ }`).join(', ');
  const main = {
    compatibility_level: '3.6',
    queue_directory: at('queue'),
    data_directory: at('data'),
    command_directory: '/usr/sbin',
    daemon_directory: DAEMONS,
    mail_owner: 'postfix',
    setgid_group: 'postdrop',
    myhostname: `mx.${domain}`,
    inet_interfaces: '127.0.0.1',
    inet_protocols: 'ipv4',
    mynetworks: '',
    local_header_rewrite_clients: '', // nothing is added to what it takes
    mydestination: '',
    alias_maps: '',
    alias_database: '',
    virtual_mailbox_domains: domain,
    virtual_mailbox_maps: `inline:{ ${mailboxes} }`,
    virtual_mailbox_base: at('mail'),
    virtual_mailbox_limit: '0',
    virtual_uid_maps: `static:${String(nobody)}`,
    virtual_gid_maps: `static:${String(nobody)}`,
    default_transport: 'error:loopback only',
    smtpd_relay_restrictions: 'reject_unauth_destination',
    smtpd_tls_chain_files: at('etc/tls.pem'),
    smtpd_tls_security_level: 'may',
    smtpd_tls_received_header: 'yes',
    smtpd_recipient_limit: '40',
    smtpd_recipient_overshoot_limit: '1000',
    message_size_limit: '52428800',
    maillog_file: at('log'),
    maillog_file_prefixes: base,
  };
  writeFileSync(
    at('etc/main.cf'),
    Object.entries(main)
      .map(([name, value]) => `${name} = ${value}\n`)
      .join(''),
  );
  writeFileSync(at('etc/master.cf'), MASTER.replace('PORT', String(port)));
  const child = spawn(PROGRAM, ['-c', at('etc'), 'start-fg'], { stdio: 'ignore' });
  const ended = new Promise<void>((resolve) =>
    child.on('exit', () => {
      resolve();
    }),
  );
  const stop = async (): Promise<void> => {
    const pidFile = at('queue/pid/master.pid');
    // the program that was started waits for its master, which is to be told
    if (existsSync(pidFile)) process.kill(Number(readFileSync(pidFile, 'utf8').trim()), 'SIGTERM');
    else child.kill();
    await ended;
  };
  await answers(port);
  const messagesOf = (user: string): string[] => {
    const folder = at('mail', user, 'new');
    return existsSync(folder) ? readdirSync(folder).map((file) => readFileSync(join(folder, file), 'latin1')) : [];
  };
  return { port, messagesOf, stop };
}

const MASTER = `127.0.0.1:PORT inet n - n - 20 smtpd
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
error     unix  - - n - - error
retry     unix  - - n - - error
virtual   unix  - n n - - virtual
anvil     unix  - - n - 1 anvil
showq     unix  n - n - - showq
postlog   unix-dgram n - n - 1 postlogd
`;

function uidOf(user: string): number {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((one) => one.startsWith(`${user}:`));
  return Number(line?.split(':')[2]);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) =>
    server.close(() => {
      resolve();
    }),
  );
  return port;
}

async function answers(port: number): Promise<void> {
  for (let tries = 0; tries < 300; tries += 1) {
    const isUp = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy();
        resolve(true);
      });
      socket.on('error', () => {
        resolve(false);
      });
    });
    if (isUp) return;
    await sleep(100);
  }
  throw new Error('Postfix does not start');
}
