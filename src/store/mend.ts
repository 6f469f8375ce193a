/**
 * Mends what examine.ts finds and can be mended without a key: counters, and what no row needs.
 *
 * MD1  No message, body or name is removed, whatever is wrong with it.
 * MD2  A blob goes only when it is old and has no row in the turn in which it is removed.
 *
 * Called by mailbox/, for an operator who asked for it.
 */
import { rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { yieldTurn } from '../base/abort.ts';
import type { Database } from '../db/database.ts';
import { BODY_USES, COUNTED, knownBits, orphanBlobs, type MailboxPlace } from './examine.ts';
import { nextModSeq } from './folders.ts';

const BODY_NAME = /^[0-9a-f]{32}$/;

const MENDINGS: readonly string[] = [
  `UPDATE folders SET uid_next = max(uid_next,
     1 + ifnull((SELECT max(uid) FROM messages WHERE folder = folders.id), 0),
     1 + ifnull((SELECT max(uid) FROM vanished WHERE folder = folders.id), 0))`,
  `UPDATE folders SET highest_mod_seq = max(highest_mod_seq,
     ifnull((SELECT max(mod_seq) FROM messages WHERE folder = folders.id), 0),
     ifnull((SELECT max(mod_seq) FROM vanished WHERE folder = folders.id), 0))`,
  `UPDATE counters SET value = max(value, ifnull((SELECT max(highest_mod_seq) FROM folders), 0)) WHERE name = 'mod_seq'`,
  `UPDATE counters SET value = max(value, ifnull((SELECT max(uid_validity) FROM folders), 0)) WHERE name = 'uid_validity'`,
  `DELETE FROM vanished WHERE EXISTS (SELECT 1 FROM messages m WHERE m.folder = vanished.folder AND m.uid = vanished.uid)`,
  `UPDATE bodies SET row_count = u.uses
     FROM (SELECT body, count(*) AS uses FROM (${BODY_USES}) GROUP BY body) u
     WHERE u.body = bodies.id AND row_count <> u.uses`,
  `UPDATE folders SET message_count = 0, unseen_count = 0, deleted_count = 0, deleted_bytes = 0, size_bytes = 0
     WHERE id NOT IN (SELECT folder FROM messages)`,
  `UPDATE folders SET message_count = c.message_count, unseen_count = c.unseen_count, deleted_count = c.deleted_count,
     deleted_bytes = c.deleted_bytes, size_bytes = c.size_bytes FROM (${COUNTED}) c WHERE c.folder = folders.id`,
];

/** Mends; durable when it resolves. Throws ServerError 'storage-*'. */
export async function mendMailbox(database: Database, place: MailboxPlace, signal?: AbortSignal): Promise<void> {
  for (const sql of MENDINGS) {
    database.prepare(sql).run();
    await yieldTurn();
  }
  database.transaction(() => {
    clearUnknownKeywords(database);
  });
  await database.durable();
  for (const orphan of await orphanBlobs(place, signal)) {
    const name = basename(orphan);
    const isNeeded =
      BODY_NAME.test(name) && database.prepare('SELECT 1 FROM bodies WHERE body = ?').get(Buffer.from(name, 'hex'));
    if (!isNeeded) await rm(join(place.directory, 'blobs', orphan), { force: true });
  }
}

/** Clients see the change as any other: the rows get a new modification sequence. */
function clearUnknownKeywords(database: Database): void {
  const bits = database.prepare<{ bit: number }>('SELECT bit FROM keywords').all();
  const known = new Set(bits.map(({ bit }) => bit));
  const sets = database.prepare<{ keywords: Buffer }>(
    'SELECT DISTINCT keywords FROM messages WHERE keywords IS NOT NULL',
  );
  for (const { keywords } of sets.all()) {
    const kept = knownBits(keywords, known);
    if (!kept) continue;
    const seq = nextModSeq(database);
    const left = kept.some((byte) => byte !== 0) ? kept : null;
    database.prepare('UPDATE messages SET keywords = ?, mod_seq = ? WHERE keywords = ?').run(left, seq, keywords);
    database
      .prepare('UPDATE folders SET highest_mod_seq = ? WHERE id IN (SELECT folder FROM messages WHERE mod_seq = ?)')
      .run(seq, seq);
  }
}
