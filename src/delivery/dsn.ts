/**
 * Delivery status notifications: what a sender is told about its message. RFC 3464, RFC 6522; RFC 6533 for addresses
 * that are not ASCII.
 *
 * DS1  A notification goes to one sender, from the null reverse-path, and says by itself what it is (Auto-Submitted), so
 *      that nothing answers it. RFC 3464 §2, RFC 3834 §5.
 * DS2  What remote servers said stands in it as they said it, but cannot end a line or start a field.
 * DS3  The message itself is returned only where its sender asked for it, it failed, and it is not large; else its
 *      header, up to a limit. RFC 3461 §4.3.
 *
 * Called by outbound/reports.ts. Pure.
 */
import { internetDate } from './trace.ts';

export type ReportedRecipient = Readonly<{
  /** `relayed`: to a host that tells nobody of success. RFC 3464 §2.3.3. */
  action: 'failed' | 'delayed' | 'relayed' | 'delivered';
  address: string;
  /** ORCPT: type and address. */
  originalRecipient: string | null;
  /** RFC 3463. */
  status: string;
  code: number | null;
  text: string;
  remoteHost: string | null;
  lastAttemptAtMs: number | null;
}>;

type DsnContent = Readonly<{
  /** Of this host. */
  hostname: string;
  /** Names the notification: it is in its Message-ID. */
  id: string;
  nowMs: number;
  /** The sender that is told. */
  to: string;
  arrivedAtMs: number;
  /** When a delayed message is given up. */
  expiresAtMs: number;
  envelopeId: string | null;
  recipients: readonly ReportedRecipient[];
  /** What is returned (DS3); null where it cannot be read. */
  returned: 'message' | 'header' | null;
  /** Whether what is returned is UTF-8 in its header. */
  isReturnedUtf8: boolean;
}>;

/** A notification is `head`, then the returned bytes, then `tail`. `is8Bit`: without what is returned. */
type Dsn = Readonly<{ head: Buffer; tail: Buffer; is8Bit: boolean; isUtf8: boolean }>;

const TEXTS: Readonly<Record<ReportedRecipient['action'], Readonly<{ subject: string; text: string }>>> = {
  failed: {
    subject: 'Undelivered mail returned to sender',
    text: 'Your message could not be delivered to one or more recipients. It is not tried again.',
  },
  delayed: {
    subject: 'Mail delivery is delayed',
    text: 'Your message has not been delivered yet to one or more recipients. It is tried further; you need do nothing.',
  },
  relayed: {
    subject: 'Mail was passed on',
    text: 'Your message was passed on to a mail system that does not tell when it is delivered.',
  },
  delivered: { subject: 'Mail was delivered', text: 'Your message was delivered.' },
};
const IMPORTANCE = ['failed', 'delayed', 'relayed', 'delivered'] as const;

/** The notification, but for the bytes that it returns. */
export function composeDsn(content: DsnContent): Dsn {
  const { hostname, id, nowMs, to, recipients, returned, isReturnedUtf8 } = content;
  const isUtf8 = ![to, ...recipients.map(({ address }) => address)].every(isAscii);
  const gravest = IMPORTANCE.find((action) => recipients.some((one) => one.action === action)) ?? 'failed';
  const boundary = `=_dsn_${id}`;
  const head = [
    `From: Mail Delivery System <MAILER-DAEMON@${hostname}>`,
    `To: <${oneLine(to)}>`,
    `Subject: ${TEXTS[gravest].subject}`,
    `Date: ${internetDate(nowMs)}`,
    `Message-ID: <${id}.dsn@${hostname}>`,
    'Auto-Submitted: auto-replied',
    'MIME-Version: 1.0',
    `Content-Type: multipart/report; report-type=${isUtf8 ? 'global-delivery-status' : 'delivery-status'};`,
    `\tboundary="${boundary}"`,
    '',
    'This is a MIME message about a message of yours.',
    '',
    `--${boundary}`,
    'Content-Type: text/plain; charset=utf-8',
    'Content-Transfer-Encoding: 8bit',
    '',
    ...humanText(content, TEXTS[gravest].text),
    '',
    `--${boundary}`,
    `Content-Type: message/${isUtf8 ? 'global-delivery-status' : 'delivery-status'}`,
    ...(isUtf8 ? ['Content-Transfer-Encoding: 8bit'] : []),
    '',
    ...statusFields(content),
    '',
    ...(returned === null ? [] : [`--${boundary}`, ...returnedHeader(returned, isReturnedUtf8), '', '']),
  ].join('\r\n');
  const tail = returned === null ? `--${boundary}--\r\n` : `\r\n--${boundary}--\r\n`;
  return { head: Buffer.from(head), tail: Buffer.from(tail), is8Bit: !isAscii(head), isUtf8 };
}

function humanText({ hostname, recipients, expiresAtMs }: DsnContent, opening: string): string[] {
  const delayed = recipients.some(({ action }) => action === 'delayed');
  return [
    `This is the mail system at ${hostname}.`,
    '',
    opening,
    ...(delayed ? [`It is given up at ${internetDate(expiresAtMs)}.`] : []),
    ...recipients.flatMap((one) => [
      '',
      `<${oneLine(one.address)}>: ${TEXT_OF_ACTION[one.action]}`,
      ...(one.text === ''
        ? []
        : folded(`${one.remoteHost === null ? '' : `${one.remoteHost} said: `}${answerOf(one)}`)),
    ]),
  ];
}

const TEXT_OF_ACTION: Readonly<Record<ReportedRecipient['action'], string>> = {
  failed: 'not delivered',
  delayed: 'delayed',
  relayed: 'passed on',
  delivered: 'delivered',
};

/** RFC 3464 §2.2 for the message, §2.3 for each recipient. */
function statusFields({ hostname, envelopeId, arrivedAtMs, recipients, expiresAtMs }: DsnContent): string[] {
  return [
    `Reporting-MTA: dns; ${hostname}`,
    ...(envelopeId === null ? [] : [`Original-Envelope-Id: ${oneLine(envelopeId)}`]),
    `Arrival-Date: ${internetDate(arrivedAtMs)}`,
    ...recipients.flatMap((one) => [
      '',
      ...(one.originalRecipient === null
        ? []
        : [`Original-Recipient: ${oneLine(one.originalRecipient).replace(';', '; ')}`]),
      `Final-Recipient: ${isAscii(one.address) ? 'rfc822' : 'utf-8'}; ${oneLine(one.address)}`,
      `Action: ${one.action}`,
      `Status: ${one.status}`,
      ...(one.remoteHost === null ? [] : [`Remote-MTA: dns; ${one.remoteHost}`]),
      ...(one.code === null
        ? one.text === ''
          ? []
          : [`Diagnostic-Code: X-Sealpost; ${asciiLine(one.text)}`]
        : [`Diagnostic-Code: smtp; ${asciiLine(answerOf(one))}`]),
      ...(one.lastAttemptAtMs === null ? [] : [`Last-Attempt-Date: ${internetDate(one.lastAttemptAtMs)}`]),
      ...(one.action === 'delayed' ? [`Will-Retry-Until: ${internetDate(expiresAtMs)}`] : []),
    ]),
  ];
}

/** RFC 6522 §3, RFC 6533 §4. */
function returnedHeader(returned: 'message' | 'header', isUtf8: boolean): string[] {
  const type = isUtf8
    ? { message: 'message/global', header: 'message/global-headers' }
    : { message: 'message/rfc822', header: 'text/rfc822-headers' };
  return [`Content-Type: ${type[returned]}`, 'Content-Transfer-Encoding: 8bit'];
}

function answerOf({ code, text }: ReportedRecipient): string {
  return code === null ? text : `${String(code)} ${text}`.trim();
}

/** Lines of 72 characters or so. */
function folded(text: string): string[] {
  const words = oneLine(text).split(' ');
  const lines = [''];
  for (const word of words) {
    const line = lines.at(-1) ?? '';
    if (line !== '' && line.length + word.length > 70) lines.push(word.slice(0, 900));
    else lines[lines.length - 1] = line === '' ? word.slice(0, 900) : `${line} ${word}`;
  }
  return lines.map((line) => `    ${line}`);
}

/** DS2. */
function oneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\u2028\u2029]+/gu, ' ').slice(0, 900);
}

function asciiLine(text: string): string {
  return oneLine(text).replaceAll(/[^ -~]/g, '?');
}

function isAscii(text: string): boolean {
  return /^[\0-\x7f]*$/.test(text);
}
