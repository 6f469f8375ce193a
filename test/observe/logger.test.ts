import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { createLogger, type Logger } from '../../src/observe/logger.ts';

function logFile(): string {
  const directory = mkdtempSync(path.join(tmpdir(), 'sealpost-log-'));
  onTestFinished(() => {
    rmSync(directory, { recursive: true });
  });
  return path.join(directory, 'made/by/it/sealpost.log');
}

async function linesOf(level: Parameters<typeof createLogger>[0]['level'], use: (logger: Logger) => void) {
  const file = logFile();
  {
    await using log = createLogger({ level, file });
    use(log.logger);
  }
  const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
  return { file, lines, entries: lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

test('a line is JSON with time, level, text and fields, in a file that others cannot read', async () => {
  const { file, entries } = await linesOf('info', (logger) => {
    logger.child({ component: 'imap' }).warn('login failed', { attemptsCount: 3 });
  });
  expect(entries).toEqual([
    {
      level: 'warn',
      pid: process.pid,
      time: expect.any(String),
      component: 'imap',
      attemptsCount: 3,
      msg: 'login failed',
    },
  ]);
  expect(new Date(String(entries[0]?.['time'])).getTime()).toBeGreaterThan(Date.now() - 60_000);
  expect(statSync(file).mode & 0o077).toBe(0);
});

test('G1 secrets and bytes are kept out, of children too', async () => {
  const { lines } = await linesOf('debug', (logger) => {
    logger.child({ password: 'canary', tag: Buffer.from('canary') }).error('failed', { token: 'canary' });
    logger.debug('bytes', { part: new TextEncoder().encode('canary') });
  });
  expect(lines).toHaveLength(2);
  expect(lines.join()).not.toContain('canary');
  expect(lines.join()).not.toContain('99,97,110');
});

test('G2 line breaks and control characters do not make lines', async () => {
  const { lines, entries } = await linesOf('info', (logger) => {
    logger.info('a\nb', { peer: 'x\r\n{"level":"error"}\u001b[2J\u2028' });
  });
  expect(lines).toHaveLength(1);
  expect(entries[0]).toMatchObject({ msg: 'a\nb', peer: 'x\r\n{"level":"error"}\u001b[2J\u2028' });
});

test('levels below the configured one are not written', async () => {
  const { entries } = await linesOf('warn', (logger) => {
    logger.debug('1');
    logger.info('2');
    logger.warn('3');
    logger.error('4');
  });
  expect(entries.map((entry) => entry['msg'])).toEqual(['3', '4']);
});

test('G3 a log on a full disk counts its failures and throws nothing', async () => {
  const log = createLogger({ level: 'info', file: '/dev/full' });
  log.logger.info('lost');
  await expect.poll(() => log.failedWritesCount()).toBeGreaterThan(0);
  expect(() => {
    log.logger.info('lost again');
  }).not.toThrow();
});

test('what was logged is in the file after flushNow', async () => {
  const file = logFile();
  await using log = createLogger({ level: 'info', file });
  await expect.poll(() => statSync(file, { throwIfNoEntry: false }) !== undefined).toBe(true);
  log.logger.error('last words');
  log.flushNow();
  expect(readFileSync(file, 'utf8')).toContain('last words');
});
