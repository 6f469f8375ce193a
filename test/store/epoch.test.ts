import { join } from 'node:path';
import { afterAll, beforeEach, expect, test } from 'vitest';
import { bodyId, epoch, messageId, randomHexId, type Epoch, type FolderId, type Uid } from '../../src/base/ids.ts';
import { Checkpointer } from '../../src/db/checkpointer.ts';
import { DatabaseReader } from '../../src/db/reader.ts';
import { EpochMoved } from '../../src/store/epoch.ts';
import { MailboxStore } from '../../src/store/mailbox-store.ts';
import type { NewMessageRow } from '../../src/store/messages.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();
const onFailure = (error: Error): never => {
  throw error;
};
const checkpointer = new Checkpointer({ intervalMs: 1000, onFailure });
const reader = new DatabaseReader();
const opened: MailboxStore[] = [];
afterAll(async () => {
  for (const store of opened) await store.close();
  await checkpointer.close();
});

const [ONE, TWO] = [epoch(1), epoch(2)];
const index = (name: string, of: Epoch): Buffer => Buffer.from(`${name} index ${String(of)}`);
const named = (name: string, of: Epoch) => ({ nameIndex: index(name, of), epoch: of, sealedName: Buffer.from(name) });
const folderOf = (name: string, of: Epoch) => ({ ...named(name, of), specialUse: null, seal: () => Buffer.from(name) });
const keyword = (name: string, of: Epoch) => ({ ...named(name, of), seal: () => Buffer.from(name) });
const wrapped = (of: Epoch) => ({
  message: messageId(randomHexId()),
  epoch: of,
  wrappedKey: Buffer.from(randomHexId()),
});
const message = (of: Epoch): NewMessageRow => ({
  ...wrapped(of),
  staged: { body: bodyId(randomHexId()), inline: Buffer.from('sealed') },
  sizeBytes: 1,
  commitment: Buffer.alloc(32),
  sealedSummary: Buffer.alloc(1),
  flags: 0,
  keywords: null,
});

let store: MailboxStore;
let folder: FolderId;
beforeEach(async () => {
  store = await MailboxStore.open({
    directory: join(directory, randomHexId()),
    reader,
    inlineBodyMaxBytes: 1000,
    checkpointer,
    onFailure,
  });
  opened.push(store);
  const [made] = (await store.folders.create([folderOf('a', ONE), folderOf('b', ONE)])) ?? [];
  if (!made) throw new Error('nothing was made');
  folder = made.id;
  await store.folders.subscribe([named('a', ONE)]);
  store.folders.keywordBit(keyword('k', ONE), 10);
  await store.messages.append(folder, [message(ONE), message(ONE), message(ONE)], null);
});

const resealedKey = ({ sealedKey }: { sealedKey: Uint8Array }) => ({ epoch: TWO, sealedKey });
function goOver(): Promise<void> {
  const resealed = (row: { sealedName: Uint8Array }) => named(Buffer.from(row.sealedName).toString(), TWO);
  return store.folders.goOver(TWO, {
    folder: resealed,
    subscription: resealed,
    keyword: resealed,
    importKey: resealedKey,
    annotation: ({ nameIndex, sealed }) => ({ nameIndex, sealed }),
  });
}
const rows = () => store.messageKeys.rowsAfter({ folder: 0, uid: 0 });

test('E1 names and epoch change together, and each name is then found by its new index only', async () => {
  const before = await store.folders.byIndex(named('a', ONE));
  await goOver();
  expect(store.folders.epoch()).toBe(TWO);
  const after = await store.folders.byIndex(named('a', TWO));
  expect(after).toEqual({ ...before, ...named('a', TWO) });
  expect((await store.folders.list()).map((row) => row.epoch)).toEqual([TWO, TWO]);
  expect(await store.folders.subscriptions()).toEqual([named('a', TWO)]);
  expect(await store.folders.keywords()).toEqual([{ ...named('k', TWO), bit: 0 }]);
  expect(store.folders.keywordBit(keyword('k', TWO), 10)).toBe(0);
});

test('E1 what fails while names are sealed anew changes nothing', async () => {
  const resealed = (row: { sealedName: Uint8Array }) => named(Buffer.from(row.sealedName).toString(), TWO);
  const fails = (): never => {
    throw new Error('cannot');
  };
  const failing = {
    folder: resealed,
    subscription: resealed,
    keyword: fails,
    importKey: resealedKey,
    annotation: fails,
  };
  await expect(store.folders.goOver(TWO, failing)).rejects.toThrow('cannot');
  expect(store.folders.epoch()).toBe(ONE);
  expect((await store.folders.list()).map((row) => row.epoch)).toEqual([ONE, ONE]);
});

test('E2 F3 R6 whoever comes with the key from before is told so, and nothing is done', async () => {
  await goOver();
  const state = async (): Promise<unknown> => [
    await store.folders.list(),
    await store.folders.subscriptions(),
    await store.folders.keywords(),
    rows(),
  ];
  const before = await state();
  const places = { source: folder, target: folder, removeSource: false, quota: null };
  const late: readonly (() => unknown)[] = [
    () => store.folders.byIndex(named('a', ONE)),
    () => store.folders.create([folderOf('new', ONE)]),
    () => store.folders.create([folderOf('new', TWO), folderOf('newer', ONE)]),
    () => store.folders.rename([{ ...named('c', ONE), id: folder }]),
    () => store.folders.subscribe([named('c', ONE)]),
    () => store.folders.unsubscribe(named('a', ONE)),
    () => store.folders.keywordBit(keyword('late', ONE), 10),
    () => store.messages.append(folder, [message(ONE)], null),
    () => store.messages.copy([{ ...wrapped(ONE), from: 1 as Uid }], places),
    () => store.messages.copy([{ ...wrapped(ONE), from: 1 as Uid }], { ...places, removeSource: true }),
    () => store.messageKeys.replace(ONE, []),
  ];
  for (const act of late) await expect((async () => act())()).rejects.toBeInstanceOf(EpochMoved);
  expect(await state()).toEqual(before);
});

test('a move that had begun says which messages it moved, and that it is not complete', async () => {
  const uids =
    (
      await store.messages.append(
        folder,
        Array.from({ length: 700 }, () => message(ONE)),
        null,
      )
    )?.uids ?? [];
  const target = (await store.folders.byIndex(named('b', ONE)))?.id ?? folder;
  const moving = store.messages.copy(
    uids.map((from) => ({ ...wrapped(ONE), from })),
    { source: folder, target, removeSource: true, quota: null },
  );
  await goOver(); // between the first 500 and the rest
  const moved = await moving;
  expect(moved).toMatchObject({ isComplete: false });
  expect(moved?.pairs).toHaveLength(500);
  expect((await store.messages.snapshot(target))?.uids).toHaveLength(500);
  expect((await store.messages.snapshot(folder))?.uids).toHaveLength(203);
});

test('a copy that had begun takes back what it did', async () => {
  const uids =
    (
      await store.messages.append(
        folder,
        Array.from({ length: 700 }, () => message(ONE)),
        null,
      )
    )?.uids ?? [];
  const target = (await store.folders.byIndex(named('b', ONE)))?.id ?? folder;
  const copying = store.messages.copy(
    uids.map((from) => ({ ...wrapped(ONE), from })),
    { source: folder, target, removeSource: false, quota: null },
  );
  const outcome = expect(copying).rejects.toBeInstanceOf(EpochMoved);
  await goOver();
  await outcome;
  expect((await store.messages.snapshot(target))?.uids).toHaveLength(0);
  expect((await store.messages.snapshot(folder))?.uids).toHaveLength(703);
});

test('Q1 a replaced key changes nothing else; one that was replaced or removed meanwhile is left alone', async () => {
  await goOver();
  const [first, second, third] = rows();
  if (!first || !second || !third) throw new Error('rows are missing');
  const state = store.messages.state(folder);
  expect(await store.messageKeys.areAllUnder(TWO)).toBe(false);
  await store.messages.expunge(folder, [second.uid], 0);
  const expunged = store.messages.state(folder);
  const keys = [first, second].map((row) => ({ row, wrappedKey: Buffer.from(`new ${String(row.uid)}`) }));
  await store.messageKeys.replace(TWO, keys);
  expect(rows()).toEqual([{ ...first, epoch: TWO, wrappedKey: Buffer.from('new 1') }, third]);
  await store.messageKeys.replace(TWO, [{ row: first, wrappedKey: Buffer.from('newer') }]);
  expect(rows()[0]?.wrappedKey).toEqual(Buffer.from('new 1'));
  expect(store.messages.state(folder)).toEqual(expunged);
  expect(expunged?.uidNext).toBe(state?.uidNext);
  expect(await store.messageKeys.areAllUnder(TWO)).toBe(false);
  await store.messageKeys.replace(TWO, [{ row: third, wrappedKey: Buffer.from('new 3') }]);
  expect(await store.messageKeys.areAllUnder(TWO)).toBe(true);
});
