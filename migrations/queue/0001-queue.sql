-- Mail on its way out. In the clear: ids, counts, sizes, times, states. Envelopes, recipients and what remote servers
-- said are sealed records under the key of their message, which is sealed to the organization's transit key.

CREATE TABLE items (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  message BLOB NOT NULL UNIQUE,              -- MessageId, 16 bytes: the name of the item
  organization TEXT NOT NULL,
  body BLOB NOT NULL UNIQUE,                 -- BodyId, 16 bytes; also the blob's file name
  size_bytes INTEGER NOT NULL,               -- of the plaintext
  commitment BLOB NOT NULL,                  -- of the sealed body; bound into the sealed key
  epoch INTEGER NOT NULL,                    -- of the transit key whose pair the message key is sealed to
  sealed_key BLOB NOT NULL,
  sealed_envelope BLOB NOT NULL,             -- record 'queued-envelope'
  accepted_at_ms INTEGER NOT NULL,
  expires_at_ms INTEGER NOT NULL,            -- no further attempt is made after one at this time
  is_held INTEGER NOT NULL DEFAULT 0 CHECK (is_held IN (0, 1))
) STRICT;
CREATE INDEX items_by_organization ON items (organization);

-- Sealed bodies that are small enough to lie here; the others are files under blobs/.
CREATE TABLE inline_bodies (
  id INTEGER PRIMARY KEY REFERENCES items (id) ON DELETE CASCADE,
  sealed BLOB NOT NULL
) STRICT;

CREATE TABLE recipients (
  item INTEGER NOT NULL REFERENCES items (id) ON DELETE CASCADE,
  recipient INTEGER NOT NULL,                -- 0, 1 .. in the order of the envelope
  state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'failed')),
  next_at_ms INTEGER NOT NULL,               -- while it waits: when it is tried next
  attempts_count INTEGER NOT NULL DEFAULT 0,
  last_attempt_at_ms INTEGER,
  report TEXT NOT NULL DEFAULT 'none' CHECK (report IN ('none', 'delay', 'final')), -- what the sender is still to be told
  delay_reported_at_ms INTEGER,
  sealed_recipient BLOB NOT NULL,            -- record 'queued-recipient'
  sealed_outcome BLOB,                       -- record 'queued-outcome': what came of the last attempt
  PRIMARY KEY (item, recipient)
) STRICT, WITHOUT ROWID;
CREATE INDEX recipients_waiting ON recipients (next_at_ms) WHERE state = 'waiting';
CREATE INDEX recipients_reports ON recipients (item) WHERE report <> 'none';
