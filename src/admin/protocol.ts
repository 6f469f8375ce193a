/**
 * What admin client and server agree on: HTTP/1.1 over the Unix socket, `POST /v1/<operation>` with a JSON body.
 * Success is 200 with `{"answer": ..}`, failure another status with `{"error": {..}}`. Messages go as frames (frames.ts):
 * an import's as the body of its request, an export's as that of the answer. Types only, so that a client loads nothing
 * of the server.
 */
export const OPERATION_PATH = '/v1/';
/** The operation whose request is frames. */
export const IMPORT_BATCH = 'import.messages';
/** The operation whose answer is frames. */
export const EXPORT_MESSAGES = 'export.messages';
export const FRAMES_TYPE = 'application/x-sealpost-messages';
/** No message that is imported is larger. */
export const IMPORT_MAX_BYTES = 256 * 1024 * 1024;

export type AdminFailure = Readonly<{
  /** An ErrorCode of base/errors.ts, or 'internal'. */
  code: string;
  message: string;
  retryable: boolean;
}>;
