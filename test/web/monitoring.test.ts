/** PM1 and what monitoring asks of a real server. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { listenFor, happened } from '../../src/observe/events.ts';
import { Metrics } from '../../src/observe/metrics.ts';
import { DOMAIN, PASSWORD, ROOT, TestServer } from '../support/server.ts';
import { ImapClient, SmtpClient } from '../support/wire.ts';

type Dashboard = { panels: { targets: { expr: string }[] }[] };

test(
  'PM1 a server counts what happens, without an address, and says that it is ready',
  { timeout: 60_000 },
  async () => {
    const server = await TestServer.start({ users: 1, config: { metrics: { listen: ['127.0.0.1:0'] } } });
    const port = (
      JSON.parse(readFileSync(join(server.directory, 'ready.json'), 'utf8')) as { ports: { metrics: number } }
    ).ports.metrics;
    const ask = (path: string, method = 'GET') => fetch(`http://127.0.0.1:${String(port)}${path}`, { method });
    {
      using smtp = await SmtpClient.open(server.ports.smtp, 'smtp');
      await smtp.ask('EHLO client.example.net');
      const mail = {
        from: 'canary@example.net',
        to: [`u1@${DOMAIN}`],
        message: Buffer.from('Subject: s\r\n\r\nb\r\n'),
      };
      expect(await smtp.deliver(mail)).toMatch(/^250 /);
      using imap = await ImapClient.open(server.ports.imap);
      await imap.ok(`LOGIN u1@${DOMAIN} ${PASSWORD}`);
      await imap.select('INBOX');
    }
    const text = await (await ask('/metrics')).text();
    expect(text).toMatch(/^sealpost_deliveries_total\{protocol="[a-z]+",outcome="stored"\} 1$/im);
    expect(text).toMatch(/^sealpost_imap_command_seconds_count\{command="select",status="OK"\} 1$/m);
    expect(text).toMatch(/^sealpost_key_calls_total\{operation="\w+"\} [1-9]/m);
    expect(text).toMatch(/^sealpost_waiting_mailboxes 0$/m);
    expect(text).not.toMatch(new RegExp(`canary|u1@|${DOMAIN}`));
    const names = new Set(text.match(/^[a-z_0-9]+(?=[ {])/gm));
    const dashboard = JSON.parse(readFileSync(join(ROOT, 'config/grafana-dashboard.json'), 'utf8')) as Dashboard;
    const used = dashboard.panels.flatMap(({ targets }) =>
      targets.flatMap(({ expr }) => expr.match(/\b(?:sealpost|nodejs|process)_\w+/g) ?? []),
    );
    expect(used.length).toBeGreaterThan(14);
    // a kind of failure appears when it has happened
    expect(used.filter((name) => !names.has(name) && name !== 'sealpost_key_failures_total')).toEqual([]);
    expect((await ask('/healthz')).status).toBe(200);
    const ready = await ask('/readyz');
    expect([ready.status, await ready.json()]).toMatchObject([200, { isOk: true, parts: { imap: { kind: 'ok' } } }]);
    expect((await ask('/')).status).toBe(404);
    expect([(await ask('/metrics', 'POST')).status, (await ask('/metrics', 'HEAD')).status]).toEqual([405, 200]);
  },
);

test('metrics are served to other machines only if that is said', async () => {
  const server = TestServer.prepare({ config: { metrics: { listen: ['*:0'] } } });
  const { code, error } = await server.run(['init']);
  expect([code, error.includes('metrics.allowRemote')]).toEqual([1, true]);
});

test('PM2 a part that fails leaves its own metric out, and nothing listens after the end', async () => {
  {
    using metrics = new Metrics();
    metrics.measure('bad', { help: 'fails' }, () => Promise.reject(new Error('away')));
    metrics.measure('good', { help: 'works' }, () => [{ value: 3 }]);
    happened('commit', { durationMs: 2, waitersCount: 5 });
    const text = await metrics.text();
    expect(text).toMatch(/^good 3$/m);
    expect(text).not.toMatch(/^bad /m);
    expect(text).toMatch(/^sealpost_commit_waiters_total 5$/m);
  }
  const seen: number[] = [];
  {
    using _listening = listenFor('commit', ({ waitersCount }) => void seen.push(waitersCount));
    happened('commit', { durationMs: 2, waitersCount: 1 });
  }
  happened('commit', { durationMs: 2, waitersCount: 2 });
  expect(seen).toEqual([1]);
});
