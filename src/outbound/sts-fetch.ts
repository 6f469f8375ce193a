/** Fetches the text of an MTA-STS policy. RFC 8461 §3.3. */
import { request } from 'node:https';
import type { Routes } from './routes.ts';

type FetchDeps = Readonly<{
  routes: Pick<Routes, 'addressesOf'>;
  port: number;
  /** PEM; undefined: the authorities that Node trusts. */
  ca?: readonly string[] | undefined;
}>;

const POLICY_MAX_BYTES = 64 * 1024;

/** The policy of `domain`, from the web server that it names for that. Throws when there is none to be had. */
export async function fetchStsPolicy(deps: FetchDeps, domain: string, signal: AbortSignal): Promise<string> {
  const name = `mta-sts.${domain}`;
  const { addresses } = await deps.routes.addressesOf({ name, port: deps.port, relay: null }, signal);
  let failure: unknown = new Error('no address');
  for (const address of addresses) {
    try {
      return await get(deps, { name, address }, signal);
    } catch (error) {
      signal.throwIfAborted();
      failure = error;
    }
  }
  throw failure;
}

function get(
  { port, ca }: FetchDeps,
  { name, address }: Readonly<{ name: string; address: string }>,
  signal: AbortSignal,
): Promise<string> {
  const done = Promise.withResolvers<string>();
  const asked = request({
    host: address,
    port,
    servername: name,
    path: '/.well-known/mta-sts.txt',
    headers: { host: name, accept: 'text/plain' },
    agent: false,
    signal,
    ...(ca ? { ca: [...ca] } : {}),
  });
  asked.on('error', done.reject);
  asked.on('response', (response) => {
    const pieces: Buffer[] = [];
    let size = 0;
    if (response.statusCode !== 200) asked.destroy(new Error('no policy there')); // redirections are not followed
    response.on('data', (piece: Buffer) => {
      size += piece.length;
      pieces.push(piece);
      if (size > POLICY_MAX_BYTES) asked.destroy(new Error('a policy that is too long'));
    });
    response.on('end', () => {
      done.resolve(Buffer.concat(pieces).toString('utf8'));
    });
    response.on('error', done.reject);
  });
  asked.end();
  return done.promise;
}
