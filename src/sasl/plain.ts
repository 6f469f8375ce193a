/** PLAIN, and its forerunner LOGIN, which asks for the two in turn. RFC 4616; draft-murchison-sasl-login. Called by mechanisms.ts. */
import { challenge, malformed, refusalToActAs, stepOf, textOf } from './exchange.ts';
import type { SaslChannel, SaslExchange, SaslLogins } from './exchange.ts';

const NOT_UTF8 = 'The authentication response is not UTF-8';

/** authzid NUL authcid NUL password. RFC 4616 §2. */
export function plain({ logins }: SaslLogins, { peer }: SaslChannel): SaslExchange {
  return {
    respond: async (response, signal) => {
      if (response === null) return challenge('');
      const text = textOf(response);
      if (text === null) return malformed(NOT_UTF8);
      const parts = text.split('\0');
      const [authzid = '', user, password] = parts;
      if (parts.length !== 3 || !user || !password) return malformed('The authentication response is malformed');
      return refusalToActAs(authzid, user) ?? stepOf(await logins.login(user, password, peer, signal));
    },
  };
}

/** User name, then password, each asked for; an initial response is the user name. */
export function login({ logins }: SaslLogins, { peer }: SaslChannel): SaslExchange {
  let user: string | null = null;
  return {
    respond: async (response, signal) => {
      if (response === null) return challenge('Username:');
      const text = textOf(response);
      if (text === null) return malformed(NOT_UTF8);
      if (user === null) {
        user = text;
        return challenge('Password:');
      }
      return stepOf(await logins.login(user, text, peer, signal));
    },
  };
}
