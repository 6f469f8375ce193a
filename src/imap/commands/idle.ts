/**
 * IDLE: changes of the selected folder are told as they happen, until the client says DONE. RFC 9051 §6.3.13.
 * Called by dispatch.ts.
 */
import { bad, ok, type Answer } from '../answer.ts';
import { isIdleDone } from '../proto/commands/idle.ts';
import * as print from '../proto/responses.ts';
import type { Session } from '../session.ts';

/** When the folder could not be read (a key is away), it is tried again after this. */
const RETRY_MS = 15_000;

export async function idle(session: Session): Promise<Answer> {
  const { state, out, wire } = session;
  out.write(print.continuationLine('idling'));
  const line = { isThere: false, text: null as string | null };
  let wake = Promise.withResolvers<void>();
  const listening = wire.readLine().then((text) => {
    line.isThere = true;
    line.text = text;
    wake.resolve();
  });
  const view = state.kind === 'selected' ? state.view : null;
  view?.onStale(() => {
    wake.resolve();
  });
  const retry = setInterval(() => {
    if (view?.isStale(true)) wake.resolve();
  }, RETRY_MS);
  try {
    for (let mustAsk = true; !line.isThere; mustAsk = false) {
      if (!mustAsk) wake = Promise.withResolvers();
      await session.sendUpdates({ mayExpunge: true, mustAsk });
      await out.room();
      if (hasEnded(session)) break;
      await wake.promise;
    }
  } finally {
    view?.onStale(null);
    clearInterval(retry);
  }
  if (hasEnded(session)) return ok('Done');
  await listening;
  return line.text !== null && isIdleDone(line.text) ? ok('Done') : bad('DONE was expected');
}

/** The folder was deleted while we told of its changes, or the connection is gone. */
function hasEnded(session: Session): boolean {
  return session.state.kind === 'logout' || session.signal.aborted;
}
