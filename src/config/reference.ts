/**
 * The example file and the reference of the options, written from the schema.
 *
 * Called by scripts/generate-config-docs.ts; a test compares the committed files with it.
 */
import { stringify } from 'smol-toml';
import { type ListedOption, listOptions } from './schema.ts';

/** The text of config/sealpost.example.toml: every option at its default; absent ones are commented out. */
export function exampleToml(): string {
  const lines = [
    '# Sealpost configuration. Every option, at its default. Generated from src/config/schema.ts.',
    '# Each can also be given in the environment; the environment wins.',
  ];
  let table = '';
  for (const option of listOptions()) {
    const name = option.path.slice(0, -1).join('.');
    if (name !== table) lines.push('', `[${name}]`);
    table = name;
    lines.push(`# ${option.info.help} (${option.info.accepts.replaceAll('`', '')}; ${option.environmentName})`);
    lines.push(assignment(option));
  }
  return `${lines.join('\n')}\n`;
}

function assignment(option: ListedOption): string {
  const key = option.path.at(-1) ?? '';
  const { fallback } = option.info;
  return fallback === null ? `# ${key} = ""` : stringify({ [key]: fallback }).trimEnd();
}

/** The text of config/README.md: how configuration is read, and a table of all options. */
export function configReadme(): string {
  const rows = listOptions().map((option) =>
    [
      `\`${option.path.join('.')}\``,
      option.info.accepts,
      fallbackCell(option),
      `\`${option.environmentName}\`${option.info.isSecret ? ', or the same with `_FILE`' : ''}`,
      option.info.help + credentialNote(option),
    ].join(' | '),
  );
  return README_HEAD + rows.map((row) => `| ${row} |\n`).join('');
}

function credentialNote({ info: { systemdCredential } }: ListedOption): string {
  return systemdCredential === undefined ? '' : ` May also come as the systemd credential \`${systemdCredential}\`.`;
}

function fallbackCell({ info: { fallback } }: ListedOption): string {
  if (fallback === null) return 'absent';
  if (typeof fallback === 'string' || typeof fallback === 'number' || typeof fallback === 'boolean') {
    return `\`${String(fallback)}\``;
  }
  return fallback.length === 0 ? 'none' : fallback.map((member) => `\`${member}\``).join(', ');
}

const README_HEAD = `# Configuration

<!-- Generated from src/config/schema.ts by scripts/generate-config-docs.ts: change it there. -->

\`sealpost.example.toml\` holds every option at its default. A configuration file needs only what differs.

- The server reads the file given by \`--config\`, then the environment, which wins. In the environment the members of a
  list are separated by commas; nothing at all means an empty list.
- A secret can be put into a file of its own; name the file in the variable that ends in \`_FILE\`.
- Everything wrong is reported at once, and the server does not start. An unknown option is wrong, too.
- A relative \`data.directory\` starts at the folder of the configuration file; every other relative path starts at
  \`data.directory\`.
- An address to listen on is \`host:port\`, \`[IPv6]:port\` or \`*:port\` (every address of the machine). Port 0 is any free
  port.

| Option | Accepts | Default | Environment | Meaning |
| ------ | ------- | ------- | ----------- | ------- |
`;
