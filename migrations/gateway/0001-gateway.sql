-- What a gateway knows of those whose mail it takes in: the main server's roster. No address is here, in no form but a
-- blind index. Everything but the numbers, the domains (public in the DNS) and random ids is sealed with the gateway's key.
-- The newest generation is in force; a new one is written beside it first.

CREATE TABLE roster (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  generation INTEGER NOT NULL,
  version TEXT NOT NULL,             -- the main server's name of this state
  received_at_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE domains (
  generation INTEGER NOT NULL,
  name TEXT NOT NULL,                -- A-label, lower case
  is_suspended INTEGER NOT NULL CHECK (is_suspended IN (0, 1)),
  PRIMARY KEY (generation, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE recipients (
  generation INTEGER NOT NULL,
  domain TEXT NOT NULL,
  local_index BLOB NOT NULL,         -- blind index of the folded local part, under the gateway's key
  sealed BLOB NOT NULL,              -- record 'gateway-recipient'
  PRIMARY KEY (generation, domain, local_index)
) STRICT, WITHOUT ROWID;

CREATE TABLE mailbox_keys (
  generation INTEGER NOT NULL,
  mailbox TEXT NOT NULL,
  organization TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  sealed_public BLOB NOT NULL,       -- record 'gateway-public-key'
  PRIMARY KEY (generation, mailbox)
) STRICT, WITHOUT ROWID;

-- Mailboxes with mail that waits to be collected.
CREATE TABLE waiting_mailboxes (
  mailbox TEXT PRIMARY KEY,
  since_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
