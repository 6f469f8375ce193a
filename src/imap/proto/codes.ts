/**
 * Response codes, and the one table that turns a failure into a client's answer (invariant E3 of base/errors.ts).
 *
 * C1  Every ErrorCode has an answer; what is not a ServerError or SyntaxFault gives a generic, retryable NO.
 * C2  No text here comes from input or from an exception that is not one of those two.
 */
import type { ErrorCode } from '../../base/errors.ts';
import { ServerError } from '../../base/errors.ts';
import type { NumberSet } from '../../base/uid-set.ts';

/** Codes without arguments: RFC 9051 §7.1, RFC 5530, RFC 7162, RFC 6154, RFC 5182, RFC 4469, RFC 3516. */
type PlainCode =
  | 'ALERT'
  | 'ALREADYEXISTS'
  | 'AUTHENTICATIONFAILED'
  | 'AUTHORIZATIONFAILED'
  | 'CANNOT'
  | 'CLIENTBUG'
  | 'CLOSED'
  | 'COMPRESSIONACTIVE'
  | 'CONTACTADMIN'
  | 'CORRUPTION'
  | 'EXPIRED'
  | 'EXPUNGEISSUED'
  | 'HASCHILDREN'
  | 'INUSE'
  | 'LIMIT'
  | 'NOMODSEQ'
  | 'NONEXISTENT'
  | 'NOPERM'
  | 'NOTSAVED'
  | 'OVERQUOTA'
  | 'PARSE'
  | 'PRIVACYREQUIRED'
  | 'READ-ONLY'
  | 'READ-WRITE'
  | 'SERVERBUG'
  | 'TOOBIG'
  | 'TRYCREATE'
  | 'UIDNOTSTICKY'
  | 'UIDREQUIRED'
  | 'UNAVAILABLE'
  | 'UNKNOWN-CTE'
  | 'USEATTR';

export type ResponseCode =
  | PlainCode
  | Readonly<{ kind: 'APPENDUID'; uidValidity: number; uids: NumberSet }>
  /** RFC 4469 §4.1: what the client wrote. */
  | Readonly<{ kind: 'BADURL'; url: string }>
  | Readonly<{ kind: 'BADCHARSET'; charsets: readonly string[] }>
  | Readonly<{ kind: 'CAPABILITY'; names: readonly string[] }>
  | Readonly<{ kind: 'COPYUID'; uidValidity: number; source: NumberSet; destination: NumberSet }>
  | Readonly<{ kind: 'HIGHESTMODSEQ'; modSeq: number }>
  /** RFC 5464 §5: an entry's size, or the limit, in bytes. */
  | Readonly<{ kind: 'METADATA'; what: 'LONGENTRIES' | 'MAXSIZE' | 'TOOMANY'; bytes: number | null }>
  /** The command under way of that tag goes on. RFC 9585 §4. */
  | Readonly<{ kind: 'INPROGRESS'; tag: string }>
  /** RFC 8474 §4.1, §4.2. */
  | Readonly<{ kind: 'MAILBOXID'; id: string }>
  /** UIDs or sequence numbers, as the command used them. RFC 7162 §3.1.3. */
  | Readonly<{ kind: 'MODIFIED'; numbers: NumberSet }>
  /** RFC 5267 §4.3.1. */
  | Readonly<{ kind: 'NOUPDATE'; tag: string }>
  /** `acceptsNew`: adds `\*`. */
  | Readonly<{ kind: 'PERMANENTFLAGS'; flags: readonly string[]; acceptsNew: boolean }>
  | Readonly<{ kind: 'UIDNEXT'; uid: number }>
  | Readonly<{ kind: 'UIDVALIDITY'; uidValidity: number }>
  /** Sequence number of the first unseen message. RFC 3501 §7.1. */
  | Readonly<{ kind: 'UNSEEN'; sequence: number }>;

type SyntaxFaultOptions = Readonly<{ status?: 'NO' | 'BAD'; code?: ResponseCode }>;

/** The client's command is not well formed, or past a limit of the grammar. Maps to BAD, or NO with a code. */
export class SyntaxFault extends Error {
  readonly status: 'NO' | 'BAD';
  readonly code: ResponseCode | null;
  readonly clientText: string;

  constructor(clientText: string, options: SyntaxFaultOptions = {}) {
    super(clientText);
    this.name = 'SyntaxFault';
    this.clientText = clientText;
    this.status = options.status ?? 'BAD';
    this.code = options.code ?? null;
  }
}

/** How a command ends when it fails. */
type FailureAnswer = Readonly<{ status: 'NO' | 'BAD'; code: ResponseCode | null; text: string }>;

const ANSWERS: Readonly<Record<ErrorCode, Readonly<{ status: 'NO' | 'BAD'; code: PlainCode }>>> = {
  'key-unavailable': { status: 'NO', code: 'UNAVAILABLE' },
  'key-refused': { status: 'NO', code: 'UNAVAILABLE' },
  'key-lost': { status: 'NO', code: 'CONTACTADMIN' },
  'key-mismatch': { status: 'NO', code: 'SERVERBUG' },
  'key-unsuitable': { status: 'NO', code: 'CONTACTADMIN' },
  'content-damaged': { status: 'NO', code: 'CORRUPTION' },
  'storage-failed': { status: 'NO', code: 'UNAVAILABLE' },
  'storage-full': { status: 'NO', code: 'UNAVAILABLE' },
  'over-quota': { status: 'NO', code: 'OVERQUOTA' }, // RFC 9208 §4.3.1
  'message-too-large': { status: 'NO', code: 'TOOBIG' },
  'limit-exceeded': { status: 'NO', code: 'LIMIT' },
  'not-found': { status: 'NO', code: 'NONEXISTENT' },
  'already-exists': { status: 'NO', code: 'ALREADYEXISTS' },
  'not-allowed': { status: 'NO', code: 'CANNOT' },
  'invalid-argument': { status: 'BAD', code: 'CLIENTBUG' },
  suspended: { status: 'NO', code: 'CONTACTADMIN' },
  'dns-unavailable': { status: 'NO', code: 'UNAVAILABLE' },
  'shutting-down': { status: 'NO', code: 'UNAVAILABLE' },
};

/** What to answer when a command threw `error`. RFC 5530 §3. */
export function failureAnswer(error: unknown): FailureAnswer {
  if (error instanceof SyntaxFault) return { status: error.status, code: error.code, text: error.clientText };
  if (error instanceof ServerError) return { ...ANSWERS[error.code], text: error.clientText };
  return { status: 'NO', code: 'UNAVAILABLE', text: 'Internal error, try again later' };
}
