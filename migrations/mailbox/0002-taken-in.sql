-- Messages that were taken over from a gateway, until it is known to have dropped them.
CREATE TABLE taken_in (message BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
