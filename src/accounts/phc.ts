/**
 * The PHC string format for Argon2id: `$argon2id$v=19$m=19456,t=2,p=1$<salt>$<tag>`. Pure.
 *
 * H1  A string that is not exactly of this form is null: no parameter is guessed.
 * H2  Parameters outside the limits below are null, so that a damaged record cannot ask for all memory.
 */

/** `memoryKib` per hash; `passes` over it; `lanes` computed side by side. RFC 9106 §3.1. */
export type Argon2Parameters = Readonly<{ memoryKib: number; passes: number; lanes: number }>;
type PhcHash = Readonly<{ parameters: Argon2Parameters; salt: Buffer; tag: Buffer }>;

const PHC = /^\$argon2id\$v=19\$m=(\d{1,8}),t=(\d{1,4}),p=(\d{1,3})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/;
const MEMORY_MAX_KIB = 4 * 1024 * 1024;

/** Takes a PHC string apart, or null. */
export function parsePhc(text: string): PhcHash | null {
  const [, memory = '', passes = '', lanes = '', salt = '', tag = ''] = PHC.exec(text) ?? [];
  const parameters = { memoryKib: Number(memory), passes: Number(passes), lanes: Number(lanes) };
  return isArgon2Parameters(parameters)
    ? { parameters, salt: Buffer.from(salt, 'base64'), tag: Buffer.from(tag, 'base64') }
    : null;
}

/** The PHC string of a hash: base64 without padding. */
export function formatPhc(hash: PhcHash): string {
  const { memoryKib, passes, lanes } = hash.parameters;
  const settings = `m=${String(memoryKib)},t=${String(passes)},p=${String(lanes)}`;
  return `$argon2id$v=19$${settings}$${unpadded(hash.salt)}$${unpadded(hash.tag)}`;
}

/** RFC 9106 §3.1: at least one pass and lane, at least 8 KiB of memory for each lane. */
export function isArgon2Parameters(p: Argon2Parameters): boolean {
  return p.passes >= 1 && p.lanes >= 1 && p.memoryKib >= 8 * p.lanes && p.memoryKib <= MEMORY_MAX_KIB;
}

function unpadded(bytes: Buffer): string {
  return bytes.toString('base64').replaceAll('=', '');
}
