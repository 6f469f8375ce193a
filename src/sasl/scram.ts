/**
 * SCRAM-SHA-256, SCRAM-SHA-1, and with -PLUS bound to the TLS connection. RFC 5802, RFC 7677; RFC 9266, RFC 5929.
 *
 * S1  The exchange is bound as the client said it would be; one that says it would have, had it only known that we
 *     can, was robbed of that on the way, and is refused (RFC 5802 §6).
 * S2  The client's nonce comes back as the beginning of ours; the final message must repeat both, and the header that
 *     began the first one.
 * S3  Our own proof is sent as a challenge, which the client answers with nothing: neither IMAP nor SMTP has room for
 *     it in its last line (RFC 9051 §6.2.2, RFC 4954 §4).
 *
 * Called by mechanisms.ts.
 */
import { randomBytes } from 'node:crypto';
import type { LoggedIn } from '../accounts/login-account.ts';
import type { ScramAttempt } from '../accounts/scram-login.ts';
import type { ScramHash } from '../crypto/scram.ts';
import { challenge, malformed, REFUSED, refusalToActAs, textOf } from './exchange.ts';
import type { BindingType, SaslChannel, SaslExchange, SaslLogins, SaslStep } from './exchange.ts';

type ScramVariant = Readonly<{ algorithm: ScramHash; isBound: boolean; canBind: boolean }>;
type State =
  | Readonly<{ kind: 'first' }>
  | Readonly<{
      kind: 'final';
      attempt: ScramAttempt;
      /** What `c=` must hold. */
      binding: Buffer;
      nonce: string;
      /** Both first messages, as the proof covers them. */
      messages: string;
    }>
  | Readonly<{ kind: 'proven'; login: LoggedIn }>;

/** gs2-cbind-flag, authzid, then the message without them. RFC 5802 §7. */
const CLIENT_FIRST =
  /^((?:p=([A-Za-z0-9.-]{1,64})|([ny])),(?:a=([^,\0]{1,1024}))?,)(n=([^,\0]{1,1024}),r=([!-+\--~]{1,512})(?:,.*)?)$/s;
const CLIENT_FINAL = /^(c=([A-Za-z0-9+/=]{1,4096}),r=([!-+\--~]{1,1024})(?:,[^\0]*)?),p=([A-Za-z0-9+/=]{1,128})$/s;
const NONCE_BYTES = 18;
const BINDING_TYPES: readonly BindingType[] = ['tls-exporter', 'tls-server-end-point'];

export function scram(
  { scramLogins }: SaslLogins,
  channel: SaslChannel,
  variant: ScramVariant,
  makeNonce: () => string = () => randomBytes(NONCE_BYTES).toString('base64'),
): SaslExchange {
  let state: State = { kind: 'first' };

  const first = async (response: Buffer, signal?: AbortSignal): Promise<SaslStep> => {
    const [, header = '', type, plainFlag, authzid = '', bare = '', user = '', clientNonce = ''] =
      CLIENT_FIRST.exec(textOf(response) ?? '') ?? [];
    if (header === '') return malformed('The first message is malformed');
    const [username, actAs] = [decodedName(user), decodedName(authzid)];
    if (username === null || actAs === null) return malformed('The user name is malformed');
    const fault = bindingFault(type, plainFlag);
    if (fault) return fault;
    const data = type === undefined ? Buffer.alloc(0) : channel.binding(type as BindingType);
    if (!data || !scramLogins) return REFUSED;
    const refusal = refusalToActAs(actAs, username);
    if (refusal) return refusal;
    const attempt = await scramLogins.begin(username, variant.algorithm, channel.peer, signal);
    const { salt, iterationsCount } = attempt.parameters;
    const nonce = clientNonce + makeNonce();
    const serverFirst = `r=${nonce},s=${salt.toString('base64')},i=${String(iterationsCount)}`;
    const binding = Buffer.concat([Buffer.from(header, 'utf8'), data]);
    state = { kind: 'final', attempt, binding, nonce, messages: `${bare},${serverFirst}` };
    return challenge(serverFirst);
  };

  /** S1. */
  const bindingFault = (type: string | undefined, plainFlag: string | undefined): SaslStep | null => {
    if (variant.isBound !== (type !== undefined)) return malformed('The channel binding does not fit the mechanism');
    if (plainFlag === 'y' && variant.canBind) return REFUSED;
    if (type !== undefined && !BINDING_TYPES.some((known) => known === type)) {
      return malformed('The type of channel binding is not supported');
    }
    return null;
  };

  const final = (response: Buffer, expected: Extract<State, { kind: 'final' }>): SaslStep => {
    const [, withoutProof = '', binding = '', nonce, proofText = ''] = CLIENT_FINAL.exec(textOf(response) ?? '') ?? [];
    if (withoutProof === '') return malformed('The final message is malformed');
    if (nonce !== expected.nonce) return malformed('The nonce is not the one that was sent');
    const isBoundHere = expected.binding.equals(Buffer.from(binding, 'base64'));
    const proof = Buffer.from(proofText, 'base64');
    const proven = expected.attempt.prove({
      // A proof over another connection counts as a wrong one.
      proof: isBoundHere ? proof : Buffer.alloc(0),
      authMessage: `${expected.messages},${withoutProof}`,
    });
    if (!proven) return REFUSED;
    state = { kind: 'proven', login: proven.login };
    return challenge(`v=${proven.signature.toString('base64')}`);
  };

  return {
    respond: async (response, signal) => {
      switch (state.kind) {
        case 'first':
          return response === null ? challenge('') : first(response, signal);
        case 'final':
          return final(response ?? Buffer.alloc(0), state);
        case 'proven': // S3
          return response?.length ? malformed('Nothing more was expected') : { kind: 'ok', login: state.login };
      }
    },
  };
}

/** `=2C` is a comma, `=3D` an equals sign; null where `=` means anything else. RFC 5802 §5.1. */
function decodedName(written: string): string | null {
  if (/=(?!2C|3D)/.test(written)) return null;
  return written.replaceAll('=2C', ',').replaceAll('=3D', '=');
}
