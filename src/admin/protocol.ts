/**
 * What admin client and server agree on: HTTP/1.1 over the Unix socket, `POST /v1/<operation>` with a JSON body.
 * Success is 200 with `{"answer": ..}`, failure another status with `{"error": {..}}`. Types only, so that a client
 * loads nothing of the server.
 */
export const OPERATION_PATH = '/v1/';

export type AdminFailure = Readonly<{
  /** An ErrorCode of base/errors.ts, or 'internal'. */
  code: string;
  message: string;
  retryable: boolean;
}>;
