/**
 * The failures that cross module borders.
 *
 * E1  An error has two texts: `clientText` may be shown to any peer and never holds input or
 *     content; `detail` is for the log and holds ids, never content.
 * E2  `retryable` says whether the same request may succeed later without a change by the client.
 * E3  Only the edges (imap, smtp, admin) turn a code into a protocol answer, each by one table.
 */

/** Every failure a caller or an edge tells apart. */
export type ErrorCode =
  | 'key-unavailable' // the key provider did not answer, throttled or failed: try again
  | 'key-refused' // disabled, denied, revoked or pending deletion: an operator must act
  | 'key-lost' // the root key is gone: what it wrapped cannot be read again
  | 'key-mismatch' // a wrapped key did not open: damage, tampering or the wrong root key
  | 'key-unsuitable' // an operator chose a key that cannot serve
  | 'content-damaged' // a sealed record or body failed its check
  | 'storage-failed' // a write or fsync failed; the process stops
  | 'storage-full' // the free-space reserve is reached
  | 'over-quota'
  | 'message-too-large'
  | 'limit-exceeded' // some other configured limit
  | 'not-found'
  | 'already-exists'
  | 'not-allowed' // the request is understood and refused for good
  | 'invalid-argument'
  | 'suspended'
  | 'dns-unavailable' // no name server answered, or all answered with a failure: try again
  | 'shutting-down';

type ServerErrorOptions = Readonly<{
  clientText: string;
  detail?: string;
  retryable?: boolean;
  cause?: unknown;
}>;

/** A failure with a code for the edges. */
export class ServerError extends Error {
  readonly code: ErrorCode;
  readonly clientText: string;
  readonly detail: string;
  readonly retryable: boolean;

  constructor(code: ErrorCode, options: ServerErrorOptions) {
    super(options.detail ?? options.clientText, { cause: options.cause });
    this.name = 'ServerError';
    this.code = code;
    this.clientText = options.clientText;
    this.detail = options.detail ?? options.clientText;
    this.retryable = options.retryable ?? false;
  }
}

/** For the default branch of a `switch` over a tagged union. */
export function assertNever(value: never): never {
  throw new TypeError(`unhandled case ${JSON.stringify(value)}`);
}
