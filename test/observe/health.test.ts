import { expect, test } from 'vitest';
import { Health } from '../../src/observe/health.ts';

test('H1 well only when every part said so', () => {
  using health = new Health();
  const imap = health.part('imap');
  const store = health.part('store');
  imap.ok();
  expect(health.report()).toMatchObject({ isOk: false, parts: { imap: { kind: 'ok' }, store: { kind: 'starting' } } });
  store.ok();
  expect(health.report().isOk).toBe(true);
  store.degraded('write failed');
  expect(health.report()).toMatchObject({
    isOk: false,
    parts: { store: { kind: 'degraded', reason: 'write failed' } },
  });
  store.ok();
  expect(health.report().isOk).toBe(true);
});

test('H1 a name is reported by one part only', () => {
  using health = new Health();
  health.part('imap');
  expect(() => health.part('imap')).toThrow(TypeError);
});

test('H2 a blocked event loop is degraded once, and measured anew afterwards', async () => {
  using health = new Health();
  await new Promise((resolve) => setTimeout(resolve, 50));
  const untilMs = performance.now() + 700;
  while (performance.now() < untilMs);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const blocked = health.report();
  expect(blocked.isOk).toBe(false);
  expect(blocked.eventLoopDelayMs).toBeGreaterThan(500);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(health.report().isOk).toBe(true);
});
