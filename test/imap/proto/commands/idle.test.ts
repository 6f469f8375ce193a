import { expect, test } from 'vitest';
import { isIdleDone } from '../../../../src/imap/proto/commands/idle.ts';

test.for([['DONE', true], ['done', true], ['Done ', true], ['', false], ['DONEX', false], ['a DONE', false]] as const)('%j ends IDLE: %s', ([line, ends]) => {
  expect(isIdleDone(line)).toBe(ends);
}); // prettier-ignore
