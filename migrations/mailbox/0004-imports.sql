-- What imports took in, so that running one again adds nothing twice. The digests are keyed: under a random key of this
-- mailbox that is kept as a sealed record, so without the mailbox key they say nothing about any content.

CREATE TABLE import_key (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  epoch INTEGER NOT NULL,
  sealed_key BLOB NOT NULL                   -- record 'import-key'
) STRICT;

CREATE TABLE imported_messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  content BLOB NOT NULL,                     -- keyed digest of the content and the folder it was imported into
  folder INTEGER NOT NULL,                   -- where it was put; it may be moved or deleted since
  uid INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL
) STRICT;
CREATE INDEX imported_messages_by_content ON imported_messages (content);

-- Messages of servers that are known without being fetched again.
CREATE TABLE import_sources (
  source BLOB PRIMARY KEY,                   -- keyed digest of server, user, folder, UIDVALIDITY and UID
  imported INTEGER NOT NULL REFERENCES imported_messages (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
