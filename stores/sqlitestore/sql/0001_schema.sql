-- Schema version 1.

-- The version of this schema, in the one row that the table can hold.
CREATE TABLE schema_version (
	id      INTEGER PRIMARY KEY CHECK (id = 1),
	version INTEGER NOT NULL CHECK (version > 0)
) STRICT;
