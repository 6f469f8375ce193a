-- Ways to log in besides the password, and what an operator switches off for one mailbox.

-- Passwords for one device or program each. In the clear: ids and days.
CREATE TABLE app_passwords (
  id TEXT PRIMARY KEY,
  mailbox TEXT NOT NULL REFERENCES mailboxes (id) ON DELETE CASCADE,
  sealed BLOB NOT NULL,              -- record 'app-password': name, protocols, digest, SCRAM verifiers
  last_used_day INTEGER,             -- days since 1970 in UTC; NULL: never
  created_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX app_passwords_by_mailbox ON app_passwords (mailbox);

-- Record 'scram': salt, and what is kept of the password for SCRAM; NULL until the password was seen.
ALTER TABLE mailboxes ADD COLUMN sealed_scram BLOB;

-- Names of IMAP capabilities that are off for this mailbox, each followed by a space; NULL: none.
ALTER TABLE mailboxes ADD COLUMN capabilities_off TEXT;

-- Makes the salts of accounts that are not there. Worth nothing to a thief; kept so that such an account looks the
-- same after a restart.
CREATE TABLE decoys (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  secret BLOB NOT NULL
) STRICT;
INSERT INTO decoys (only_row, secret) VALUES (1, randomblob(32));
