-- Keys with which the mail of a domain is signed (DKIM). The public half and the selector are public in the DNS.

CREATE TABLE dkim_keys (
  domain TEXT NOT NULL REFERENCES domains (name) ON DELETE CASCADE,
  selector TEXT NOT NULL,
  algorithm TEXT NOT NULL CHECK (algorithm IN ('rsa', 'ed25519')),
  state TEXT NOT NULL CHECK (state IN ('next', 'signing', 'retired')),
  public_key BLOB NOT NULL,          -- as the DNS record has it, before base64
  sealed_private_key BLOB,           -- record 'dkim-key'; NULL once it signs no more
  created_at_ms INTEGER NOT NULL,
  changed_at_ms INTEGER NOT NULL,    -- when its state last changed
  PRIMARY KEY (domain, selector)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX dkim_keys_in_use ON dkim_keys (domain, algorithm, state) WHERE state <> 'retired';
