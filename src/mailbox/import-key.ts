/**
 * The import key of a mailbox: what the digests of imported messages are made under. It is random, lies in the mailbox as
 * a sealed record, and stays the same when the mailbox key is rotated: digests cannot be made again without the content.
 */
import { randomBytes } from 'node:crypto';
import { blindIndex } from '../crypto/blind-index.ts';
import type { MailboxKeys } from '../crypto/derive.ts';
import { openRecord, sealRecord } from '../crypto/record.ts';
import { SecretBytes } from '../crypto/secret-bytes.ts';
import type { SealedImportKey } from '../store/imports.ts';
import { withKeys, type KeyRing, type MailboxSession } from './session.ts';

type Current = Awaited<ReturnType<KeyRing['current']>>;

const KEY_BYTES = 32;
const PURPOSE = 'import';

/** The digests of one import. Valid until disposed: bind it with `using`. */
export class ImportDigests implements Disposable {
  readonly #session: MailboxSession;
  readonly #key: SecretBytes;

  constructor(session: MailboxSession, key: SecretBytes) {
    this.#session = session;
    this.#key = key;
  }

  /** Of a message with this SHA-256, imported into the folder of that name. */
  content(folder: string, sha256: string): Buffer {
    return blindIndex(this.#key, { kind: 'import-content', ...this.#session.ref }, `${sha256} ${folder}`);
  }

  /** Of a place at a server, itself a digest in hex that says nothing twice. */
  source(place: string): Buffer {
    return blindIndex(this.#key, { kind: 'import-source', ...this.#session.ref }, place);
  }

  [Symbol.dispose](): void {
    this.#key[Symbol.dispose]();
  }
}

/** Opens the import key; null while there is none. Throws ServerError 'key-*', 'content-damaged'. */
export function openDigests(session: MailboxSession, signal?: AbortSignal): Promise<ImportDigests | null> {
  return withKeys(session, { purpose: PURPOSE, signal }, async (ring) => {
    const sealed = session.store.imports.key();
    return sealed && new ImportDigests(session, await opened(session, sealed, ring));
  });
}

/** As `openDigests`, and makes the key when there is none. */
export function requireDigests(session: MailboxSession, signal?: AbortSignal): Promise<ImportDigests> {
  return withKeys(session, { purpose: PURPOSE, signal }, async (ring) => {
    const { imports } = session.store;
    const sealed = imports.key() ?? (await imports.keepKey(freshKey(session, await ring.current())));
    return new ImportDigests(session, await opened(session, sealed, ring));
  });
}

/** The key as it is under another epoch. */
export function resealedImportKey(
  session: MailboxSession,
  sealed: SealedImportKey,
  keys: Readonly<{ from: MailboxKeys; to: Current }>,
): SealedImportKey {
  const key = openRecord(
    keys.from.record,
    { kind: 'import-key', ...session.ref, epoch: sealed.epoch },
    sealed.sealedKey,
  );
  try {
    return sealedUnder(session, keys.to, key);
  } finally {
    key.fill(0);
  }
}

function freshKey(session: MailboxSession, current: Current): SealedImportKey {
  const key = randomBytes(KEY_BYTES);
  try {
    return sealedUnder(session, current, key);
  } finally {
    key.fill(0);
  }
}

function sealedUnder(session: MailboxSession, { keys, epoch }: Current, key: Uint8Array): SealedImportKey {
  return { epoch, sealedKey: sealRecord(keys.record, { kind: 'import-key', ...session.ref, epoch }, key) };
}

async function opened(session: MailboxSession, sealed: SealedImportKey, ring: KeyRing): Promise<SecretBytes> {
  const { epoch, sealedKey } = sealed;
  await ring.load([epoch]);
  return new SecretBytes(openRecord(ring.of(epoch).record, { kind: 'import-key', ...session.ref, epoch }, sealedKey));
}
