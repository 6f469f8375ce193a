/**
 * ENVELOPE, BODY and BODYSTRUCTURE as text. RFC 9051 §7.5.2.
 *
 * The values come from src/mime/body-structure.ts: binary strings as the message has them, any byte
 * included; every one of them is printed through strings.ts. Called by responses of FETCH, and where
 * summaries are made ready.
 */
import type { Address, Disposition, Envelope, Parameter, Part } from '../../mime/body-structure.ts';
import { EMPTY_TEXT_PART, isEmptyMultipart } from '../../mime/body-structure.ts';
import type { PrintContext } from './strings.ts';
import { imapNstring, imapString } from './strings.ts';

/** `(date subject from sender reply-to to cc bcc in-reply-to message-id)`. */
export function envelopeText(envelope: Envelope, context: PrintContext): string {
  const from = addressesText(envelope.from, context);
  // Most messages have one list for all three: print it once.
  const sender = envelope.sender === envelope.from ? from : addressesText(envelope.sender, context);
  const replyTo = envelope.replyTo === envelope.from ? from : addressesText(envelope.replyTo, context);
  return `(${imapNstring(envelope.date, context)} ${imapNstring(envelope.subject, context)} ${from} ${sender} ${replyTo} ${addressesText(
    envelope.to,
    context,
  )} ${addressesText(envelope.cc, context)} ${addressesText(envelope.bcc, context)} ${imapNstring(
    envelope.inReplyTo,
    context,
  )} ${imapNstring(envelope.messageId, context)})`;
}

function addressesText(addresses: readonly Address[] | null, context: PrintContext): string {
  if (addresses === null || addresses.length === 0) return 'NIL';
  let text = '(';
  for (const { name, route, mailbox, host } of addresses) {
    text += `(${imapNstring(name, context)} ${imapNstring(route, context)} ${imapNstring(mailbox, context)} ${imapNstring(host, context)})`;
  }
  return `${text})`;
}

/** BODY without its extension data, or BODYSTRUCTURE with it. */
export function structureText(part: Part, form: 'body' | 'body-structure', context: PrintContext): string {
  const isFull = form === 'body-structure';
  const string = (bytes: string): string => imapString(bytes, context);
  const nstring = (bytes: string | null): string => imapNstring(bytes, context);

  if (part.children.length > 0 || isEmptyMultipart(part)) {
    const children = part.children.length > 0 ? part.children : [EMPTY_TEXT_PART];
    let text = '(';
    for (const child of children) text += structureText(child, form, context);
    text += ` ${string(part.subtype)}`;
    if (isFull) text += ` ${parametersText(part.parameters, context)}${extensionText(part, context)}`;
    return `${text})`;
  }

  const type = part.type.toLowerCase();
  const isText = type === 'text';
  let text = `(${string(part.type)} ${string(part.subtype)} ${parametersText(part.parameters, context, isText ? 'us-ascii' : null)}`;
  text += ` ${nstring(part.contentId)} ${nstring(part.description)} ${string(part.encoding)}`;
  text += ` ${String(part.bodyEnd - part.bodyStart)}`;
  if (part.message) {
    text += ` ${envelopeText(part.message.envelope, context)} ${structureText(part.message.root, form, context)}`;
  }
  if (isText || part.message) text += ` ${String(part.lineCount)}`;
  if (isFull) text += ` ${nstring(part.md5)}${extensionText(part, context)}`;
  return `${text})`;
}

/** ` disposition language location`: what single parts and multiparts both end with. */
function extensionText(part: Part, context: PrintContext): string {
  const language = part.language && part.language.length > 0 ? part.language : null;
  const languages = language ? `(${language.map((tag) => imapString(tag, context)).join(' ')})` : 'NIL';
  return ` ${dispositionText(part.disposition, context)} ${languages} ${imapNstring(part.location, context)}`;
}

function dispositionText(disposition: Disposition | null, context: PrintContext): string {
  if (disposition === null) return 'NIL';
  return `(${imapString(disposition.type, context)} ${parametersText(disposition.parameters, context)})`;
}

/** `("name" "value" ...)`; a text part without a charset gets the default that RFC 2045 §5.2 gives it. */
function parametersText(
  parameters: readonly Parameter[],
  context: PrintContext,
  charset: string | null = null,
): string {
  let text = '';
  let hasCharset = charset === null;
  for (const [name, value] of parameters) {
    hasCharset ||= name.toLowerCase() === 'charset';
    text += `${text === '' ? '' : ' '}${imapString(name, context)} ${imapString(value, context)}`;
  }
  if (!hasCharset) text += `${text === '' ? '' : ' '}"charset" ${imapString(charset ?? '', context)}`;
  return text === '' ? 'NIL' : `(${text})`;
}
