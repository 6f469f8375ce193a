/** Puts the listeners for everybody together, as the configuration says. Called by app.ts. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { normalizeDomain } from './accounts/domain-name.ts';
import { mtaStsPolicy } from './admin/domain-records.ts';
import type { Config } from './config/schema.ts';
import type { Logger } from './observe/logger.ts';
import { readTls } from './serving.ts';
import { AcmeCertificate, type AcmeOptions } from './web/acme.ts';
import type { MailServers } from './web/client-settings.ts';
import { type HttpListeners } from './web/http.ts';
import { plainSite, publicSite } from './web/public.ts';

type SiteDeps = Readonly<{ listeners: HttpListeners; running: AsyncDisposableStack; logger: Logger; reload(): void }>;

/** The listeners for everybody: settings of mail programs, MTA-STS, ACME. Gives their ports. */
export async function openPublicSite(
  config: Config,
  { listeners, running, logger, reload }: SiteDeps,
): Promise<Readonly<Record<string, readonly number[]>>> {
  const { web, server, imap, smtp } = config;
  const acme = acmeOptions(config);
  const certificate = acme && running.use(new AcmeCertificate({ options: acme, logger, reload, nowMs: Date.now }));
  const challenge = (token: string): string | null => certificate?.challenge(token) ?? null;
  const service = (implicit: readonly { port: number }[], plain: readonly { port: number }[]): MailServers['imap'] => {
    const [first] = implicit;
    const port = first?.port ?? plain[0]?.port;
    return port === undefined ? null : { port, isImplicitTls: first !== undefined };
  };
  const servers: MailServers = {
    hostname: server.hostname,
    imap: service(imap.listenTls, imap.listen),
    submission: service(smtp.submissions.listen, smtp.submission.listen),
  };
  const site = publicSite({
    servers,
    mtaStsPolicy: mtaStsPolicy(server.hostname),
    challenge,
    domainOf: normalizeDomain,
  });
  const plain = plainSite({ challenge }, web.listenTls.length > 0);
  const ports = {
    http: await listeners.open(web.listen, plain),
    https: web.listenTls.length === 0 ? [] : await listeners.open(web.listenTls, site, readTls(config)),
  };
  certificate?.start();
  return ports;
}

function acmeOptions({ acme, tls, server, data }: Config): AcmeOptions | null {
  const { directoryUrl, acceptTerms, email, names, caFile } = acme;
  if (directoryUrl === undefined || !acceptTerms) return null;
  return {
    directoryUrl,
    email: email ?? null,
    names: names.length > 0 ? names : [server.hostname],
    accountKeyFile: join(data.directory, 'tls/acme-account-key.pem'),
    certificateFile: tls.certificateFile,
    keyFile: tls.keyFile,
    ca: caFile === undefined ? null : readFileSync(caFile, 'utf8'),
  };
}
