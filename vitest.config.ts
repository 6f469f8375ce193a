import { defineConfig } from 'vitest/config';
import { ClosingLine } from './scripts/lib/closing-line.ts';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks', // native modules and process-wide state (umask, signals) stay apart
    maxWorkers: 2,
    execArgv: ['--disable-warning=ExperimentalWarning'], // of ML-KEM in WebCrypto
    testTimeout: 20_000,
    hookTimeout: 20_000,
    reporters: ['default', new ClosingLine()],
  },
});
