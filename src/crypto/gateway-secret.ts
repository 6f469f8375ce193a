/**
 * What a gateway and its main server share: keys out of the secret in the gateway's ticket.
 *
 * GS1  Each purpose has a key of its own. None of them opens mail, or anything that is kept on the main server.
 * GS2  The bearer text proves that its sender has the ticket; it is sent under TLS only.
 *
 * Format: README.md, Derivation.
 *
 * Called by gateway/.
 */
import { timingSafeEqual } from 'node:crypto';
import { canonicalBytes, NO_SUITE } from './context.ts';
import { expand } from './derive.ts';
import { SecretBytes } from './secret-bytes.ts';

export const GATEWAY_SECRET_BYTES = 32;
const KEY_BYTES = 32;

export class GatewayKeys implements Disposable {
  /** Seals what the gateway keeps of its roster. */
  readonly record: SecretBytes;
  /** Finds recipients without their addresses. */
  readonly blindIndex: SecretBytes;
  readonly #bearer: SecretBytes;

  /** From `secret`, which is the caller's to dispose. */
  constructor(secret: SecretBytes) {
    const subkey = (purpose: string): SecretBytes =>
      new SecretBytes(expand(secret, canonicalBytes(NO_SUITE, 'derive-gateway', [purpose]), KEY_BYTES));
    this.record = subkey('record');
    this.blindIndex = subkey('blind-index');
    this.#bearer = subkey('bearer');
  }

  /** What a client shows (GS2). */
  bearerText(): string {
    return Buffer.from(this.#bearer.expose()).toString('base64url');
  }

  /** Whether `text` is it, compared in constant time. */
  isBearer(text: string): boolean {
    const shown = Buffer.from(text, 'base64url');
    return shown.length === KEY_BYTES && timingSafeEqual(shown, this.#bearer.expose());
  }

  [Symbol.dispose](): void {
    for (const each of [this.record, this.blindIndex, this.#bearer]) each[Symbol.dispose]();
  }
}
