-- Expunged messages that are kept sealed for some days, where their organization wants that.
CREATE TABLE retained (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  expunged_at_ms INTEGER NOT NULL,
  flags INTEGER NOT NULL,
  keywords BLOB,
  body INTEGER NOT NULL REFERENCES bodies (id),
  size_bytes INTEGER NOT NULL,
  saved_at_ms INTEGER NOT NULL,
  message BLOB NOT NULL,                     -- MessageId, 16 bytes
  epoch INTEGER NOT NULL,                    -- of the mailbox key that wraps
  wrapped_key BLOB NOT NULL
) STRICT;
CREATE INDEX retained_by_time ON retained (expunged_at_ms);
