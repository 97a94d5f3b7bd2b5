-- Step to schema version 4: webhooks, the rows of package webhook. Instants are
-- microseconds since 1970, null where there is none; lengths of time are
-- nanoseconds. Text is compared byte by byte. Numbers of states, reasons and
-- failures are those of package webhook and never change meaning.


-- Replays: messages that were received. A key without a row, or whose time is
-- over, is free.
CREATE TABLE keytoll.replays (
	key   text COLLATE "C" NOT NULL PRIMARY KEY,
	owner text COLLATE "C" NOT NULL, -- who handles it; empty: it has been handled
	until bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

CREATE INDEX replays_by_end ON keytoll.replays (until);


-- Endpoints. What a store does not ask for is JSON. A text that is no UTF-8 stands
-- there as {"base64": "..."}. Whoever changes a delivery, but for deleting one that
-- has ended, holds the lock of its endpoint's row; whoever files one does not, so
-- that no transaction of a publisher's keeps deliveries waiting.
CREATE TABLE keytoll.endpoints (
	id         text COLLATE "C" NOT NULL PRIMARY KEY,
	account    text COLLATE "C" NOT NULL,
	state      smallint NOT NULL, -- 1 active, 2 disabled, 3 deleted
	reason     smallint NOT NULL, -- why it is disabled
	created_at bigint,
	updated_at bigint,
	events     json,              -- the types that go there; null: all
	settings   json     NOT NULL, -- all others
	sealed     bytea    NOT NULL,
	health     json,              -- null: nothing to tell
	ordered    boolean  NOT NULL,
	room       bigint   NOT NULL, -- the most attempts at once that settings and health allow
	ready      bigint   NOT NULL, -- no attempt begins before
	noted      bigint   NOT NULL, -- when room and ready were: what they say holds from then on
	CONSTRAINT endpoints_sound CHECK (
		state BETWEEN 1 AND 3 AND least(reason, room) >= 0 AND id <> '' AND account <> ''
		AND json_typeof(settings) = 'object' AND json_typeof(events) = 'array' AND json_typeof(health) = 'object')
) WITH (fillfactor = 50); -- room to note health in place

CREATE INDEX endpoints_by_account ON keytoll.endpoints (account, id);
CREATE INDEX endpoints_active ON keytoll.endpoints (id) WHERE state = 1;
CREATE INDEX endpoints_deleted ON keytoll.endpoints (id) WHERE state = 3;


-- Messages, each stored once, however many endpoints it goes to.
CREATE TABLE keytoll.messages (
	id           text COLLATE "C" NOT NULL PRIMARY KEY,
	account      text COLLATE "C" NOT NULL,
	type         text COLLATE "C" NOT NULL,
	endpoint     text COLLATE "C" NOT NULL, -- the only one that it goes to, or empty
	content_type text     NOT NULL,
	payload      bytea    NOT NULL,
	at           bigint   NOT NULL,
	deliveries   bigint   NOT NULL, -- how many endpoints it goes to
	CONSTRAINT messages_sound CHECK (id <> '' AND account <> '' AND deliveries >= 0 AND (endpoint = '' OR deliveries = 1))
);

CREATE INDEX messages_by_age ON keytoll.messages (at);


-- Deliveries: messages on their way. No foreign keys: a publisher that checked
-- one would hold the endpoint's row. Rows go with their message, see
-- webhooks_prune.
CREATE TABLE keytoll.deliveries (
	message    text COLLATE "C" NOT NULL,
	endpoint   text COLLATE "C" NOT NULL,
	seq        bigint   NOT NULL GENERATED ALWAYS AS IDENTITY,
	state      smallint NOT NULL, -- 1 pending, 2 sending, 3 delivered, 4 dead, 5 dropped
	due        bigint,
	tries      bigint   NOT NULL,
	attempt    bigint   NOT NULL,
	token      text COLLATE "C" NOT NULL, -- of the claim
	lease      bigint,                    -- until when it holds
	failure    smallint NOT NULL,
	manual     boolean  NOT NULL,
	created_at bigint   NOT NULL,
	ended_at   bigint,
	at         bigint GENERATED ALWAYS AS (CASE state WHEN 1 THEN due WHEN 2 THEN lease END) STORED, -- from when on it may be claimed
	PRIMARY KEY (message, endpoint),
	CONSTRAINT deliveries_sound CHECK (
		message <> '' AND endpoint <> '' AND least(tries, attempt, failure) >= 0
		AND CASE state WHEN 1 THEN due IS NOT NULL WHEN 2 THEN due IS NOT NULL AND lease IS NOT NULL AND token <> '' ELSE state IN (3, 4, 5) END)
) WITH (
	autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.05,
	autovacuum_vacuum_cost_delay = 1
);

CREATE INDEX deliveries_waiting ON keytoll.deliveries (endpoint, at, seq) WHERE at IS NOT NULL;
CREATE INDEX deliveries_sending ON keytoll.deliveries (endpoint, at) WHERE state = 2;
CREATE INDEX deliveries_in_order ON keytoll.deliveries (endpoint, seq) WHERE state <= 2;
CREATE INDEX deliveries_failed ON keytoll.deliveries (endpoint, seq) WHERE state >= 4;
CREATE INDEX deliveries_by_endpoint ON keytoll.deliveries (endpoint, seq);


-- Attempts: what came of each. Texts that receivers have a say in are bytes.
CREATE TABLE keytoll.attempts (
	message     text COLLATE "C" NOT NULL,
	endpoint    text COLLATE "C" NOT NULL,
	number      bigint   NOT NULL,
	at          bigint,
	took        bigint   NOT NULL,
	failure     smallint NOT NULL, -- 0: delivered
	status      bigint   NOT NULL,
	detail      bytea    NOT NULL,
	body        bytea    NOT NULL,
	retry_after bigint   NOT NULL,
	control     smallint NOT NULL,
	location    bytea    NOT NULL,
	address     bytea    NOT NULL,
	PRIMARY KEY (message, endpoint, number),
	CONSTRAINT attempts_sound CHECK (number > 0 AND least(failure, control) >= 0)
);


-- The time: given, or else the server's.
CREATE FUNCTION keytoll.webhooks_now(given bigint) RETURNS bigint LANGUAGE sql VOLATILE AS
	'SELECT coalesce(given, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)';


-- replay_claim asks for a key and returns what package webhook calls a
-- ClaimState. A refusal writes nothing. Each new key takes two with it whose time
-- is over.
CREATE FUNCTION keytoll.replay_claim(given bigint, wanted text, claimer text, lease bigint) RETURNS smallint LANGUAGE plpgsql
	SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
#variable_conflict use_column
DECLARE
	now bigint;
	r   keytoll.replays;
BEGIN
	LOOP
		SELECT * INTO r FROM keytoll.replays WHERE key = wanted;
		now := keytoll.webhooks_now(given);
		IF FOUND AND r.until > now AND r.owner <> claimer THEN
			RETURN CASE r.owner WHEN '' THEN 3 ELSE 2 END;
		END IF;
		IF FOUND THEN
			SELECT * INTO r FROM keytoll.replays WHERE key = wanted FOR UPDATE;
			now := keytoll.webhooks_now(given);
			CONTINUE WHEN NOT FOUND OR r.until > now AND r.owner <> claimer; -- others were quicker
			UPDATE keytoll.replays SET owner = claimer, until = now + lease WHERE key = wanted;
			RETURN 1;
		END IF;
		INSERT INTO keytoll.replays VALUES (wanted, claimer, now + lease) ON CONFLICT (key) DO NOTHING;
		EXIT WHEN FOUND;
	END LOOP;
	DELETE FROM keytoll.replays WHERE key = ANY (ARRAY(
		SELECT key FROM keytoll.replays WHERE until <= now ORDER BY until LIMIT 2 FOR UPDATE SKIP LOCKED));
	RETURN 1;
END $$;

CREATE FUNCTION keytoll.replay_done(given bigint, handled text, keep bigint) RETURNS void LANGUAGE plpgsql
	SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
#variable_conflict use_column
BEGIN
	INSERT INTO keytoll.replays AS r VALUES (handled, '', keytoll.webhooks_now(given) + keep)
	ON CONFLICT (key) DO UPDATE SET owner = '', until = CASE r.owner WHEN '' THEN greatest(r.until, excluded.until) ELSE excluded.until END;
END $$;

CREATE FUNCTION keytoll.replay_release(given_up text, claimer text) RETURNS void LANGUAGE plpgsql
	SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
BEGIN
	DELETE FROM keytoll.replays WHERE key = given_up AND owner = claimer AND owner <> '';
END $$;


-- webhooks_takers returns the endpoints that messages of an account may go to: all
-- of them, or the only one.
CREATE FUNCTION keytoll.webhooks_takers(whose text, only_endpoint text) RETURNS TABLE (id text, events json) LANGUAGE plpgsql STABLE
	SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
BEGIN
	IF only_endpoint <> '' THEN
		RETURN QUERY SELECT e.id, NULL::json FROM keytoll.endpoints e WHERE e.id = only_endpoint AND e.account = whose AND e.state <> 3;
	ELSE
		RETURN QUERY SELECT e.id, e.events FROM keytoll.endpoints e WHERE e.account = whose AND e.state <> 3 ORDER BY e.account, e.id;
	END IF;
END $$;


-- webhooks_messages returns messages.
CREATE FUNCTION keytoll.webhooks_messages(ids text[]) RETURNS SETOF keytoll.messages LANGUAGE plpgsql STABLE
	SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off
	SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY SELECT found.* FROM unnest(ids) AS it (id) CROSS JOIN LATERAL (SELECT * FROM keytoll.messages m WHERE m.id = it.id OFFSET 0) found;
END $$;


-- webhooks_publish files a message and its deliveries, unless there is one of its
-- id already. Outcomes: 1 published, 2 published before, 3 another message has the
-- id, 4 there is no endpoint to go to. A publisher of the same id that has not
-- committed is waited for.
CREATE FUNCTION keytoll.webhooks_publish(
	given bigint, new_id text, new_account text, new_type text, only_endpoint text, new_content_type text, new_payload bytea,
	takers text[], targeted boolean, -- whether it goes to one endpoint, or to none
	OUT outcome smallint, OUT published bigint, OUT endpoints bigint
) LANGUAGE plpgsql
	SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off
	SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
	m record;
BEGIN
	LOOP
		SELECT at, deliveries, account = new_account AND type = new_type AND endpoint = only_endpoint
			AND content_type = new_content_type AND payload = new_payload AS same
		INTO m FROM keytoll.messages WHERE id = new_id;
		IF FOUND THEN
			outcome := CASE WHEN m.same THEN 2 ELSE 3 END;
			published := m.at;
			endpoints := m.deliveries;
			RETURN;
		END IF;
		takers := ARRAY(
			SELECT alive.id FROM unnest(takers) AS taker (id)
			CROSS JOIN LATERAL (SELECT e.id FROM keytoll.endpoints e WHERE e.id = taker.id AND e.state <> 3 OFFSET 0) alive);
		endpoints := cardinality(takers);
		IF targeted AND endpoints = 0 THEN
			outcome := 4;
			RETURN;
		END IF;
		published := keytoll.webhooks_now(given);
		INSERT INTO keytoll.messages VALUES (
			new_id, new_account, new_type, only_endpoint, new_content_type, new_payload, published, endpoints
		) ON CONFLICT (id) DO NOTHING;
		EXIT WHEN FOUND;
	END LOOP;
	INSERT INTO keytoll.deliveries (message, endpoint, state, due, tries, attempt, token, failure, manual, created_at)
		SELECT new_id, taker, 1, published, 0, 0, '', 0, false, published FROM unnest(takers) taker;
	outcome := 1;
END $$;


-- webhooks_hurry ends this transaction when its client is silent for so long: a
-- machine that is gone without a word must not keep its locks until the network
-- notices, which may take hours.
CREATE FUNCTION keytoll.webhooks_hurry() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('idle_in_transaction_session_timeout', '15s', true);
END $$;


-- webhooks_waiting looks for deliveries that may be claimed, as Claim of package
-- webhook says, and takes the locks of their endpoints: what it returns stays so
-- until the end of the transaction. Each statement sees what was committed before
-- it, so what is counted under a lock is what counts. Rows have a kind: 0 the time,
-- and the types of the tables; 2 a delivery with its place; 1, after its
-- deliveries, an endpoint; 3 the end. With an endpoint come how many attempts it
-- has running, when the first of them is over, and when the first of its deliveries
-- that are not here may be claimed. With the end come the last endpoint looked at,
-- 1 if it has come to the last id, and when one of an endpoint that is not here may
-- be claimed.
--
-- It begins with the id since, goes on behind the last id with the first, and ends
-- with the id upto, or earlier, when there are as many deliveries as were asked
-- for. Whoever took less of them asks again, with the time, the last endpoint and
-- that 1 of the answer.
--
-- It leaps: from an active endpoint to the next one that something waits for, from
-- there to the next active one, and so on. So what waits for endpoints that are
-- disabled costs nothing where few are active, and endpoints that nothing waits for
-- cost nothing where something waits for few.
CREATE FUNCTION keytoll.webhooks_waiting(given bigint, since text, upto text, wrapped boolean, most bigint)
	RETURNS TABLE (kind smallint, content bytea, place tid, running bigint, ends bigint, next bigint) LANGUAGE plpgsql
	SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
	SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
	now     bigint := keytoll.webhooks_now(given);
	last    text := '';
	rest    bigint := most;
	soonest bigint;
	leap    record;
	e       keytoll.endpoints;
	d       record;
	free    bigint;
	n       bigint;
BEGIN
	PERFORM keytoll.webhooks_hurry();
	kind := 0;
	content := int8send(now) || oidsend(pg_typeof(NULL::keytoll.endpoints)) || oidsend(pg_typeof(NULL::keytoll.deliveries))
		|| oidsend(pg_typeof(NULL::keytoll.attempts));
	RETURN NEXT;
	LOOP
		FOR leap IN
			WITH RECURSIVE leaps (id, ready, room, ordered, endpoint, at, onward) AS (
				SELECT NULL::text COLLATE "C", 0::bigint, 0::bigint, false, NULL::text COLLATE "C", 0::bigint, since COLLATE "C"
				UNION ALL
				SELECT active.id, active.ready, active.room, active.ordered, waiting.endpoint, waiting.at,
					CASE waiting.endpoint WHEN active.id THEN active.id || ' ' ELSE waiting.endpoint END -- which comes right behind it
				FROM leaps
				CROSS JOIN LATERAL (
					SELECT id, CASE WHEN noted <= now THEN ready ELSE 0 END AS ready, room, ordered FROM keytoll.endpoints
					WHERE state = 1 AND id >= leaps.onward ORDER BY id LIMIT 1
				) active
				CROSS JOIN LATERAL (
					SELECT endpoint, at FROM keytoll.deliveries WHERE at IS NOT NULL AND endpoint >= active.id ORDER BY endpoint, at, seq LIMIT 1
				) waiting
				WHERE NOT wrapped OR upto = '' OR waiting.endpoint <= upto
			)
			SELECT leaps.id, greatest(leaps.ready, CASE WHEN leaps.ordered THEN (
					SELECT at FROM keytoll.deliveries WHERE endpoint = leaps.id AND state <= 2 ORDER BY endpoint, seq LIMIT 1
				) ELSE leaps.at END) AS opens, busy.running >= leaps.room AS busy, busy.ends
			FROM leaps
			LEFT JOIN LATERAL (
				SELECT count(*) AS running, min(at) AS ends FROM keytoll.deliveries
				WHERE endpoint = leaps.id AND state = 2 AND at > now
			) busy ON greatest(leaps.at, leaps.ready) <= now
			WHERE leaps.endpoint = leaps.id
		LOOP
			last := leap.id;
			IF leap.opens > now OR leap.busy THEN
				soonest := least(soonest, CASE WHEN leap.opens > now THEN leap.opens ELSE leap.ends END);
				CONTINUE;
			END IF;
			SELECT * INTO e FROM keytoll.endpoints WHERE id = leap.id AND state = 1 FOR NO KEY UPDATE SKIP LOCKED;
			CONTINUE WHEN NOT FOUND; -- somebody else has hold of it
			SELECT count(*), min(at) INTO running, ends FROM keytoll.deliveries WHERE endpoint = e.id AND state = 2 AND at > now;
			free := least(e.room - running, rest);
			IF free <= 0 THEN
				soonest := least(soonest, ends);
				CONTINUE;
			END IF;
			n := 0;
			next := NULL;
			kind := 2;
			FOR d IN
				SELECT first.* FROM (
					SELECT record_send(x) AS content, x.ctid AS place, x.at FROM keytoll.deliveries x
					WHERE e.ordered AND endpoint = e.id AND state <= 2 ORDER BY endpoint, seq LIMIT 1) first
				UNION ALL
				SELECT first.* FROM (
					SELECT record_send(x) AS content, x.ctid AS place, x.at FROM keytoll.deliveries x
					WHERE NOT e.ordered AND endpoint = e.id AND at IS NOT NULL ORDER BY endpoint, at, seq LIMIT free + 1) first
			LOOP
				next := d.at;
				EXIT WHEN n = free OR d.at > now;
				n := n + 1;
				next := NULL;
				content := d.content;
				place := d.place;
				RETURN NEXT;
			END LOOP;
			IF n = 0 THEN
				soonest := least(soonest, next);
				CONTINUE;
			END IF;
			rest := rest - n;
			kind := 1;
			content := record_send(e);
			place := NULL;
			RETURN NEXT;
			EXIT WHEN rest = 0;
		END LOOP;
		EXIT WHEN wrapped OR rest = 0;
		wrapped := true;
		since := '';
	END LOOP;
	kind := 3;
	content := textsend(last);
	place := NULL;
	running := wrapped::int;
	next := soonest;
	RETURN NEXT;
END $$;


-- webhooks_cases takes the locks of endpoints, in the order given, which is the one
-- that all follow, and reads them and then deliveries of theirs, which it locks
-- too, so that none is deleted. Rows are those of webhooks_waiting, but endpoints
-- come first, and deliveries with their number among those asked for.
CREATE FUNCTION keytoll.webhooks_cases(given bigint, ids text[], case_endpoints text[], case_messages text[])
	RETURNS TABLE (kind smallint, content bytea, place tid, number bigint, type text) LANGUAGE plpgsql
	SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off
	SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
	locked text[] := ARRAY( -- and no other is read: one that was made meanwhile is not locked
		SELECT found.id FROM unnest(ids) AS need (id)
		CROSS JOIN LATERAL (SELECT e.id FROM keytoll.endpoints e WHERE e.id = need.id OFFSET 0 FOR NO KEY UPDATE) found);
BEGIN
	PERFORM keytoll.webhooks_hurry();
	RETURN QUERY SELECT 0::smallint, int8send(keytoll.webhooks_now(given)) || oidsend(pg_typeof(NULL::keytoll.endpoints))
		|| oidsend(pg_typeof(NULL::keytoll.deliveries)) || oidsend(pg_typeof(NULL::keytoll.attempts)), NULL::tid, NULL::bigint, NULL::text;
	RETURN QUERY SELECT 1::smallint, record_send(found.e), NULL::tid, NULL::bigint, NULL::text
		FROM unnest(locked) AS need (id)
		CROSS JOIN LATERAL (SELECT e FROM keytoll.endpoints e WHERE e.id = need.id OFFSET 0) found;
	IF cardinality(case_messages) > 0 THEN
		RETURN QUERY SELECT 2::smallint, record_send(found.d), found.place, need.number, about.type
			FROM unnest(case_endpoints, case_messages) WITH ORDINALITY AS need (endpoint, message, number)
			CROSS JOIN LATERAL (
				SELECT d, d.ctid AS place FROM keytoll.deliveries d -- in words that only the primary key can serve
				WHERE (d.message, d.endpoint) >= (need.message, need.endpoint) AND (d.message, d.endpoint) <= (need.message, need.endpoint)
				OFFSET 0 FOR NO KEY UPDATE
			) found
			CROSS JOIN LATERAL (SELECT m.type FROM keytoll.messages m WHERE m.id = need.message OFFSET 0) about;
	END IF;
END $$;


-- webhooks_write writes what a claim, a settlement or a change did. Endpoints were
-- locked, or are new; of those whose settings are null nothing changes but state
-- and health. Deliveries are found at their places.
CREATE FUNCTION keytoll.webhooks_write(
	new_endpoints keytoll.endpoints[], endpoints keytoll.endpoints[], deliveries keytoll.deliveries[], places tid[], attempts keytoll.attempts[]
) RETURNS void LANGUAGE plpgsql
	SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off
	SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
	n    bigint;
	lost bigint := 0;
BEGIN
	IF cardinality(new_endpoints) > 0 THEN
		INSERT INTO keytoll.endpoints SELECT * FROM unnest(new_endpoints);
	END IF;
	IF cardinality(endpoints) > 0 THEN
		UPDATE keytoll.endpoints stored SET
			account = given.account, state = given.state, reason = given.reason, created_at = given.created_at, updated_at = given.updated_at,
			health = given.health, room = given.room, ready = given.ready, noted = given.noted,
			events = CASE WHEN given.settings IS NULL THEN stored.events ELSE given.events END,
			settings = coalesce(given.settings, stored.settings), sealed = coalesce(given.sealed, stored.sealed),
			ordered = given.ordered
		FROM unnest(endpoints) given CROSS JOIN LATERAL (SELECT x.ctid AS place FROM keytoll.endpoints x WHERE x.id = given.id OFFSET 0) found
		WHERE stored.ctid = found.place;
		GET DIAGNOSTICS n = ROW_COUNT;
		lost := lost + cardinality(endpoints) - n;
	END IF;
	IF cardinality(deliveries) > 0 THEN
		UPDATE keytoll.deliveries stored SET
			state = given.state, due = given.due, tries = given.tries, attempt = given.attempt, token = given.token, lease = given.lease,
			failure = given.failure, manual = given.manual, ended_at = given.ended_at
		FROM unnest(deliveries, places) AS given (
			message, endpoint, seq, state, due, tries, attempt, token, lease, failure, manual, created_at, ended_at, at, place)
		WHERE stored.ctid = given.place AND stored.seq IS NOT DISTINCT FROM given.seq;
		GET DIAGNOSTICS n = ROW_COUNT;
		lost := lost + cardinality(deliveries) - n;
	END IF;
	IF cardinality(attempts) > 0 THEN
		INSERT INTO keytoll.attempts SELECT * FROM unnest(attempts) ON CONFLICT (message, endpoint, number) DO NOTHING;
	END IF;
	IF lost > 0 THEN
		RAISE '% rows of webhooks are not as they were read', lost USING ERRCODE = 'integrity_constraint_violation';
	END IF;
END $$;


-- webhooks_move changes the state of deliveries as Move of package webhook says,
-- and returns how many. Each kind of state has an index of its own: what is not
-- asked for is not looked at.
CREATE FUNCTION keytoll.webhooks_move(
	given bigint, target text, only_message text, since bigint, froms bigint[], into_state bigint, by_hand boolean, most bigint
) RETURNS bigint LANGUAGE plpgsql
	SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off
	SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
	now    bigint;
	places tid[];
	n      bigint;
BEGIN
	PERFORM FROM keytoll.endpoints WHERE id = target FOR NO KEY UPDATE;
	now := keytoll.webhooks_now(given);
	IF only_message <> '' THEN
		places := ARRAY(
			SELECT ctid FROM keytoll.deliveries
			WHERE (message, endpoint) >= (only_message, target) AND (message, endpoint) <= (only_message, target)
				AND created_at >= since AND state = ANY (froms)
				AND (state <> 1 OR into_state <> 1 OR due > now) AND most > 0);
	ELSE
		places := ARRAY(
			SELECT place FROM (
				(SELECT seq, ctid AS place FROM keytoll.deliveries
				WHERE 1 = ANY (froms) AND endpoint = target AND state <= 2 AND state = 1 AND created_at >= since AND (into_state <> 1 OR due > now)
				ORDER BY endpoint, seq LIMIT most)
				UNION ALL
				(SELECT seq, ctid FROM keytoll.deliveries
				WHERE 3 = ANY (froms) AND endpoint = target AND state = 3 AND created_at >= since ORDER BY endpoint, seq LIMIT most)
				UNION ALL
				(SELECT seq, ctid FROM keytoll.deliveries
				WHERE froms && '{4,5}' AND endpoint = target AND state >= 4 AND state = ANY (froms) AND created_at >= since
				ORDER BY endpoint, seq LIMIT most)
			) found ORDER BY seq LIMIT most);
	END IF;
	IF into_state = 1 THEN
		UPDATE keytoll.deliveries SET state = 1, due = now, attempt = 0, failure = 0, ended_at = NULL, manual = by_hand
		WHERE ctid = ANY (places) AND state = ANY (froms);
	ELSE
		UPDATE keytoll.deliveries SET state = into_state, ended_at = now WHERE ctid = ANY (places) AND state = ANY (froms);
	END IF;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN n;
END $$;


-- webhooks_deliveries lists deliveries as a DeliveryQuery of package webhook says;
-- states is null for all. For those of an endpoint, each kind of state has an index
-- of its own.
CREATE FUNCTION keytoll.webhooks_deliveries(target text, only_message text, states bigint[], before bigint, most bigint)
	RETURNS TABLE (delivery keytoll.deliveries, account text, type text) LANGUAGE plpgsql STABLE
	SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off
	SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
	waiting boolean := states <@ '{1,2}';
	failed  boolean := states <@ '{4,5}';
BEGIN
	IF only_message <> '' THEN
		RETURN QUERY SELECT d, m.account, m.type FROM keytoll.deliveries d
			CROSS JOIN LATERAL (SELECT x.account, x.type FROM keytoll.messages x WHERE x.id = d.message OFFSET 0) m
			WHERE (d.message, d.endpoint) >= (only_message, target) AND (d.message, d.endpoint) <= (only_message, coalesce(nullif(target, ''), '~'))
				AND seq < before AND (states IS NULL OR state = ANY (states))
			ORDER BY seq DESC LIMIT most;
		RETURN;
	END IF;
	RETURN QUERY SELECT found.d, m.account, m.type
		FROM (
			(SELECT d, seq FROM keytoll.deliveries d
			WHERE waiting AND endpoint = target AND state <= 2 AND seq < before AND state = ANY (states) ORDER BY endpoint DESC, seq DESC LIMIT most)
			UNION ALL
			(SELECT d, seq FROM keytoll.deliveries d
			WHERE failed AND endpoint = target AND state >= 4 AND seq < before AND state = ANY (states) ORDER BY endpoint DESC, seq DESC LIMIT most)
			UNION ALL
			(SELECT d, seq FROM keytoll.deliveries d
			WHERE (waiting OR failed) IS NOT TRUE AND endpoint = target AND seq < before AND (states IS NULL OR state = ANY (states))
			ORDER BY endpoint DESC, seq DESC LIMIT most)
		) found
		CROSS JOIN LATERAL (SELECT x.account, x.type FROM keytoll.messages x WHERE x.id = (found.d).message OFFSET 0) m
		ORDER BY seq DESC;
END $$;


-- webhooks_prune deletes messages as Prune of package webhook says, but for those
-- that somebody is busy with, and returns how many.
CREATE FUNCTION keytoll.webhooks_prune(before bigint, most bigint) RETURNS bigint LANGUAGE plpgsql
	SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
	SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
	old text[];
BEGIN
	old := ARRAY(
		SELECT m.id FROM keytoll.messages m WHERE m.at < before AND NOT EXISTS (
			SELECT FROM keytoll.deliveries d WHERE d.message = m.id AND d.state <= 2
				AND EXISTS (SELECT FROM keytoll.endpoints e WHERE e.id = d.endpoint AND e.state <> 3 OFFSET 0)
			OFFSET 0) -- looked for message by message
		ORDER BY m.at LIMIT most FOR UPDATE OF m SKIP LOCKED);
	-- Once all its rows are locked, nobody moves, settles or claims any of a message.
	old := ARRAY(
		SELECT m.id FROM unnest(old) AS it (id)
		CROSS JOIN LATERAL (SELECT x.id, x.deliveries FROM keytoll.messages x WHERE x.id = it.id OFFSET 0) m
		CROSS JOIN LATERAL (
			SELECT count(*) FILTER (WHERE locked.state > 2 OR NOT EXISTS (
				SELECT FROM keytoll.endpoints e WHERE e.id = locked.endpoint AND e.state <> 3 OFFSET 0)) AS n
			FROM (SELECT d.state, d.endpoint FROM keytoll.deliveries d WHERE d.message = m.id OFFSET 0 FOR UPDATE SKIP LOCKED) locked
		) free
		WHERE free.n = m.deliveries);
	DELETE FROM keytoll.attempts a USING unnest(old) AS it (id) WHERE a.message = it.id;
	DELETE FROM keytoll.deliveries d USING unnest(old) AS it (id) WHERE d.message = it.id;
	DELETE FROM keytoll.messages m USING unnest(old) AS it (id) WHERE m.id = it.id;
	DELETE FROM keytoll.endpoints WHERE id IN (
		SELECT e.id FROM keytoll.endpoints e WHERE e.state = 3
			AND NOT EXISTS (SELECT FROM keytoll.deliveries d WHERE d.endpoint = e.id OFFSET 0)
		ORDER BY e.id LIMIT most FOR UPDATE SKIP LOCKED);
	RETURN cardinality(old);
END $$;
