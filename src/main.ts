/**
 * The command `sealpost`: parses the command line and loads what the command needs, nothing else, so that
 * `sealpost status` does not load a mail server.
 */
import { InvalidArgumentError, type Command } from 'commander';
import { createProgram, runProgram } from './admin/cli/program.ts';
import { configFile, type GlobalOptions } from './admin/cli/session.ts';
import type { Terminal } from './admin/cli/terminal.ts';
import { normalizeDomain } from './accounts/domain-name.ts';

const USERS_MAX_COUNT = 100_000;
const THREADS_COUNT = 16;

type InitOptions = Readonly<{ demo?: boolean; users?: number; password?: string; domain?: string }>;

const terminal: Terminal = {
  input: process.stdin,
  showsProgress: process.stderr.isTTY,
  write: (text) => {
    process.stdout.write(text);
  },
  writeError: (text) => {
    process.stderr.write(text);
  },
};

// ML-KEM in WebCrypto is called experimental; what else Node warns of is shown as always.
process.removeAllListeners('warning');
process.on('warning', (warning) => {
  if (warning.name !== 'ExperimentalWarning') process.stderr.write(`${warning.name}: ${warning.message}\n`);
});

const program = createProgram(terminal, {
  examine: async ({ configFile: file, isRepair, isDeep }) => {
    const { loadConfig } = await import('./config/load.ts');
    const { examineOffline } = await import('./offline.ts');
    return examineOffline(loadConfig({ file, env: process.env }), { isRepair, isDeep });
  },
});

program
  .command('serve')
  .description('Run the server, until SIGTERM.')
  .option('--ready-file <file>', 'write the ports there, as JSON, once all listeners are open')
  .addHelpText('after', '\nExample:\n  sealpost serve --config /etc/sealpost/sealpost.toml\n')
  .action(async (options: { readyFile?: string }, command: Command) => {
    // Password hashes and the syncs that acknowledgements wait for share libuv's threads: there must be some to spare.
    // Read once, when the first of them starts.
    process.env['UV_THREADPOOL_SIZE'] ??= String(THREADS_COUNT);
    const config = await loadConfiguration(command);
    const { serve } = await import('./app.ts');
    await serve({ config, readyFile: options.readyFile });
    process.exit(0); // nothing is left to wait for
  });

program
  .command('init')
  .description('Make what a first start needs: data directory, keyring, certificate. Keeps what is there.')
  .option('--demo', 'make an organization with one mailbox, and print its password')
  .option('--users <count>', 'make mailboxes u1 .. uN for tests; needs --password and --domain', usersCount)
  .option('--password <text>', 'their password; other processes can read it: for tests only')
  .option('--domain <name>', 'their domain', domainName)
  .addHelpText(
    'after',
    '\nExamples:\n  sealpost init --demo\n  sealpost init --users 10 --password pw --domain bench.test\n',
  )
  .action(async (options: InitOptions, command: Command) => {
    const { users: count, password, domain } = options;
    if (count !== undefined && (password === undefined || domain === undefined)) {
      command.error('error: --users needs --password and --domain');
    }
    const users =
      count === undefined || password === undefined || domain === undefined ? undefined : { count, password, domain };
    const config = await loadConfiguration(command);
    const { initialize } = await import('./offline.ts');
    const result = await initialize(config, { demo: options.demo === true, users });
    terminal.write(
      command.optsWithGlobals<GlobalOptions>().json === true ? `${JSON.stringify(result)}\n` : told(result),
    );
  });

const gateway = program.commands.find((command) => command.name() === 'gateway') ?? program.command('gateway');

gateway
  .command('init')
  .description("Make what a gateway's first start needs, and its ticket. Keeps what is there.")
  .requiredOption('--address <host:port>', 'where the main server reaches it to collect: gateway.listen, from outside')
  .addHelpText('after', '\nExample:\n  sealpost gateway init --address mx1.example.org:2465\n')
  .action(async ({ address }: { address: string }, command: Command) => {
    const config = await loadConfiguration(command);
    const { initializeGateway } = await import('./gateway-app.ts');
    const made = await initializeGateway(config, address);
    const { ticketFile } = config.gateway;
    const isJson = command.optsWithGlobals<GlobalOptions>().json === true;
    terminal.write(isJson ? `${JSON.stringify({ made, ticketFile })}\n` : gatewayTold(made, ticketFile));
  });

gateway
  .command('serve')
  .description('Run a gateway, until SIGTERM: it takes in mail by public keys, and needs no key service.')
  .option('--ready-file <file>', 'write the ports there, as JSON, once all listeners are open')
  .addHelpText('after', '\nExample:\n  sealpost gateway serve --config /etc/sealpost/gateway.toml\n')
  .action(async (options: { readyFile?: string }, command: Command) => {
    process.env['UV_THREADPOOL_SIZE'] ??= String(THREADS_COUNT);
    const config = await loadConfiguration(command);
    const { serveGateway } = await import('./gateway-app.ts');
    await serveGateway({ config, readyFile: options.readyFile });
    process.exit(0); // nothing is left to wait for
  });

process.exitCode = (await runProgram(program, terminal, process.argv.slice(2))) || process.exitCode || 0;

async function loadConfiguration(command: Command) {
  const { loadConfig } = await import('./config/load.ts');
  return loadConfig({ file: configFile(command.optsWithGlobals<GlobalOptions>().config), env: process.env });
}

function gatewayTold(made: readonly string[], ticketFile: string): string {
  const lines = made.length === 0 ? ['everything is there already'] : made.map((file) => `made ${file}`);
  const next = `Copy ${ticketFile} to the main server, readable by it alone, and name it in gateway.tickets there.`;
  return `${[...lines, next].join('\n')}\n`;
}

function told(result: Awaited<ReturnType<(typeof import('./offline.ts'))['initialize']>>): string {
  const lines = result.made.map((file) => `made ${file}`);
  if (result.demo) {
    const { address, password } = result.demo;
    lines.push(
      password === null ? `kept mailbox ${address} and its password` : `made mailbox ${address}, password ${password}`,
    );
  }
  if (result.users) {
    lines.push(`made ${String(result.users.createdCount)} mailboxes, kept ${String(result.users.existingCount)}`);
  }
  return lines.length === 0 ? 'everything is there already\n' : `${lines.join('\n')}\n`;
}

function usersCount(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > USERS_MAX_COUNT)
    throw new InvalidArgumentError('Not a number of users.');
  return count;
}

function domainName(text: string): string {
  const name = normalizeDomain(text);
  if (name === null) throw new InvalidArgumentError('Not a domain name.');
  return name;
}
