-- Counts the changes of what gateways are told: which addresses take mail, and the public keys it is sealed to.
CREATE TABLE roster_version (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  value INTEGER NOT NULL
) STRICT;
INSERT INTO roster_version (only_row, value) VALUES (1, 1);

CREATE TRIGGER roster_organization_updated AFTER UPDATE OF state ON organizations
BEGIN UPDATE roster_version SET value = value + 1; END;
CREATE TRIGGER roster_domain_inserted AFTER INSERT ON domains
BEGIN UPDATE roster_version SET value = value + 1; END;
CREATE TRIGGER roster_domain_updated AFTER UPDATE OF state ON domains
BEGIN UPDATE roster_version SET value = value + 1; END;
CREATE TRIGGER roster_domain_deleted AFTER DELETE ON domains
BEGIN UPDATE roster_version SET value = value + 1; END;
CREATE TRIGGER roster_mailbox_updated AFTER UPDATE OF state ON mailboxes
BEGIN UPDATE roster_version SET value = value + 1; END;
CREATE TRIGGER roster_address_inserted AFTER INSERT ON addresses
BEGIN UPDATE roster_version SET value = value + 1; END;
CREATE TRIGGER roster_address_deleted AFTER DELETE ON addresses
BEGIN UPDATE roster_version SET value = value + 1; END;
CREATE TRIGGER roster_key_inserted AFTER INSERT ON wrapped_keys WHEN NEW.owner <> 'directory'
BEGIN UPDATE roster_version SET value = value + 1; END;
CREATE TRIGGER roster_key_deleted AFTER DELETE ON wrapped_keys WHEN OLD.owner <> 'directory'
BEGIN UPDATE roster_version SET value = value + 1; END;
