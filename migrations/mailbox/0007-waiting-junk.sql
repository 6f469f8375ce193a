-- Mail that waits for the mailbox key may be meant for the Junk folder.

ALTER TABLE waiting_messages ADD COLUMN is_junk INTEGER NOT NULL DEFAULT 0 CHECK (is_junk IN (0, 1));
