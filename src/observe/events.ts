/**
 * What happens, told to whoever counts it: channels of node:diagnostics_channel, which cost nothing while nobody listens.
 * Outcomes and kinds come from small fixed sets; no ids, no addresses.
 */
import { channel } from 'node:diagnostics_channel';

type Happened = Readonly<{
  'imap-command': Readonly<{ command: string; status: string; durationMs: number }>;
  /** Of one recipient: `stored`, `waiting` (for its key), `queued` (to go out), `failed` or `looping`. */
  delivery: Readonly<{ protocol: string; outcome: string }>;
  /** A sync of a write-ahead log, and how many waited for it. */
  commit: Readonly<{ durationMs: number; waitersCount: number }>;
}>;
type Kind = keyof Happened;

const channels: Readonly<Record<Kind, ReturnType<typeof channel>>> = {
  'imap-command': channel('sealpost:imap-command'),
  delivery: channel('sealpost:delivery'),
  commit: channel('sealpost:commit'),
};

export function happened<Name extends Kind>(kind: Name, event: Happened[Name]): void {
  if (channels[kind].hasSubscribers) channels[kind].publish(event);
}

/** Calls `listener` for each event until disposed. */
export function listenFor<Name extends Kind>(kind: Name, listener: (event: Happened[Name]) => void): Disposable {
  const onMessage = (event: unknown): void => {
    listener(event as Happened[Name]);
  };
  channels[kind].subscribe(onMessage);
  return {
    [Symbol.dispose]: () => {
      channels[kind].unsubscribe(onMessage);
    },
  };
}
