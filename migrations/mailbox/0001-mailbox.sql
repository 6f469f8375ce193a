-- One mailbox. In the clear: ids, UIDs, sizes, counters, modification sequences, server-side times, flag bits.
-- Names of folders and keywords are sealed records; their blind indexes find them.

-- Counters of the mailbox: 'mod_seq' (last given), 'uid_validity' (last given), 'epoch' (of the mailbox key that
-- all names, and everything new, are under).
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO counters (name, value) VALUES ('mod_seq', 1), ('uid_validity', 0), ('epoch', 1);

CREATE TABLE folders (
  id INTEGER PRIMARY KEY AUTOINCREMENT,      -- never reused: it is bound into the sealed name
  epoch INTEGER NOT NULL,
  name_index BLOB NOT NULL UNIQUE,
  sealed_name BLOB NOT NULL,                 -- record 'folder-name'
  special_use TEXT,
  uid_validity INTEGER NOT NULL,
  uid_next INTEGER NOT NULL,
  highest_mod_seq INTEGER NOT NULL,
  message_count INTEGER NOT NULL DEFAULT 0,
  unseen_count INTEGER NOT NULL DEFAULT 0,
  deleted_count INTEGER NOT NULL DEFAULT 0,
  deleted_bytes INTEGER NOT NULL DEFAULT 0,
  size_bytes INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE subscriptions (
  name_index BLOB PRIMARY KEY,
  epoch INTEGER NOT NULL,
  sealed_name BLOB NOT NULL                  -- record 'subscription'
) STRICT, WITHOUT ROWID;

CREATE TABLE keywords (
  bit INTEGER PRIMARY KEY,                   -- the keyword's bit in messages.keywords
  epoch INTEGER NOT NULL,
  name_index BLOB NOT NULL UNIQUE,
  sealed_name BLOB NOT NULL                  -- record 'keyword-name'
) STRICT;

-- A sealed message: shared by the rows that COPY and MOVE make inside the mailbox.
CREATE TABLE bodies (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  body BLOB NOT NULL UNIQUE,                 -- BodyId, 16 bytes; also the blob's file name
  row_count INTEGER NOT NULL,                -- messages that share it
  size_bytes INTEGER NOT NULL,               -- of the plaintext: RFC822.SIZE
  commitment BLOB NOT NULL,                  -- of the sealed body; bound into every wrapped message key
  sealed_summary BLOB NOT NULL,
  sealed_search_text BLOB                    -- NULL until made
) STRICT;

-- Sealed bodies that are small enough to lie here; the others are files under blobs/.
CREATE TABLE inline_bodies (
  id INTEGER PRIMARY KEY REFERENCES bodies (id) ON DELETE CASCADE,
  sealed BLOB NOT NULL
) STRICT;

CREATE TABLE messages (
  folder INTEGER NOT NULL REFERENCES folders (id),
  uid INTEGER NOT NULL,
  mod_seq INTEGER NOT NULL,
  flags INTEGER NOT NULL,                    -- bits: 1 Seen, 2 Answered, 4 Flagged, 8 Deleted, 16 Draft
  keywords BLOB,                             -- bit set, least significant bit of the first byte first; NULL for none
  body INTEGER NOT NULL REFERENCES bodies (id),
  size_bytes INTEGER NOT NULL,
  saved_at_ms INTEGER NOT NULL,
  message BLOB NOT NULL,                     -- MessageId, 16 bytes
  epoch INTEGER NOT NULL,                    -- of the mailbox key that wraps
  wrapped_key BLOB NOT NULL,
  PRIMARY KEY (folder, uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX messages_by_mod_seq ON messages (folder, mod_seq);

-- Mail that came while the mailbox key could not be had, in the order in which it came: sealed as all mail is, its key
-- sealed with the mailbox's public key. It becomes rows of the INBOX when the key is back.
CREATE TABLE waiting_messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  body INTEGER NOT NULL UNIQUE REFERENCES bodies (id),
  saved_at_ms INTEGER NOT NULL,
  message BLOB NOT NULL,                     -- MessageId, 16 bytes
  epoch INTEGER NOT NULL,                    -- of the mailbox key whose pair it is sealed to
  sealed_key BLOB NOT NULL
) STRICT;

-- Messages that are gone, for clients that resynchronise (RFC 7162).
CREATE TABLE vanished (
  folder INTEGER NOT NULL REFERENCES folders (id) ON DELETE CASCADE,
  mod_seq INTEGER NOT NULL,
  uid INTEGER NOT NULL,
  PRIMARY KEY (folder, mod_seq, uid)
) STRICT, WITHOUT ROWID;
