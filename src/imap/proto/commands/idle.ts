/** IDLE and the line that ends it. RFC 9051 §6.3.13. */

export type IdleCommand = Readonly<{ kind: 'idle' }>;

/** Whether the client's line, a byte string, ends IDLE; anything else is a protocol error. */
export function isIdleDone(line: string): boolean {
  return line.trimEnd().toUpperCase() === 'DONE';
}
