-- The directory: organizations, domains, mailboxes, addresses, credentials, wrapped keys and the key audit.
-- In the clear: ids, states, times, domain names (public in the DNS). Everything else a customer
-- provides is a sealed record under the organization's directory key, or a blind index of it.

CREATE TABLE organizations (
  id TEXT PRIMARY KEY,
  state TEXT NOT NULL CHECK (state IN ('active', 'suspended')),
  provider TEXT NOT NULL,            -- which KeyProvider: 'local-keyring', 'aws-kms'
  root_key TEXT NOT NULL,            -- the provider's name of the root key
  second_provider TEXT,              -- the second root key, which wraps the same keys once more; NULL for none
  second_root_key TEXT,
  sealed_name BLOB NOT NULL,         -- record 'organization-name'
  keys_verified_at_ms INTEGER,       -- when all its wrapped keys were last opened; NULL: not yet
  keys_failed_count INTEGER,         -- how many of them did not open then
  created_at_ms INTEGER NOT NULL
) STRICT;

-- Wrapped keys: mailbox keys (by epoch) and each organization's directory key.
CREATE TABLE wrapped_keys (
  organization TEXT NOT NULL REFERENCES organizations (id) DEFERRABLE INITIALLY DEFERRED,
  owner TEXT NOT NULL,               -- a mailbox id, or 'directory'
  epoch INTEGER NOT NULL,
  provider TEXT NOT NULL,
  root_key TEXT NOT NULL,
  wrapped BLOB NOT NULL,
  sealed_public BLOB,                -- record 'public-key': the public half of a mailbox key's pair; NULL for 'directory'
  state TEXT NOT NULL CHECK (state IN ('active', 'retiring')),
  created_at_ms INTEGER NOT NULL,
  PRIMARY KEY (organization, owner, epoch)
) STRICT, WITHOUT ROWID;

-- The same keys under the organization's second root key.
CREATE TABLE second_wrappings (
  organization TEXT NOT NULL,
  owner TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  provider TEXT NOT NULL,
  root_key TEXT NOT NULL,
  wrapped BLOB NOT NULL,
  PRIMARY KEY (organization, owner, epoch),
  FOREIGN KEY (organization, owner, epoch) REFERENCES wrapped_keys (organization, owner, epoch) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE domains (
  name TEXT PRIMARY KEY,             -- A-label, lower case
  organization TEXT NOT NULL REFERENCES organizations (id),
  state TEXT NOT NULL CHECK (state IN ('active', 'suspended')),
  created_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE mailboxes (
  id TEXT PRIMARY KEY,
  organization TEXT NOT NULL REFERENCES organizations (id),
  state TEXT NOT NULL CHECK (state IN ('active', 'suspended', 'deleting')),
  quota_bytes INTEGER,               -- NULL: without a limit; so the next one
  quota_messages INTEGER,
  key_kind TEXT NOT NULL CHECK (key_kind IN ('symmetric', 'pair')),
  sealed_profile BLOB NOT NULL,      -- record 'mailbox-profile': primary address, display name
  sealed_credential BLOB,            -- record 'credential': the password hash; NULL while none is set
  created_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX mailboxes_by_organization ON mailboxes (organization);

-- Mailboxes with mail that waits in them for their key.
CREATE TABLE waiting_mailboxes (
  mailbox TEXT PRIMARY KEY REFERENCES mailboxes (id) ON DELETE CASCADE,
  since_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- An address of a mailbox: its primary address or an alias.
CREATE TABLE addresses (
  domain TEXT NOT NULL REFERENCES domains (name),
  local_index BLOB NOT NULL,         -- blind index of the folded local part, under the directory key
  mailbox TEXT NOT NULL REFERENCES mailboxes (id),
  kind TEXT NOT NULL CHECK (kind IN ('primary', 'alias')),
  sealed_local BLOB NOT NULL,        -- record 'address-local'
  created_at_ms INTEGER NOT NULL,
  PRIMARY KEY (domain, local_index)
) STRICT, WITHOUT ROWID;
CREATE INDEX addresses_by_mailbox ON addresses (mailbox);

-- The right of this server to use an organization's root key. Kept after the organization is gone; ids only.
CREATE TABLE grants (
  id TEXT PRIMARY KEY,
  organization TEXT NOT NULL,
  provider TEXT NOT NULL,
  root_key TEXT NOT NULL,
  provider_grant TEXT NOT NULL CHECK (provider_grant IN ('pending', 'made', 'not-supported', 'no-grantee-principal')),
  provider_grant_id TEXT,            -- the provider's id of its own grant; NULL where it has none
  provider_grant_token TEXT,         -- no secret: names the grant while the provider does not know it everywhere yet
  operations TEXT NOT NULL,          -- JSON array
  "constraint" TEXT NOT NULL,        -- JSON object: the pairs that every encryption context must have
  created_at_ms INTEGER NOT NULL,
  revoked_at_ms INTEGER,
  provider_revoked_at_ms INTEGER     -- NULL also while the provider could not be told
) STRICT;
CREATE INDEX grants_by_organization ON grants (organization);
CREATE UNIQUE INDEX grants_in_force ON grants (organization, provider, root_key) WHERE revoked_at_ms IS NULL;

-- One row for each call to a key provider (never a key, never a plaintext). Append-only, chained by its hashes.
CREATE TABLE key_audit (
  id INTEGER PRIMARY KEY,            -- from 1, without a gap
  at_ms INTEGER NOT NULL,
  operation TEXT NOT NULL,           -- Encrypt, Decrypt, DescribeKey, CreateGrant, RevokeGrant
  provider TEXT NOT NULL,
  root_key TEXT NOT NULL,
  organization TEXT,
  owner TEXT,                        -- a mailbox id, or 'directory'
  grant_id TEXT,                     -- of CreateGrant and RevokeGrant
  request_id TEXT,
  purpose TEXT NOT NULL,             -- why: 'fetch', 'append', 'login' ...
  protocol TEXT NOT NULL,            -- on whose behalf: 'imap', 'lmtp', 'admin' ...
  principal TEXT,                    -- an id, never an address
  session TEXT,                      -- the connection, as the log names it
  outcome TEXT NOT NULL,             -- 'ok' or a KeyFailure
  hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE INDEX key_audit_by_organization ON key_audit (organization, at_ms);

-- What a deletion destroyed, until its receipt is written: ids and counts only.
CREATE TABLE destructions (
  subject TEXT PRIMARY KEY,          -- the mailbox or organization
  statement TEXT NOT NULL            -- JSON
) STRICT, WITHOUT ROWID;

-- The newest row of the audit; zero bytes before the first.
CREATE TABLE key_audit_head (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  id INTEGER NOT NULL,
  hash BLOB NOT NULL
) STRICT;
INSERT INTO key_audit_head (only_row, id, hash) VALUES (1, 0, zeroblob(32));

CREATE TRIGGER key_audit_insert BEFORE INSERT ON key_audit
WHEN NEW.id IS NOT (SELECT id + 1 FROM key_audit_head)
BEGIN
  SELECT RAISE(ABORT, 'key_audit: rows are only added at the end'); -- REPLACE too
END;
CREATE TRIGGER key_audit_inserted AFTER INSERT ON key_audit
BEGIN
  UPDATE key_audit_head SET id = NEW.id, hash = NEW.hash;
END;
CREATE TRIGGER key_audit_update BEFORE UPDATE ON key_audit
BEGIN
  SELECT RAISE(ABORT, 'key_audit: rows are never changed');
END;
CREATE TRIGGER key_audit_delete BEFORE DELETE ON key_audit
BEGIN
  SELECT RAISE(ABORT, 'key_audit: rows are never removed');
END;
CREATE TRIGGER key_audit_head_update BEFORE UPDATE ON key_audit_head
WHEN NEW.id IS NOT OLD.id + 1
BEGIN
  SELECT RAISE(ABORT, 'key_audit_head: moves on with each row');
END;
CREATE TRIGGER key_audit_head_delete BEFORE DELETE ON key_audit_head
BEGIN
  SELECT RAISE(ABORT, 'key_audit_head: is never removed');
END;
