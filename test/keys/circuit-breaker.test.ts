import { expect, test } from 'vitest';
import { CircuitBreaker } from '../../src/keys/circuit-breaker.ts';

function setup() {
  const clock = { nowMs: 0 };
  return { clock, breaker: new CircuitBreaker(() => clock.nowMs, 30_000) };
}

test.for(['disabled', 'denied', 'not-found'] as const)('CB1 %s pauses one root key', (failure) => {
  const { clock, breaker } = setup();
  breaker.failed('a', failure);
  clock.nowMs = 29_999;
  expect([breaker.paused('a'), breaker.paused('b')]).toEqual([failure, null]);
  clock.nowMs = 30_000;
  expect(breaker.paused('a')).toBe(null);
});

test('CB2 three failures in a row pause, each time longer, up to a limit', () => {
  const { clock, breaker } = setup();
  const pauses: number[] = [];
  for (let failures = 1; failures <= 11; failures += 1) {
    breaker.failed('a', 'unreachable');
    const startedMs = clock.nowMs;
    while (breaker.paused('a')) clock.nowMs += 50;
    pauses.push(clock.nowMs - startedMs);
  }
  expect(pauses).toEqual([0, 0, 250, 500, 1000, 2000, 4000, 8000, 8000, 8000, 8000]);
});

test('CB3 a success ends the pause and the count', () => {
  const { breaker } = setup();
  for (const failure of ['throttled', 'internal', 'unreachable'] as const) breaker.failed('a', failure);
  expect(breaker.paused('a')).toBe('unreachable');
  breaker.succeeded('a');
  breaker.failed('a', 'throttled');
  expect(breaker.paused('a')).toBe(null);
});

test('CB3 damage pauses nothing', () => {
  const { breaker } = setup();
  for (let n = 0; n < 9; n += 1)
    for (const failure of ['invalid-ciphertext', 'bad-answer'] as const) breaker.failed('a', failure);
  expect(breaker.paused('a')).toBe(null);
});
