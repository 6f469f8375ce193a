/** What an examination of stored data finds: said by the store, by accounts/ and by mailbox/, shown by admin/. */

/** How a fault can be dealt with. */
export type Remedy =
  | 'mendable' // `doctor --repair` mends it
  | 'mended'
  | 'kept' // mail or a name that does not open: it stays as it is, and is listed
  | 'by-hand'; // an operator has to decide

/** `what` is a constant text, `where` ids and numbers: neither holds content. */
export type Fault = Readonly<{ what: string; where: string; remedy: Remedy }>;

/** What the doctor says of all that he looked at. */
export type DoctorReport = Readonly<{
  mailboxesCount: number;
  /** Messages that were opened. */
  messagesCount: number;
  /** `subject`: the directory, or a mailbox by its id. */
  faults: readonly (Fault & Readonly<{ subject: string }>)[];
  /** Faults beyond those that are named. */
  unnamedCount: number;
  /** Mailboxes and keys that could not be looked at, with the reason. */
  unexamined: readonly Readonly<{ subject: string; reason: string }>[];
}>;

/** How many faults one examination names; the others are counted. */
export const FAULTS_MAX_COUNT = 1000;
