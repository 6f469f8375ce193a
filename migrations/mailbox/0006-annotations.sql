-- Annotations of folders and of the mailbox itself (RFC 5464). Names and values are sealed together.
CREATE TABLE annotations (
  folder INTEGER NOT NULL,                   -- 0: of the mailbox itself
  name_index BLOB NOT NULL,
  epoch INTEGER NOT NULL,
  sealed BLOB NOT NULL,                      -- record 'annotation'
  PRIMARY KEY (folder, name_index)
) STRICT, WITHOUT ROWID;
