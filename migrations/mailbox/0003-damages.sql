-- Messages that did not open when all were opened last, for the operator. Ids and numbers only.
CREATE TABLE damages (
  folder INTEGER NOT NULL,
  uid INTEGER NOT NULL,                      -- 0: mail that waits for its key
  what TEXT NOT NULL,                        -- a constant text
  found_at_ms INTEGER NOT NULL,
  PRIMARY KEY (folder, uid, what)
) STRICT, WITHOUT ROWID;
