-- Schema version 3. What subjects used of their rate limits.


-- States: what package ratelimit calls a Cell or, where entries is not null, a
-- Log. A state that is not here has used nothing, and one may be deleted from
-- the instant it expires.
CREATE TABLE limits (
	key       BLOB    NOT NULL CHECK (length(key) > 0), -- of the subject
	name      TEXT    NOT NULL,                         -- of the limit
	algorithm TEXT    NOT NULL,
	at        INTEGER NOT NULL, -- the latest time that the state has seen
	used      INTEGER NOT NULL,
	part      INTEGER NOT NULL CHECK (part >= 0),
	expires   INTEGER NOT NULL CHECK (expires > 0),
	entries   BLOB    CHECK (length(entries) > 0 AND length(entries) % 32 = 0), -- of each the id in 16 bytes, until and units in 8, the greatest first
	PRIMARY KEY (key, name, algorithm)
) STRICT, WITHOUT ROWID;


-- Decisions that were settled, as long as a second settlement could change
-- something.
CREATE TABLE settled (
	id    BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
	until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX settled_by_end ON settled (until);
