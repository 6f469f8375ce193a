/**
 * What mail programs ask for to set themselves up, as texts: Thunderbird's autoconfig, Outlook's autodiscover, Apple's
 * profiles. Every address gets the same answer: nothing here knows which mailboxes exist.
 */
import { createHash } from 'node:crypto';

export type MailServers = Readonly<{
  hostname: string;
  /** Ports under TLS from the first byte; null: there is none, and the others use STARTTLS. */
  imap: Readonly<{ port: number; isImplicitTls: boolean }> | null;
  submission: Readonly<{ port: number; isImplicitTls: boolean }> | null;
}>;
type Service = NonNullable<MailServers['imap']>;

/** Thunderbird, K-9, KMail and others: clientConfig 1.1. `domain` is a checked name. */
export function autoconfig({ hostname, imap, submission }: MailServers, domain: string): string {
  const server = (kind: string, type: string, { port, isImplicitTls }: Service): string => `
    <${kind} type="${type}">
      <hostname>${hostname}</hostname>
      <port>${String(port)}</port>
      <socketType>${isImplicitTls ? 'SSL' : 'STARTTLS'}</socketType>
      <authentication>password-cleartext</authentication>
      <username>%EMAILADDRESS%</username>
    </${kind}>`;
  return `<?xml version="1.0" encoding="UTF-8"?>
<clientConfig version="1.1">
  <emailProvider id="${hostname}">
    <domain>${domain}</domain>
    <displayName>${domain}</displayName>
    <displayShortName>${domain}</displayShortName>${imap ? server('incomingServer', 'imap', imap) : ''}${submission ? server('outgoingServer', 'smtp', submission) : ''}
  </emailProvider>
</clientConfig>
`;
}

/** The address in a request of Outlook, if it has one. */
export function autodiscoverAddress(request: string): string | null {
  const address = /<EMailAddress>\s*([^<>&\s]{3,320})\s*<\/EMailAddress>/i.exec(request)?.[1];
  return address !== undefined && isAddress(address) ? address : null;
}

/** Outlook: the "plain old XML" answer of MS-OXDSCLI. */
export function autodiscover({ hostname, imap, submission }: MailServers, address: string): string {
  const protocol = (type: string, { port, isImplicitTls }: Service): string => `
      <Protocol>
        <Type>${type}</Type>
        <Server>${hostname}</Server>
        <Port>${String(port)}</Port>
        <LoginName>${escaped(address)}</LoginName>
        <SSL>on</SSL>
        <Encryption>${isImplicitTls ? 'SSL' : 'TLS'}</Encryption>
        <SPA>off</SPA>
        <AuthRequired>on</AuthRequired>
        <DomainRequired>off</DomainRequired>
      </Protocol>`;
  return `<?xml version="1.0" encoding="utf-8"?>
<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006">
  <Response xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a">
    <Account>
      <AccountType>email</AccountType>
      <Action>settings</Action>${imap ? protocol('IMAP', imap) : ''}${submission ? protocol('SMTP', submission) : ''}
    </Account>
  </Response>
</Autodiscover>
`;
}

/** iOS and macOS: a configuration profile. Unsigned, so the device says so before it installs it. */
export function appleProfile({ hostname, imap, submission }: MailServers, address: string): string {
  const name = escaped(address);
  const text = (key: string, value: string): string => `<key>${key}</key><string>${value}</string>`;
  const server = (kind: string, { port }: Service): string => `
      ${text(`${kind}MailServerAuthentication`, 'EmailAuthPassword')}
      ${text(`${kind}MailServerHostName`, hostname)}
      <key>${kind}MailServerPortNumber</key><integer>${String(port)}</integer>
      <key>${kind}MailServerUseSSL</key><true/>
      ${text(`${kind}MailServerUsername`, name)}`;
  return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>PayloadContent</key>
  <array>
    <dict>
      ${text('EmailAccountDescription', name)}
      ${text('EmailAccountType', 'EmailTypeIMAP')}
      ${text('EmailAddress', name)}${imap ? server('Incoming', imap) : ''}${submission ? server('Outgoing', submission) : ''}
      <key>OutgoingPasswordSameAsIncomingPassword</key><true/>
      ${text('PayloadIdentifier', `${hostname}.mail`)}
      ${text('PayloadType', 'com.apple.mail.managed')}
      ${text('PayloadUUID', uuidOf('mail', hostname, address))}
      <key>PayloadVersion</key><integer>1</integer>
    </dict>
  </array>
  ${text('PayloadDisplayName', `Mail of ${name}`)}
  ${text('PayloadIdentifier', hostname)}
  ${text('PayloadType', 'Configuration')}
  ${text('PayloadUUID', uuidOf('profile', hostname, address))}
  <key>PayloadVersion</key><integer>1</integer>
</dict>
</plist>
`;
}

/** Whether this may stand in an answer; not whether anybody has it. */
export function isAddress(text: string): boolean {
  return text.length <= 320 && /^[^\s@<>"'&\x00-\x1f\x7f]{1,64}@[a-z0-9.-]{1,255}$/i.test(text);
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

/** The same for the same address, so that a profile replaces its elder. */
function uuidOf(...parts: readonly string[]): string {
  const hex = createHash('sha256').update(parts.join('\n').toLowerCase()).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
