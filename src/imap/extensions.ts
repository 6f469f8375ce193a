/**
 * The registry of what this server can do: the names it advertises, and when; what ENABLE switches on.
 *
 * X1  A name stands here only when all of its RFC works.
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
}>;

/** What a client can switch on. RFC 9051 §6.3.1. */
export type Enabled = { rev2: boolean; condStore: boolean; qresync: boolean };

type Extension = Readonly<{
  name: string;
  /** The document that defines it. */
  source: string;
  isAdvertised(state: AdvertisingState): boolean;
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
  { name: 'AUTH=PLAIN', source: 'RFC 4616', isAdvertised: beforeLogin },
  { name: 'SASL-IR', source: 'RFC 4959', isAdvertised: beforeLogin },
  { name: 'LITERAL+', source: 'RFC 7888', isAdvertised: always },
  { name: 'ENABLE', source: 'RFC 5161', isAdvertised: always },
  { name: 'ID', source: 'RFC 2971', isAdvertised: always },
  { name: 'IDLE', source: 'RFC 2177', isAdvertised: always },
  { name: 'NAMESPACE', source: 'RFC 2342', isAdvertised: loggedIn },
  { name: 'UIDPLUS', source: 'RFC 4315', isAdvertised: loggedIn },
  { name: 'UNSELECT', source: 'RFC 3691', isAdvertised: loggedIn },
  { name: 'CHILDREN', source: 'RFC 3348', isAdvertised: loggedIn },
  { name: 'LIST-EXTENDED', source: 'RFC 5258', isAdvertised: loggedIn },
  { name: 'LIST-STATUS', source: 'RFC 5819', isAdvertised: loggedIn },
  { name: 'SPECIAL-USE', source: 'RFC 6154', isAdvertised: loggedIn },
  { name: 'CREATE-SPECIAL-USE', source: 'RFC 6154', isAdvertised: loggedIn },
  { name: 'MOVE', source: 'RFC 6851', isAdvertised: loggedIn },
  { name: 'MULTIAPPEND', source: 'RFC 3502', isAdvertised: loggedIn },
  { name: 'ESEARCH', source: 'RFC 4731', isAdvertised: loggedIn },
  { name: 'SEARCHRES', source: 'RFC 5182', isAdvertised: loggedIn },
  { name: 'WITHIN', source: 'RFC 5032', isAdvertised: loggedIn },
  { name: 'SAVEDATE', source: 'RFC 8514', isAdvertised: loggedIn },
  { name: 'BINARY', source: 'RFC 3516', isAdvertised: loggedIn },
  { name: 'STATUS=SIZE', source: 'RFC 8438', isAdvertised: loggedIn },
  { name: 'QUOTA', source: 'RFC 9208', isAdvertised: loggedIn },
  { name: 'QUOTA=RES-STORAGE', source: 'RFC 9208', isAdvertised: loggedIn },
  { name: 'QUOTA=RES-MESSAGE', source: 'RFC 9208', isAdvertised: loggedIn },
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

/** The names to advertise now. RFC 9051 §6.1.1. */
export function advertisedNames(state: AdvertisingState): readonly string[] {
  const names = EXTENSIONS.filter((extension) => extension.isAdvertised(state)).map(({ name }) => name);
  // RFC 7889 §3: the limit stands in the name.
  return state.isLoggedIn ? [...names, `APPENDLIMIT=${String(state.maxMessageBytes)}`] : names;
}

/** Switches on what is known among `names` (upper case); gives the names that now are on. RFC 9051 §6.3.1. */
export function enableExtensions(enabled: Enabled, names: readonly string[]): readonly string[] {
  const done: string[] = [];
  for (const { name, enable } of EXTENSIONS) {
    if (!enable || !names.includes(name.toUpperCase())) continue;
    enable(enabled);
    done.push(name);
  }
  return done;
}
