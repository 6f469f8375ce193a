/**
 * LIST patterns against folder names: `*` is any text, `%` any text without the separator.
 *
 * G1  Time is at most the product of both lengths, whatever the wildcards: no regular expression, no
 *     backtracking over more than one state set.
 *
 * Called by imap/commands/list.ts.
 */
import { HIERARCHY_SEPARATOR } from './utf7.ts';

const STAR = '*';
const PERCENT = '%';

/**
 * Whether `name` (canonical, Unicode) matches `pattern`; INBOX as a first level matches without regard to case.
 * RFC 9051 §6.3.9, §5.1.
 */
export function matchesPattern(name: string, pattern: string): boolean {
  const inboxLength = name === 'INBOX' || name.startsWith(`INBOX${HIERARCHY_SEPARATOR}`) ? 5 : 0;
  // `reached[p]`: the part of the name read so far matches the first p chars of the pattern.
  let reached = new Uint8Array(pattern.length + 1);
  let next = new Uint8Array(pattern.length + 1);
  reached[0] = 1;
  skipWildcards(reached, pattern);
  for (let at = 0; at < name.length; at += 1) {
    const char = name.charAt(at);
    next.fill(0);
    let isAlive = false;
    for (let p = 0; p < pattern.length; p += 1) {
      if (reached[p] === 0) continue;
      const wanted = pattern.charAt(p);
      if (wanted === STAR || (wanted === PERCENT && char !== HIERARCHY_SEPARATOR)) next[p] = 1;
      else if (wanted === char || (at < inboxLength && wanted.toUpperCase() === char)) next[p + 1] = 1;
      else continue;
      isAlive = true;
    }
    if (!isAlive) return false;
    skipWildcards(next, pattern);
    [reached, next] = [next, reached];
  }
  return reached[pattern.length] === 1;
}

/** A wildcard may stand for nothing. */
function skipWildcards(reached: Uint8Array, pattern: string): void {
  for (let p = 0; p < pattern.length; p += 1) {
    const wanted = pattern.charAt(p);
    if (reached[p] === 1 && (wanted === STAR || wanted === PERCENT)) reached[p + 1] = 1;
  }
}
