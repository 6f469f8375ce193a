/** A vitest reporter whose last line counts: `N passed, N failed, N skipped`. */
import type { Reporter, TestModule } from 'vitest/node';

export class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const counts = { passed: 0, failed: errors.length, skipped: 0, pending: 0 };
    for (const module of modules) {
      if (module.errors().length > 0) counts.failed += 1; // the file itself did not load
      for (const test of module.children.allTests()) counts[test.result().state] += 1;
    }
    const failed = counts.failed + counts.pending; // a test that never finished did not pass
    // after the summary of the default reporter, which is written in the same round
    setImmediate(() => {
      process.stdout.write(
        `${String(counts.passed)} passed, ${String(failed)} failed, ${String(counts.skipped)} skipped\n`,
      );
    });
  }
}
