// Exit code 0 when node_modules holds what package-lock.json says. Plain JavaScript: any Node runs it.
import { readFileSync } from 'node:fs';

const packagesOf = (file) => JSON.parse(readFileSync(file, 'utf8')).packages;

try {
  const installed = packagesOf('node_modules/.package-lock.json');
  const isFresh = Object.entries(packagesOf('package-lock.json'))
    .filter(([name]) => name.startsWith('node_modules/'))
    .every(([name, { version, integrity, optional }]) => {
      const found = installed[name];
      // an optional package of another platform is not installed
      return found ? found.version === version && found.integrity === integrity : optional === true;
    });
  process.exitCode = isFresh ? 0 : 1;
} catch {
  process.exitCode = 1;
}
