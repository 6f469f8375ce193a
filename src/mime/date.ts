/**
 * The Date field (RFC 5322 §3.3 with the obsolete forms of §4.3), leniently. Called by mailbox/search.ts.
 * Never throws.
 */

type MessageDate = Readonly<{ atMs: number; zoneMinutes: number }>;

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
/** RFC 5322 §4.3: the named zones that have a meaning; all others count as -0000. */
const ZONE_HOURS: ReadonlyMap<string, number> = new Map([
  ['ut', 0],
  ['gmt', 0],
  ['est', -5],
  ['edt', -4],
  ['cst', -6],
  ['cdt', -5],
  ['mst', -7],
  ['mdt', -6],
  ['pst', -8],
  ['pdt', -7],
]);
const DATE =
  /^(?:[a-z]{3,9}(?:\s*,\s*|\s+))?(\d{1,2})[\s-]+([a-z]{3})[a-z]*[\s-]+(\d{2,4})(?:\s+(\d{1,2})\s*:\s*(\d{1,2})(?:\s*:\s*(\d{1,2}))?)?(?:\s+(?:([+-])(\d{2}):?(\d{2})|([a-z]{1,5})))?/i;
const MAX_VALUE_CHARS = 200;

/** The moment of a Date field's value and the zone it was written in, or null when it is none. */
export function parseMessageDate(value: string): MessageDate | null {
  const text = value
    .slice(0, MAX_VALUE_CHARS)
    .replace(/\([^()]*\)/g, ' ')
    .trim();
  const match = DATE.exec(text);
  if (!match) return null;
  const [, day = '', monthName = '', yearText = '', hour = '0', minute = '0', second = '0'] = match;
  const month = MONTHS.indexOf(monthName.toLowerCase());
  if (month < 0) return null;
  const zoneMinutes = zoneOf(match);
  const midnight = Date.UTC(fullYear(yearText), month, Number(day));
  if (new Date(midnight).getUTCDate() !== Number(day)) return null; // 30 February
  const isTime = Number(hour) < 24 && Number(minute) < 60 && Number(second) <= 60; // else 00:00: RFC 5256 §2.2
  const local = midnight + (isTime ? (Number(hour) * 3600 + Number(minute) * 60 + Number(second)) * 1000 : 0);
  return { atMs: local - zoneMinutes * 60_000, zoneMinutes };
}

function zoneOf(match: RegExpExecArray): number {
  const [sign, hours, minutes, name] = match.slice(7, 11);
  if (name) return (ZONE_HOURS.get(name.toLowerCase()) ?? 0) * 60;
  const total = Number(hours ?? 0) * 60 + Number(minutes ?? 0);
  return sign === '-' ? -total : total;
}

/** RFC 5322 §4.3: two digits below 50 are 20xx, other two and three digits are 19xx. */
function fullYear(text: string): number {
  const year = Number(text);
  if (text.length >= 4) return year;
  return text.length === 2 && year < 50 ? year + 2000 : year + 1900;
}
