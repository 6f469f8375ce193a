-- When all mail of a mailbox was last opened, to know that it still opens.
CREATE TABLE scrubs (
  mailbox TEXT PRIMARY KEY REFERENCES mailboxes (id) ON DELETE CASCADE,
  done_at_ms INTEGER NOT NULL,
  faults_count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
