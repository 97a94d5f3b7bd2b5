-- Schema version 6. What was asked for under an Idempotency-Key, and what was
-- answered. One may be deleted from the instant its time is over.
CREATE TABLE idempotent_requests (
	key         BLOB    NOT NULL PRIMARY KEY CHECK (length(key) = 32),
	fingerprint BLOB    NOT NULL CHECK (length(fingerprint) = 32), -- of the request
	first       BLOB    NOT NULL CHECK (length(first) = 16),       -- the token of the claim that others took over
	turn        INTEGER NOT NULL CHECK (turn >= 0),                -- how often
	token       BLOB    NOT NULL CHECK (length(token) = 16),       -- whose it is now
	lease       INTEGER NOT NULL,                                  -- until when nobody may take it over
	until       INTEGER NOT NULL,
	answer      BLOB, -- null: it is not done
	CHECK (turn > 0 OR first = token)
) STRICT;

CREATE INDEX idempotent_requests_by_end ON idempotent_requests (until);
