/**
 * Flags between their two forms: names as clients write them, and bits as rows hold them.
 *
 * Y1  Keyword names are opened for one batch of work and not kept.
 * Y2  Keywords compare without case and keep the case in which they were first used (RFC 9051 §2.3.2).
 */
import { ServerError } from '../base/errors.ts';
import type { Epoch } from '../base/ids.ts';
import { blindIndex } from '../crypto/blind-index.ts';
import type { MailboxKeys } from '../crypto/derive.ts';
import { openRecord, sealRecord } from '../crypto/record.ts';
import type { KeywordRow, SealedName } from '../store/folders.ts';
import type { FlagRow } from '../store/message-rows.ts';
import { SYSTEM_FLAGS, type MessageRow } from './model.ts';
import type { KeyRing, MailboxSession } from './session.ts';

type Current = Awaited<ReturnType<KeyRing['current']>>;
type FlagBits = Readonly<{ flags: number; keywords: Uint8Array | null }>;

const SYSTEM_BITS: ReadonlyMap<string, number> = new Map(
  SYSTEM_FLAGS.map(([name, bit]) => [name.toLowerCase(), bit] as const),
);
const SYSTEM_LISTS: readonly (readonly string[])[] = Array.from({ length: 32 }, (_, bits) =>
  SYSTEM_FLAGS.filter(([, bit]) => (bits & bit) !== 0).map(([name]) => name),
);
const NO_NAMES: ReadonlyMap<number, string> = new Map();

/** The keyword names by bit. Throws ServerError 'key-*'. */
export async function openKeywords(session: MailboxSession, ring: KeyRing): Promise<ReadonlyMap<number, string>> {
  const rows = await session.store.folders.keywords();
  if (rows.length === 0) return NO_NAMES;
  await ring.load(rows.map((row) => row.epoch));
  return new Map(rows.map((row) => [row.bit, openName(session, row, ring.of(row.epoch))]));
}

/** The name of `row` as it is under another key. */
export function resealedKeyword(
  session: MailboxSession,
  row: KeywordRow,
  keys: Readonly<{ from: MailboxKeys; to: Current }>,
): SealedName {
  const { nameIndex, epoch, seal } = sealedKeyword(session, openName(session, row, keys.from), keys.to);
  return { nameIndex, epoch, sealedName: seal(row.bit) };
}

/** Rows with flag names; keys are needed only where a row has keywords. Throws ServerError 'key-*'. */
export async function namedRows(
  session: MailboxSession,
  rows: readonly FlagRow[],
  ring: KeyRing,
): Promise<readonly MessageRow[]> {
  const names = rows.some((row) => row.keywords) ? await openKeywords(session, ring) : NO_NAMES;
  return rows.map((row) => namedRow(row, names));
}

export function namedRow(row: FlagRow, names: ReadonlyMap<number, string>): MessageRow {
  const system = SYSTEM_LISTS[row.flags & 31] ?? [];
  const { uid, modSeq, sizeBytes, savedAtMs } = row;
  const flags = row.keywords ? [...system, ...keywordList(row.keywords, names)] : system;
  return { uid, modSeq, sizeBytes, savedAtMs, flags, keywords: row.keywords };
}

/**
 * The bits of `flags`; keywords that are new get a bit.
 * Throws ServerError 'limit-exceeded' when the mailbox has its most keywords, 'key-*'.
 */
export async function flagBits(session: MailboxSession, flags: readonly string[], ring: KeyRing): Promise<FlagBits> {
  let system = 0;
  const bits: number[] = [];
  for (const flag of flags) {
    const bit = SYSTEM_BITS.get(flag.toLowerCase());
    if (bit !== undefined) system |= bit;
    else bits.push(keywordBit(session, flag, await ring.current()));
  }
  if (bits.length === 0) return { flags: system, keywords: null };
  const keywords = new Uint8Array(Math.floor(Math.max(...bits) / 8) + 1);
  for (const bit of bits) keywords[bit >> 3] = (keywords[bit >> 3] ?? 0) | (1 << (bit & 7));
  return { flags: system, keywords };
}

/** Keywords whose names do not open, or are not what their index says. */
export async function damagedKeywords(session: MailboxSession, ring: KeyRing): Promise<readonly string[]> {
  const current = await ring.current();
  const opens = (row: KeywordRow): boolean => {
    if (row.epoch !== current.epoch) return false;
    try {
      const { nameIndex } = sealedKeyword(session, openName(session, row, current.keys), current);
      return Buffer.from(nameIndex).equals(row.nameIndex);
    } catch (error) {
      if (error instanceof ServerError && error.code === 'content-damaged') return false;
      throw error;
    }
  };
  return (await session.store.folders.keywords())
    .filter((row) => !opens(row))
    .map(({ bit }) => `keyword ${String(bit)}`);
}

function openName(session: MailboxSession, row: KeywordRow, keys: MailboxKeys): string {
  const context = { kind: 'keyword-name', ...session.ref, epoch: row.epoch, keyword: row.bit } as const;
  return openRecord(keys.record, context, row.sealedName).toString('utf8');
}

function sealedKeyword(
  session: MailboxSession,
  name: string,
  { epoch, keys }: Current,
): Readonly<{ nameIndex: Uint8Array; epoch: Epoch; seal(bit: number): Uint8Array }> {
  return {
    nameIndex: blindIndex(keys.blindIndex, { kind: 'keyword', ...session.ref }, name.toLowerCase()),
    epoch,
    seal: (keyword) =>
      sealRecord(keys.record, { kind: 'keyword-name', ...session.ref, epoch, keyword }, Buffer.from(name)),
  };
}

function keywordBit(session: MailboxSession, name: string, current: Current): number {
  const keyword = sealedKeyword(session, name, current);
  const bit = session.store.folders.keywordBit(keyword, session.limits.keywordCount);
  if (bit === null) {
    throw new ServerError('limit-exceeded', {
      clientText: `A mailbox can have at most ${String(session.limits.keywordCount)} keywords.`,
    });
  }
  return bit;
}

function keywordList(bits: Buffer, names: ReadonlyMap<number, string>): string[] {
  const list: string[] = [];
  for (const [bit, name] of names) if (((bits[bit >> 3] ?? 0) & (1 << (bit & 7))) !== 0) list.push(name);
  return list;
}
