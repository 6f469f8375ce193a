/** Long work that a signal ends in order. */
import { AdminRequestError } from '../client.ts';

/** The first SIGINT or SIGTERM ends the work in order; what was taken in stays. */
export function stopOnSignal(text: string): Disposable & Readonly<{ signal: AbortSignal }> {
  const controller = new AbortController();
  const onSignal = (): void => {
    controller.abort(new AdminRequestError('stopped', text));
  };
  process.once('SIGINT', onSignal);
  process.once('SIGTERM', onSignal);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      process.off('SIGINT', onSignal);
      process.off('SIGTERM', onSignal);
    },
  };
}
