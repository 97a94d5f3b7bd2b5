-- Step to schema version 5: what was asked for under an Idempotency-Key, and what
-- was answered. Instants are microseconds since 1970. A key without a row, or whose
-- time is over, is free.
CREATE TABLE keytoll.idempotent_requests (
	key         bytea   NOT NULL PRIMARY KEY,
	fingerprint bytea   NOT NULL, -- of the request
	first       bytea   NOT NULL, -- the token of the claim that others took over
	turn        bigint  NOT NULL, -- how often
	token       bytea   NOT NULL, -- whose it is now
	lease       bigint  NOT NULL, -- until when nobody may take it over
	until       bigint  NOT NULL,
	answer      bytea,            -- null: it is not done
	CONSTRAINT idempotent_requests_sound CHECK (
		length(key) = 32 AND length(fingerprint) = 32 AND length(first) = 16 AND length(token) = 16
		AND turn >= 0 AND (turn > 0 OR first = token))
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

CREATE INDEX idempotent_requests_by_end ON keytoll.idempotent_requests (until);


-- idempotency_claim does what package idempotency says of Claim. What is not
-- claimed writes nothing. Each new key takes two with it whose time is over.
CREATE FUNCTION keytoll.idempotency_claim(
	given bigint, wanted bytea, print bytea, claimer bytea, lasts bigint, keep bigint,
	OUT state smallint, OUT root bytea, OUT taken bigint, OUT wait bigint, OUT said bytea
) LANGUAGE plpgsql
	SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
#variable_conflict use_column
DECLARE
	now    bigint;
	r      keytoll.idempotent_requests;
	locked boolean := false;
BEGIN
	state := 1;
	LOOP
		IF locked THEN
			SELECT * INTO r FROM keytoll.idempotent_requests WHERE key = wanted FOR UPDATE;
		ELSE
			SELECT * INTO r FROM keytoll.idempotent_requests WHERE key = wanted;
		END IF;
		now := keytoll.webhooks_now(given);
		IF NOT FOUND THEN
			root := claimer;
			taken := 0;
			INSERT INTO keytoll.idempotent_requests VALUES (wanted, print, claimer, 0, claimer, now + lasts, now + lasts + keep)
			ON CONFLICT (key) DO NOTHING;
			EXIT WHEN FOUND;
			locked := false; -- others were quicker
			CONTINUE;
		END IF;
		IF r.until > now THEN
			IF r.fingerprint <> print THEN
				state := 3;
			ELSIF r.answer IS NOT NULL THEN
				state := 4;
				said := r.answer;
			ELSIF r.token <> claimer AND r.lease > now THEN
				state := 2;
				wait := r.lease - now;
			END IF;
			IF state > 1 THEN
				RETURN;
			END IF;
		END IF;
		IF NOT locked THEN
			locked := true;
			CONTINUE;
		END IF;
		root := claimer;
		taken := 0;
		IF r.until > now THEN
			root := r.first;
			taken := r.turn + CASE r.token WHEN claimer THEN 0 ELSE 1 END;
		END IF;
		UPDATE keytoll.idempotent_requests SET fingerprint = print, first = root, turn = taken, token = claimer,
			lease = now + lasts, until = now + lasts + keep, answer = NULL
		WHERE key = wanted;
		RETURN;
	END LOOP;
	DELETE FROM keytoll.idempotent_requests WHERE key = ANY (ARRAY(
		SELECT key FROM keytoll.idempotent_requests WHERE until <= now ORDER BY until LIMIT 2 FOR UPDATE SKIP LOCKED));
END $$;


-- idempotency_finish keeps an answer, and says whether it is there.
CREATE FUNCTION keytoll.idempotency_finish(given bigint, finished bytea, claimer bytea, said bytea, keep bigint) RETURNS boolean LANGUAGE plpgsql
	SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
	now bigint := keytoll.webhooks_now(given);
BEGIN
	UPDATE keytoll.idempotent_requests SET answer = said, until = now + keep
	WHERE key = finished AND token = claimer AND answer IS NULL AND until > now;
	RETURN FOUND OR EXISTS (
		SELECT FROM keytoll.idempotent_requests WHERE key = finished AND token = claimer AND answer IS NOT NULL AND until > now);
END $$;

CREATE FUNCTION keytoll.idempotency_abandon(given_up bytea, claimer bytea) RETURNS void LANGUAGE plpgsql
	SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
BEGIN
	DELETE FROM keytoll.idempotent_requests WHERE key = given_up AND token = claimer AND answer IS NULL;
END $$;
