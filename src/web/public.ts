/**
 * What anybody may ask over HTTP: settings for mail programs, the MTA-STS policy, and the answers to ACME's challenges.
 *
 * WP1  An answer depends on the request and the configuration alone: existing and unknown addresses get the same (A2).
 * WP2  Without TLS only ACME's challenges are answered; all else is sent to https, so that nobody on the way changes it.
 * WP3  What a request brings stands in an answer only after it was checked to be a name or an address.
 *
 * Called by app.ts.
 */
import type { IncomingMessage, RequestListener } from 'node:http';
import {
  appleProfile,
  autoconfig,
  autodiscover,
  autodiscoverAddress,
  isAddress,
  type MailServers,
} from './client-settings.ts';
import { answering, type Answer } from './http.ts';

type PublicDeps = Readonly<{
  servers: MailServers;
  /** RFC 8461 §3.2; the same for all domains. */
  mtaStsPolicy: string;
  /** What a token of an ACME challenge is answered with. */
  challenge(token: string): string | null;
  domainOf(text: string): string | null;
}>;

const CHALLENGE_PATH = '/.well-known/acme-challenge/';
const BODY_MAX_BYTES = 16_384;

/** For listeners without TLS (WP2). */
export function plainSite({ challenge }: Pick<PublicDeps, 'challenge'>, hasTls: boolean): RequestListener {
  return answering((path, _query, { request }) => {
    const found = challengeAnswer(path, challenge);
    if (found || !hasTls) return found;
    const host = /^[a-z0-9.-]{1,253}(?=(:\d{1,5})?$)/i.exec(request.headers.host ?? '')?.[0];
    if (host === undefined || !path.startsWith('/')) return null;
    const location = `https://${host}${encodeURI(decodedOrEmpty(path))}${new URL(request.url ?? '/', 'http://host.invalid').search}`;
    return {
      status: 308,
      type: 'text/plain; charset=utf-8',
      body: 'See the same under https.\n',
      headers: { location },
    };
  });
}

/** For listeners with TLS. */
export function publicSite(deps: PublicDeps): RequestListener {
  const { servers, mtaStsPolicy, challenge } = deps;
  return answering(
    async (path, query, { request }) => {
      switch (path.toLowerCase()) {
        case '/mail/config-v1.1.xml':
        case '/.well-known/autoconfig/mail/config-v1.1.xml': {
          const address = query.get('emailaddress') ?? '';
          const domain = deps.domainOf(address.slice(address.lastIndexOf('@') + 1)) ?? domainOfHost(request, deps);
          return xml(autoconfig(servers, domain));
        }
        case '/autodiscover/autodiscover.xml': {
          const address = autodiscoverAddress(await bodyOf(request));
          return address === null
            ? { status: 400, type: 'text/plain', body: 'No address in the request\n' }
            : xml(autodiscover(servers, address));
        }
        case '/autodiscover/autodiscover.json': {
          if ((query.get('Protocol') ?? '').toLowerCase() !== 'autodiscoverv1') return null;
          const answer = {
            Protocol: 'AutodiscoverV1',
            Url: `https://${servers.hostname}/autodiscover/autodiscover.xml`,
          };
          return { status: 200, type: 'application/json', body: JSON.stringify(answer) };
        }
        case '/mail.mobileconfig': {
          const address = query.get('email') ?? '';
          if (!isAddress(address)) return { status: 400, type: 'text/plain', body: 'Ask with ?email=ADDRESS\n' };
          const headers = { 'content-disposition': 'attachment; filename="mail.mobileconfig"' };
          return {
            status: 200,
            type: 'application/x-apple-aspen-config',
            body: appleProfile(servers, address),
            headers,
          };
        }
        case '/.well-known/mta-sts.txt':
          return { status: 200, type: 'text/plain', body: mtaStsPolicy };
        default:
          return challengeAnswer(path, challenge);
      }
    },
    ['GET', 'HEAD', 'POST'],
  );
}

/** RFC 8555 §8.3. */
function challengeAnswer(path: string, challenge: PublicDeps['challenge']): Answer | null {
  const body = path.startsWith(CHALLENGE_PATH) ? challenge(path.slice(CHALLENGE_PATH.length)) : null;
  return body === null ? null : { status: 200, type: 'application/octet-stream', body };
}

/** `autoconfig.example.org` asks for example.org. */
function domainOfHost({ headers }: IncomingMessage, { domainOf, servers }: PublicDeps): string {
  const host = (headers.host ?? '').replace(/:\d+$/, '').replace(/^autoconfig\./i, '');
  return domainOf(host) ?? servers.hostname;
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > BODY_MAX_BYTES) break;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function decodedOrEmpty(path: string): string {
  try {
    return decodeURI(path);
  } catch {
    return '/';
  }
}

const xml = (body: string): Answer => ({ status: 200, type: 'text/xml; charset=utf-8', body });
