/** What command-reader.ts gives to the connection, and the limits it keeps. */
import type { CommandText } from './lexer.ts';

/** Every limit counts bytes of one command. */
export type ReaderLimits = Readonly<{
  /** Text of the command: all its lines, without literals. */
  lineBytes: number;
  /** Text and gathered literals together. */
  commandBytes: number;
  /** What may be swallowed of one refused command before the connection is closed. */
  discardBytes: number;
  /** A non-synchronising literal of more bytes is refused, and swallowed. Absent: as many as the other limits allow. */
  nonSyncLiteralBytes?: number;
  /** Whether the message literals of APPEND are streamed. Before login they are gathered, hence refused by size. */
  streamsAppend: boolean;
}>;

/** Before login: 16 KiB in all, of which an access token may take most. */
export const LIMITS_BEFORE_LOGIN: ReaderLimits = {
  lineBytes: 16 * 1024,
  commandBytes: 16 * 1024,
  discardBytes: 64 * 1024,
  streamsAppend: false,
};

export const LIMITS_AFTER_LOGIN: ReaderLimits = {
  lineBytes: 64 * 1024,
  commandBytes: 1024 * 1024,
  discardBytes: 64 * 1024 * 1024,
  streamsAppend: true,
};

/** What LITERAL- allows, where LITERAL+ is switched off. RFC 7888 §5. */
export const LIMITS_OF_LITERAL_MINUS: ReaderLimits = {
  ...LIMITS_AFTER_LOGIN,
  nonSyncLiteralBytes: 4096,
};

/**
 * `args` is the text after the command name, or after the last streamed literal. `name` is in upper case.
 * In `literal-wanted` it is what came so far, valid until the literal is accepted or refused.
 */
type CommandHead = Readonly<{ tag: string; name: string; args: CommandText }>;

export type ReaderEvent =
  /** A whole command. `streamedCount`: how many message literals went before `args`. */
  | (CommandHead & Readonly<{ kind: 'command'; streamedCount: number }>)
  /**
   * A literal waits for `acceptLiteral` or `refuseLiteral`. If `synchronising`, accepting means to send a `+` line.
   * `isMessage`: its bytes will come as `literal-chunk`, else they become part of the command.
   */
  | (CommandHead &
      Readonly<{
        kind: 'literal-wanted';
        sizeBytes: number;
        synchronising: boolean;
        isBinary: boolean;
        isMessage: boolean;
        streamedCount: number;
      }>)
  /** Valid until the next `push` or `next`: copy what is to be kept. */
  | Readonly<{ kind: 'literal-chunk'; bytes: Uint8Array }>
  | Readonly<{ kind: 'literal-end' }>
  /** What `expectLine` asked for, as a byte string. */
  | Readonly<{ kind: 'line'; text: string }>
  /** Answer BAD and go on: the reader skips what belongs to it. `tag` is null when it could not be read. */
  | Readonly<{ kind: 'bad-line'; tag: string | null; reason: BadLineReason; text: string }>
  /** Answer BYE and close: the stream cannot be followed any further. Every later `next` gives null. */
  | Readonly<{ kind: 'fatal'; text: string }>;

type BadLineReason = 'line-too-long' | 'literal-too-large' | 'malformed';
