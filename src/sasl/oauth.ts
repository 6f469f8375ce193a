/**
 * OAUTHBEARER, and XOAUTH2 as Google and Microsoft speak it: an access token of an identity provider. RFC 7628.
 *
 * OA1  A refused token is answered with what a client needs to get a better one; the exchange then ends, whatever the
 *      client says to that. RFC 7628 §3.2.3.
 *
 * Called by mechanisms.ts.
 */
import { challenge, malformed, REFUSED, stepOf, textOf } from './exchange.ts';
import type { SaslChannel, SaslExchange, SaslLogins, SaslStep } from './exchange.ts';

/** A token, and whom the client wants to be: null where it does not say. */
type Bearer = Readonly<{ token: string; user: string | null }>;

/** gs2-header, then `name=value` pairs, each ended by %x01, and one more at the end. RFC 7628 §3.1. */
const OAUTHBEARER = /^n,(?:a=([^,\x01]{1,1024}))?,\x01((?:[A-Za-z]+=[^\x01]*\x01)*)\x01$/;
const XOAUTH2 = /^user=([^\x01]{1,1024})\x01auth=Bearer +([^\x01]+)\x01\x01$/i;
const AUTH_PAIR = /(?:^|\x01)auth=Bearer +([A-Za-z0-9._~+/=-]+) *\x01/i;

export function oauthBearer(logins: SaslLogins, channel: SaslChannel): SaslExchange {
  return exchange(logins, channel, (text) => {
    const found = OAUTHBEARER.exec(text);
    const token = AUTH_PAIR.exec(found?.[2] ?? '')?.[1];
    const named = found?.[1];
    if (token === undefined) return null;
    return { token, user: named === undefined ? null : named.replaceAll('=2C', ',').replaceAll('=3D', '=') };
  });
}

export function xoauth2(logins: SaslLogins, channel: SaslChannel): SaslExchange {
  return exchange(logins, channel, (text) => {
    const [, user = null, token] = XOAUTH2.exec(text) ?? [];
    return token === undefined ? null : { token: token.trim(), user };
  });
}

function exchange(
  { verifiedLogins }: SaslLogins,
  { peer }: SaslChannel,
  read: (text: string) => Bearer | null,
): SaslExchange {
  let isOver = false;
  return {
    respond: async (response, signal): Promise<SaslStep> => {
      if (isOver) return REFUSED;
      if (response === null) return challenge('');
      const bearer = read(textOf(response) ?? '');
      if (!bearer || !verifiedLogins) return malformed('The authentication response is malformed');
      const step = stepOf(await verifiedLogins.byToken(bearer.token, bearer.user, peer, signal));
      if (step.kind === 'ok') return step;
      isOver = true;
      const { discoveryUrl } = verifiedLogins;
      return challenge(JSON.stringify({ status: 'invalid_token', 'openid-configuration': discoveryUrl ?? '' }));
    },
  };
}
