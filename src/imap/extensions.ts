/**
 * The registry of what this server can do: the names it advertises, and when; what ENABLE switches on.
 *
 * X1  A name stands here only when all of its RFC works.
 * X2  What an operator switched off is neither advertised nor switched on by ENABLE, and a command that only it
 *     defines is refused.
 *
 * Called by commands/session.ts and commands/login.ts.
 */

/** What decides whether a name is advertised. */
type AdvertisingState = Readonly<{
  isLoggedIn: boolean;
  isSecure: boolean;
  /** LOGIN and AUTHENTICATE are accepted now. */
  mayLogin: boolean;
  maxMessageBytes: number;
  /** SASL mechanisms that are offered on this connection. */
  mechanisms: readonly string[];
  /** Not for a client that is known to stall under compression, nor twice. */
  mayCompress: boolean;
  /** Switched off by an operator, in upper case (X2). */
  off: ReadonlySet<string>;
}>;

/** What a client can switch on. RFC 9051 §6.3.1. */
export type Enabled = { rev2: boolean; condStore: boolean; qresync: boolean; utf8: boolean; uidOnly: boolean };

export const nothingEnabled = (): Enabled => ({
  rev2: false,
  condStore: false,
  qresync: false,
  utf8: false,
  uidOnly: false,
});

type Extension = Readonly<{
  name: string;
  /** The document that defines it. */
  source: string;
  isAdvertised(state: AdvertisingState): boolean;
  /** For a name that ends in `=`: what follows it, once for each. */
  values?: (state: AdvertisingState) => readonly string[];
  /** What ENABLE of this name does; nothing where it is not there. */
  enable?: (enabled: Enabled) => void;
}>;

const always = (): boolean => true;
const loggedIn = (state: AdvertisingState): boolean => state.isLoggedIn;
const beforeLogin = (state: AdvertisingState): boolean => !state.isLoggedIn && state.mayLogin;

const EXTENSIONS: readonly Extension[] = [
  { name: 'IMAP4rev1', source: 'RFC 3501', isAdvertised: always },
  {
    name: 'IMAP4rev2',
    source: 'RFC 9051',
    isAdvertised: always,
    enable: (enabled) => {
      enabled.rev2 = true;
    },
  },
  { name: 'STARTTLS', source: 'RFC 9051', isAdvertised: (state) => !state.isLoggedIn && !state.isSecure },
  { name: 'LOGINDISABLED', source: 'RFC 9051', isAdvertised: (state) => !state.isLoggedIn && !state.mayLogin },
  { name: 'AUTH=', source: 'RFC 9051', isAdvertised: beforeLogin, values: ({ mechanisms }) => mechanisms },
  { name: 'SASL-IR', source: 'RFC 4959', isAdvertised: beforeLogin },
  { name: 'LITERAL+', source: 'RFC 7888', isAdvertised: (state) => !state.off.has('LITERAL+') },
  { name: 'LITERAL-', source: 'RFC 7888', isAdvertised: (state) => state.off.has('LITERAL+') },
  { name: 'ENABLE', source: 'RFC 5161', isAdvertised: always },
  { name: 'ID', source: 'RFC 2971', isAdvertised: always },
  { name: 'IDLE', source: 'RFC 2177', isAdvertised: always },
  { name: 'COMPRESS=DEFLATE', source: 'RFC 4978', isAdvertised: (state) => state.isLoggedIn && state.mayCompress },
  { name: 'UNAUTHENTICATE', source: 'RFC 8437', isAdvertised: loggedIn },
  { name: 'INPROGRESS', source: 'RFC 9585', isAdvertised: loggedIn },
  { name: 'METADATA', source: 'RFC 5464', isAdvertised: loggedIn },
  { name: 'LIST-METADATA', source: 'RFC 9590', isAdvertised: loggedIn },
  { name: 'NAMESPACE', source: 'RFC 2342', isAdvertised: loggedIn },
  { name: 'UIDPLUS', source: 'RFC 4315', isAdvertised: loggedIn },
  { name: 'UNSELECT', source: 'RFC 3691', isAdvertised: loggedIn },
  { name: 'CHILDREN', source: 'RFC 3348', isAdvertised: loggedIn },
  { name: 'LIST-EXTENDED', source: 'RFC 5258', isAdvertised: loggedIn },
  { name: 'LIST-STATUS', source: 'RFC 5819', isAdvertised: loggedIn },
  { name: 'SPECIAL-USE', source: 'RFC 6154', isAdvertised: loggedIn },
  { name: 'CREATE-SPECIAL-USE', source: 'RFC 6154', isAdvertised: loggedIn },
  { name: 'MOVE', source: 'RFC 6851', isAdvertised: loggedIn },
  { name: 'SORT', source: 'RFC 5256', isAdvertised: loggedIn },
  { name: 'SORT=DISPLAY', source: 'RFC 5957', isAdvertised: loggedIn },
  { name: 'ESORT', source: 'RFC 5267', isAdvertised: loggedIn },
  { name: 'THREAD=ORDEREDSUBJECT', source: 'RFC 5256', isAdvertised: loggedIn },
  { name: 'THREAD=REFERENCES', source: 'RFC 5256', isAdvertised: loggedIn },
  { name: 'THREAD=REFS', source: 'draft-ietf-morg-inthread-01', isAdvertised: loggedIn },
  { name: 'I18NLEVEL=1', source: 'RFC 5255', isAdvertised: loggedIn },
  { name: 'PREVIEW', source: 'RFC 8970', isAdvertised: loggedIn },
  { name: 'OBJECTID', source: 'RFC 8474', isAdvertised: loggedIn },
  { name: 'REPLACE', source: 'RFC 8508', isAdvertised: loggedIn },
  { name: 'CATENATE', source: 'RFC 4469', isAdvertised: loggedIn },
  { name: 'MULTIAPPEND', source: 'RFC 3502', isAdvertised: loggedIn },
  { name: 'ESEARCH', source: 'RFC 4731', isAdvertised: loggedIn },
  { name: 'SEARCHRES', source: 'RFC 5182', isAdvertised: loggedIn },
  { name: 'PARTIAL', source: 'RFC 9394', isAdvertised: loggedIn },
  { name: 'CONTEXT=SEARCH', source: 'RFC 5267', isAdvertised: loggedIn },
  { name: 'MULTISEARCH', source: 'RFC 7377', isAdvertised: loggedIn },
  { name: 'SEARCH=FUZZY', source: 'RFC 6203', isAdvertised: loggedIn },
  { name: 'WITHIN', source: 'RFC 5032', isAdvertised: loggedIn },
  { name: 'SAVEDATE', source: 'RFC 8514', isAdvertised: loggedIn },
  { name: 'BINARY', source: 'RFC 3516', isAdvertised: loggedIn },
  { name: 'STATUS=SIZE', source: 'RFC 8438', isAdvertised: loggedIn },
  { name: 'QUOTA', source: 'RFC 9208', isAdvertised: loggedIn },
  { name: 'QUOTA=RES-STORAGE', source: 'RFC 9208', isAdvertised: loggedIn },
  { name: 'QUOTA=RES-MESSAGE', source: 'RFC 9208', isAdvertised: loggedIn },
  {
    name: 'APPENDLIMIT=',
    source: 'RFC 7889',
    isAdvertised: loggedIn,
    values: ({ maxMessageBytes }) => [String(maxMessageBytes)], // RFC 7889 §3: the limit stands in the name
  },
  {
    name: 'UTF8=ACCEPT',
    source: 'RFC 6855',
    isAdvertised: loggedIn,
    enable: (enabled) => {
      enabled.utf8 = true;
    },
  },
  {
    name: 'UIDONLY',
    source: 'RFC 9586',
    isAdvertised: loggedIn,
    enable: (enabled) => {
      enabled.uidOnly = true;
    },
  },
  {
    name: 'CONDSTORE',
    source: 'RFC 7162',
    isAdvertised: loggedIn,
    enable: (enabled) => {
      enabled.condStore = true;
    },
  },
  {
    name: 'QRESYNC',
    source: 'RFC 7162',
    isAdvertised: loggedIn,
    enable: (enabled) => {
      enabled.condStore = true;
      enabled.qresync = true;
    },
  },
];

/** What a session cannot do without, or says of itself. */
const ALWAYS_ON: ReadonlySet<string> = new Set(['IMAP4REV1', 'LOGINDISABLED', 'LITERAL-']);

/** Whether `name` (upper case) can be switched off; of `AUTH=` each mechanism. */
export function canBeOff(name: string): boolean {
  return !ALWAYS_ON.has(name) && EXTENSIONS.some((known) => isNamed(known, name));
}

/** The names that can be switched off. */
export function namesToSwitchOff(): readonly string[] {
  return EXTENSIONS.map(({ name }) => name.toUpperCase()).filter(canBeOff);
}

/** The names to advertise now. RFC 9051 §6.1.1. */
export function advertisedNames(state: AdvertisingState): readonly string[] {
  return EXTENSIONS.filter((extension) => extension.isAdvertised(state))
    .flatMap(({ name, values }) => (values ? values(state).map((value) => name + value) : [name]))
    .filter((name) => !state.off.has(name.toUpperCase()) && !state.off.has(name.replace(/=.*/, '=').toUpperCase()));
}

/** Switches on what is known among `names` (upper case) and not `off`; gives the names that now are on. RFC 9051 §6.3.1. */
export function enableExtensions(
  enabled: Enabled,
  names: readonly string[],
  off: ReadonlySet<string>,
): readonly string[] {
  const done: string[] = [];
  for (const { name, enable } of EXTENSIONS) {
    const known = name.toUpperCase();
    if (!enable || !names.includes(known) || off.has(known)) continue;
    enable(enabled);
    done.push(name);
  }
  return done;
}

function isNamed({ name, values }: Extension, written: string): boolean {
  const known = name.toUpperCase();
  return written === known || (values !== undefined && written.startsWith(known));
}
