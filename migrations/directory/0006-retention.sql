-- How many days expunged messages are kept; NULL: they never were.
ALTER TABLE organizations ADD COLUMN retention_days INTEGER;
