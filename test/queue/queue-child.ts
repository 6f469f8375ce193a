/**
 * Fills and drains a queue in a process that the test kills: `node queue-child.ts DIRECTORY FIRST`. Prints `queued N`
 * once message N is on disk, and `sent N` once its delivery is noted there.
 */
import { attemptOf, bodyOf, claimed, enqueue, queueWorld } from '../support/queue-world.ts';

const [directory = '', first = '0'] = process.argv.slice(2);
const world = await queueWorld(directory);
const say = (text: string): void => void process.stdout.write(`${text}\n`);
let isFilled = false;

async function fill(): Promise<void> {
  for (let n = Number(first); n < Number(first) + 300; n += 1) {
    await enqueue(world, `${String(n)}\n${n % 7 === 0 ? 'x'.repeat(3000) : ''}`, [`r${String(n)}@example.net`]);
    say(`queued ${String(n)}`);
  }
  isFilled = true;
}

async function drain(): Promise<void> {
  for (;;) {
    const [next] = world.queue.due(Date.now(), 1);
    if (!next) {
      if (isFilled) return;
      await new Promise(setImmediate);
      continue;
    }
    using item = await claimed(world, next.id);
    const n = Number.parseInt(await bodyOf(item), 10);
    await item.settle([{ recipient: 0, kind: 'delivered', attempt: attemptOf('2.0.0'), owesReport: false }]);
    say(`sent ${String(n)}`);
  }
}

await Promise.all([fill(), drain()]);
process.exit(0);
