-- Schema version 2. What subjects used of their rate limits. Times are
-- microseconds since 1970.


-- States: what package ratelimit calls a Cell or, for a limit that keeps a log,
-- a Log, of which used is the sum of all entries and part is 0. A state that is
-- not here has used nothing, and one may be deleted from the time it expires.
-- Whoever decides by a state holds the advisory lock of its key. No index but
-- the first: changing a state then writes no index at all.
CREATE TABLE keytoll.limits (
	key       bytea            NOT NULL CHECK (length(key) > 0), -- of the subject; of a long one, its beginning and its digest
	name      text COLLATE "C" NOT NULL,                         -- of the limit
	algorithm text COLLATE "C" NOT NULL,
	at        bigint           NOT NULL, -- the latest time that the state has seen
	used      bigint           NOT NULL,
	part      bigint           NOT NULL CHECK (part >= 0),
	expires   bigint           NOT NULL CHECK (expires > 0),
	PRIMARY KEY (key, name, algorithm)
) WITH (fillfactor = 70); -- room to change rows in place

-- What each take has in use, of limits that keep a log.
CREATE TABLE keytoll.limit_entries (
	key       bytea            NOT NULL,
	name      text COLLATE "C" NOT NULL,
	algorithm text COLLATE "C" NOT NULL,
	id        bytea            NOT NULL CHECK (length(id) = 16), -- of the take
	until     bigint           NOT NULL, -- from when on it does not count
	units     bigint           NOT NULL CHECK (units > 0),
	PRIMARY KEY (key, name, algorithm, id)
);

CREATE INDEX limit_entries_by_end ON keytoll.limit_entries (key, name, algorithm, until) INCLUDE (units);

-- Decisions that were settled, as long as a second settlement could change
-- something.
CREATE TABLE keytoll.settled (
	id    bytea  PRIMARY KEY CHECK (length(id) = 16),
	until bigint NOT NULL
);

CREATE INDEX settled_by_end ON keytoll.settled (until);


-- Functions keep their plans. One made while a table is small would read all of
-- it, and stay when the table has grown: hence enable_seqscan, for those of keys
-- too.
ALTER FUNCTION keytoll.apply SET enable_seqscan = off;
ALTER FUNCTION keytoll.touch SET enable_seqscan = off;


-- limits_decide tells what package ratelimit's Rule would, of each op at one
-- time: given, or else the server's. Nothing changes. All of it is seen as of
-- one moment, since the function is stable. A product is numeric where it could
-- pass 63 bits, so that nothing overflows and nothing is rounded.
--
-- Of each op, rules has nine numbers: quota, count, period, cost, 1 for a shadow
-- limit, and of a calendar the starts of the window before, of a window, and of
-- the two that follow. When a time lies in none of the three windows, outside is
-- true, and the caller asks again with others around the times in verdicts.
--
-- Of each op, verdicts has ten numbers: the time at which it was decided;
-- RetryAfter; Remaining, ResetAfter and Rest as they are; ResetAfter and Rest
-- once the cost is taken, and the state then: used (of a log, the sum of what
-- counts), part (of a log, the units to add), expires. The state is right for a
-- cost that does not pass, too.
CREATE FUNCTION keytoll.limits_decide(
	given bigint, keys bytea[], names text[], algorithms text[], rules bigint[],
	OUT now bigint, OUT allowed boolean, OUT outside boolean, OUT verdicts bigint[]
) LANGUAGE plpgsql STABLE SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
	max_count  CONSTANT bigint := 9007199254740992;
	max_period CONSTANT bigint := 3153600000000000;
	s       keytoll.limits;
	o       int; -- before the numbers of the op
	quota   bigint;
	count   bigint;
	period  bigint;
	cost    bigint;
	at      bigint;
	since   bigint; -- the window
	ends    bigint;
	used    bigint;
	part    bigint;
	cur     bigint; -- what counts of used and of part
	prev    bigint;
	free    bigint;
	retry   bigint;
	reset   bigint;
	rest    bigint;
	later   bigint; -- reset and rest once the cost is taken
	rounded bigint;
	debt    numeric; -- of a bucket, in parts
	most    numeric;
BEGIN
	now := coalesce(given, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
	allowed := true;
	outside := false;
	verdicts := '{}';
	FOR i IN 1 .. cardinality(keys) LOOP
		o := 9 * (i - 1);
		quota := rules[o + 1];
		count := rules[o + 2];
		period := rules[o + 3];
		cost := rules[o + 4];
		SELECT * INTO s FROM keytoll.limits WHERE key = keys[i] AND name = names[i] AND algorithm = algorithms[i];
		IF NOT FOUND OR now >= s.expires THEN
			s.at := 0;
			s.used := 0;
			s.part := 0;
			s.expires := 0;
		END IF;
		at := greatest(now, s.at);
		retry := 0;
		rest := 0;
		rounded := 0;

		CASE algorithms[i]
		WHEN 'token_bucket' THEN
			debt := abs(s.used);
			part := s.part;
			IF part >= period THEN -- written under a longer period
				debt := debt + 1;
				part := 0;
			END IF;
			most := least(div(max_period::numeric * count, period), max_count) * period;
			debt := least(debt * period + part, CASE WHEN s.used < 0 THEN most ELSE quota::numeric * period END);
			debt := greatest(debt - (at - s.at)::numeric * count, 0);
			free := greatest(quota - div(debt + period - 1, period), 0);
			reset := div(debt + count - 1, count);
			rest := reset::numeric * count - debt;
			IF cost > free AND cost <= quota THEN
				retry := div(debt + (cost::numeric - quota) * period + count - 1, count);
			END IF;
			debt := least(debt + least(cost, max_count)::numeric * period, most);
			later := div(debt + count - 1, count);
			rounded := later::numeric * count - debt;
			used := div(debt, period);
			part := debt - used::numeric * period;
			IF debt > quota::numeric * period THEN
				used := -used;
			END IF;
			ends := at + later;

		WHEN 'fixed_window', 'calendar' THEN
			IF algorithms[i] = 'fixed_window' THEN
				since := at - at % period;
				ends := since + period;
			ELSIF at < rules[o + 6] OR at >= rules[o + 9] THEN
				outside := true;
				since := at;
				ends := at + 1;
			ELSE
				since := CASE WHEN at >= rules[o + 8] THEN rules[o + 8] WHEN at >= rules[o + 7] THEN rules[o + 7] ELSE rules[o + 6] END;
				ends := CASE WHEN at >= rules[o + 8] THEN rules[o + 9] WHEN at >= rules[o + 7] THEN rules[o + 8] ELSE rules[o + 7] END;
			END IF;
			used := 0;
			part := since;
			IF s.used > 0 AND s.at >= since THEN
				used := s.used;
				part := s.part;
			END IF;
			later := ends - at;
			free := greatest(quota - used, 0);
			reset := CASE WHEN used > 0 THEN later ELSE 0 END;
			IF cost > free THEN
				retry := later;
			END IF;
			used := least(used + least(cost, max_count), max_count);

		WHEN 'sliding_window' THEN
			used := CASE at / period - s.at / period WHEN 0 THEN s.used ELSE 0 END;
			part := CASE at / period - s.at / period WHEN 0 THEN s.part WHEN 1 THEN s.used ELSE 0 END;
			cur := least(used, quota);
			prev := least(part, quota);
			ends := at - at % period + period; -- until when the window before weighs
			free := greatest(quota - cur - div(prev::numeric * (ends - at) + period - 1, period)::bigint, 0);
			later := ends + period - at;
			reset := CASE WHEN cur > 0 THEN later WHEN prev > 0 THEN ends - at ELSE 0 END;
			IF cost > quota THEN
				NULL; -- never
			ELSIF cost > free AND cost <= quota - cur THEN
				retry := ends - at - div((quota - cur - cost)::numeric * period, prev)::bigint;
			ELSIF cost > free THEN
				retry := later - div((quota - cost)::numeric * period, cur)::bigint;
			END IF;
			used := least(used + least(cost, max_count), max_count);
			ends := at + later;

		ELSE -- logs
			used := s.used;
			IF s.expires > 0 THEN
				SELECT used - coalesce(sum(e.units), 0) INTO used FROM keytoll.limit_entries e
				WHERE e.key = keys[i] AND e.name = names[i] AND e.algorithm = algorithms[i] AND e.until <= at;
			END IF;
			free := greatest(quota - used, 0);
			reset := greatest(s.expires - at, 0);
			IF cost > free AND cost <= quota THEN
				SELECT l.until - at INTO retry FROM (
					SELECT e.until, sum(e.units) OVER (ORDER BY e.until) AS back FROM keytoll.limit_entries e
					WHERE e.key = keys[i] AND e.name = names[i] AND e.algorithm = algorithms[i] AND e.until > at
				) l WHERE l.back >= used + cost - quota ORDER BY l.until LIMIT 1;
				retry := coalesce(retry, period); -- never, unless somebody else deletes entries
			END IF;
			ends := greatest(s.expires, at + period);
			later := ends - at;
			part := least(cost, max_count - used);
			used := used + part;
		END CASE;

		IF cost > quota THEN
			retry := -1;
		END IF;
		IF retry <> 0 AND rules[o + 5] = 0 THEN
			allowed := false;
		END IF;
		-- The state stands still until the clock has caught up with it.
		IF retry > 0 THEN
			retry := retry + at - now;
		END IF;
		IF reset > 0 THEN
			reset := reset + at - now;
		END IF;
		IF reset > greatest(s.expires - now, 0) THEN -- written under a faster limit, it is forgotten first
			reset := greatest(s.expires - now, 0);
			rest := 0;
			retry := least(retry, reset);
		END IF;
		verdicts := verdicts || ARRAY[at, retry, free, reset, rest, later + at - now, rounded, used, part, ends];
	END LOOP;
END $$;


-- limits_keep keeps a state, or deletes the one of which nothing is in use. It
-- returns whether the state is new.
CREATE FUNCTION keytoll.limits_keep(s keytoll.limits) RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
	IF s.expires <= 0 THEN
		DELETE FROM keytoll.limits WHERE key = s.key AND name = s.name AND algorithm = s.algorithm;
		RETURN false;
	END IF;
	UPDATE keytoll.limits SET at = s.at, used = s.used, part = s.part, expires = s.expires
	WHERE key = s.key AND name = s.name AND algorithm = s.algorithm;
	IF FOUND THEN
		RETURN false;
	END IF;
	INSERT INTO keytoll.limits VALUES (s.*) ON CONFLICT (key, name, algorithm)
	DO UPDATE SET at = excluded.at, used = excluded.used, part = excluded.part, expires = excluded.expires;
	RETURN true;
END $$;


-- limits_give_back gives back, of one op at the time now, what the decision has
-- in use beyond what it came to, as package ratelimit's Rule does. A decision
-- that a log holds may also have come to more.
CREATE FUNCTION keytoll.limits_give_back(
	now bigint, decision bytea, state_key bytea, state_name text, state_algorithm text,
	quota bigint, count bigint, period bigint, -- of the limit
	actual bigint, back bigint, ends bigint, rest bigint, since bigint -- of the take
) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	max_count CONSTANT bigint := 9007199254740992;
	s      keytoll.limits;
	e      keytoll.limit_entries;
	moment bigint;
	debt   bigint;
	parts  bigint;
	unpaid numeric;
BEGIN
	SELECT * INTO s FROM keytoll.limits WHERE key = state_key AND name = state_name AND algorithm = state_algorithm;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	IF now >= s.expires THEN -- as good as absent
		IF s.algorithm NOT IN ('sliding_log', 'concurrency') THEN
			s.expires := 0;
			PERFORM keytoll.limits_keep(s);
		END IF;
		RETURN;
	END IF;
	moment := greatest(now, s.at);

	IF s.algorithm IN ('sliding_log', 'concurrency') THEN
		SELECT * INTO e FROM keytoll.limit_entries
		WHERE key = s.key AND name = s.name AND algorithm = s.algorithm AND id = decision AND until > moment;
		IF NOT FOUND OR e.units = actual THEN
			RETURN;
		END IF;
		s.used := s.used - e.units;
		IF actual <= 0 THEN
			DELETE FROM keytoll.limit_entries WHERE key = s.key AND name = s.name AND algorithm = s.algorithm AND id = decision;
			SELECT coalesce(max(until), 0) INTO s.expires FROM keytoll.limit_entries
			WHERE key = s.key AND name = s.name AND algorithm = s.algorithm;
		ELSE
			SELECT least(actual, e.units + max_count - sum(units)) INTO e.units FROM keytoll.limit_entries
			WHERE key = s.key AND name = s.name AND algorithm = s.algorithm AND until > moment;
			UPDATE keytoll.limit_entries SET units = e.units
			WHERE key = s.key AND name = s.name AND algorithm = s.algorithm AND id = decision;
			s.used := s.used + e.units;
		END IF;
		PERFORM keytoll.limits_keep(s);
		RETURN;
	END IF;

	IF back <= 0 OR moment >= ends THEN
		RETURN;
	END IF;
	CASE s.algorithm
	WHEN 'token_bucket' THEN
		-- What time has not yet paid of the cost, of which it was the last part.
		unpaid := least(ends - moment, div(quota::numeric * period + count - 1, count)) * count - rest;
		unpaid := least(unpaid, back::numeric * period);
		debt := abs(s.used) - div(unpaid, period);
		parts := s.part - unpaid % period;
		IF parts < 0 THEN
			debt := debt - 1;
			parts := parts + period;
		END IF;
		IF debt < 0 THEN
			debt := 0;
			parts := 0;
		END IF;
		s.used := CASE WHEN s.used < 0 THEN -debt ELSE debt END;
		s.part := parts;
		IF debt = 0 AND parts = 0 THEN
			s.expires := 0;
		END IF;
	WHEN 'sliding_window' THEN
		CASE ends / period - 2 - s.at / period -- the window of the cost against the state's
		WHEN 0 THEN
			s.used := greatest(s.used - back, 0);
		WHEN -1 THEN
			s.part := greatest(s.part - back, 0);
		ELSE
			RETURN;
		END CASE;
		IF s.used = 0 AND s.part = 0 THEN
			s.expires := 0;
		END IF;
	ELSE -- fixed windows
		IF s.part > since THEN -- counts from a later start: the cost is not in it
			RETURN;
		END IF;
		s.used := greatest(s.used - back, 0);
		IF s.used = 0 THEN
			s.expires := 0;
		END IF;
	END CASE;
	PERFORM keytoll.limits_keep(s);
END $$;


-- limits_apply carries out one Request of package ratelimit, but for a peek.
-- Locks are those of the ops' keys, sorted, so that calls do not deadlock; the
-- time is given, or read from the server's clock once all are held. Decision is
-- the ID of what is taken, or of what was. Relaxed does not wait for the disk.
--
-- The verbs are those of the package, where 'refund' is a settlement that only
-- gives back. Keys, names, algorithms and rules are as limits_decide takes them;
-- for 'settle', costs are what is charged beyond what was taken. Of each op,
-- takes has five numbers, for 'settle', 'refund' and 'release': what the cost
-- came to, what of it is given back, Until and Rest of the take, and the start of
-- its window. A settlement is remembered until the time latest, and for hold.
--
-- Taken is the cost that 'up_to' found, and made the number of new states.
CREATE FUNCTION keytoll.limits_apply(
	verb text, given bigint, relaxed boolean, locks bigint[], decision bytea,
	keys bytea[], names text[], algorithms text[], rules bigint[],
	takes bigint[], latest bigint, hold bigint,
	OUT now bigint, OUT allowed boolean, OUT outside boolean, OUT verdicts bigint[], OUT taken bigint, OUT made int
) LANGUAGE plpgsql SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
	n      int := cardinality(keys);
	lock   bigint;
	d      record; -- what was decided
	s      keytoll.limits;
	o      int;     -- before the numbers of an op in takes
	v      int;     -- and in verdicts
	spends boolean; -- rather than gives back
BEGIN
	allowed := true;
	outside := false;
	made := 0;
	IF relaxed THEN
		PERFORM set_config('synchronous_commit', 'off', true);
	END IF;
	FOREACH lock IN ARRAY locks LOOP
		PERFORM pg_advisory_xact_lock(lock);
	END LOOP;
	now := coalesce(given, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);

	IF verb = 'up_to' THEN -- the greatest cost that passes, from 1
		taken := rules[4];
		FOR i IN 1 .. n LOOP
			rules[9 * i - 5] := 0;
		END LOOP;
		d := keytoll.limits_decide(now, keys, names, algorithms, rules);
		FOR i IN 1 .. n LOOP
			IF rules[9 * i - 4] = 0 THEN
				taken := least(taken, greatest(d.verdicts[10 * i - 7], 1));
			END IF;
		END LOOP;
		FOR i IN 1 .. n LOOP
			rules[9 * i - 5] := taken;
		END LOOP;
	END IF;

	IF verb IN ('take', 'up_to', 'charge', 'settle') THEN
		d := keytoll.limits_decide(now, keys, names, algorithms, rules);
		allowed := d.allowed;
		outside := d.outside;
		verdicts := d.verdicts;
		IF outside THEN
			RETURN;
		END IF;
	END IF;

	IF verb IN ('settle', 'refund') THEN
		latest := greatest(latest, now + hold);
		IF latest <= now THEN
			RETURN; -- time has given everything back
		END IF;
		INSERT INTO keytoll.settled VALUES (decision, latest) ON CONFLICT DO NOTHING;
		IF NOT FOUND THEN
			RETURN;
		END IF;
		DELETE FROM keytoll.settled WHERE id IN (
			SELECT id FROM keytoll.settled WHERE until <= now ORDER BY until LIMIT 4 FOR UPDATE SKIP LOCKED);
	END IF;

	IF verb IN ('take', 'up_to') AND NOT allowed THEN
		RETURN;
	END IF;

	IF verb IN ('take', 'up_to', 'charge', 'settle', 'refund', 'release') THEN
		FOR i IN 1 .. n LOOP
			v := 10 * (i - 1);
			o := 5 * (i - 1);
			s := ROW(keys[i], names[i], algorithms[i], verdicts[v + 1], verdicts[v + 8], verdicts[v + 9], verdicts[v + 10]);
			CASE verb
			WHEN 'refund', 'release' THEN
				spends := false;
			WHEN 'settle' THEN
				spends := rules[9 * i - 5] > 0;
				IF s.algorithm = 'sliding_log' THEN -- while the take counts, its entry grows
					spends := spends AND NOT EXISTS (SELECT FROM keytoll.limit_entries
						WHERE key = s.key AND name = s.name AND algorithm = s.algorithm AND id = decision AND until > s.at);
				END IF;
			ELSE
				CONTINUE WHEN rules[9 * i - 5] = 0 OR verb <> 'charge' AND verdicts[v + 2] <> 0;
				spends := true;
			END CASE;
			IF NOT spends THEN
				PERFORM keytoll.limits_give_back(now, decision, s.key, s.name, s.algorithm,
					rules[9 * i - 8], rules[9 * i - 7], rules[9 * i - 6],
					takes[o + 1], takes[o + 2], takes[o + 3], takes[o + 4], takes[o + 5]);
				CONTINUE;
			END IF;
			IF s.algorithm IN ('sliding_log', 'concurrency') THEN
				DELETE FROM keytoll.limit_entries WHERE key = s.key AND name = s.name AND algorithm = s.algorithm AND until <= s.at;
				IF s.part > 0 THEN
					INSERT INTO keytoll.limit_entries VALUES (s.key, s.name, s.algorithm, decision, s.at + rules[9 * i - 6], s.part);
				END IF;
				s.part := 0;
			END IF;
			IF keytoll.limits_keep(s) THEN
				made := made + 1;
			END IF;
		END LOOP;
	END IF;

	IF verb = 'renew' THEN
		FOR i IN 1 .. n LOOP
			PERFORM FROM keytoll.limits l JOIN keytoll.limit_entries e USING (key, name, algorithm)
			WHERE key = keys[i] AND name = names[i] AND algorithm = algorithms[i] AND id = decision
				AND now < l.expires AND e.until > greatest(now, l.at);
			IF NOT FOUND THEN
				allowed := false;
				RETURN;
			END IF;
		END LOOP;
		FOR i IN 1 .. n LOOP
			UPDATE keytoll.limits SET at = greatest(now, at), expires = greatest(expires, greatest(now, at) + rules[9 * i - 6])
			WHERE key = keys[i] AND name = names[i] AND algorithm = algorithms[i] RETURNING * INTO s;
			UPDATE keytoll.limit_entries SET until = greatest(until, s.at + rules[9 * i - 6])
			WHERE key = keys[i] AND name = names[i] AND algorithm = algorithms[i] AND id = decision;
		END LOOP;
	END IF;

	IF verb = 'reset' THEN
		FOR i IN 1 .. n LOOP
			DELETE FROM keytoll.limits WHERE key = keys[i] AND name = names[i] AND algorithm = algorithms[i];
			DELETE FROM keytoll.limit_entries WHERE key = keys[i] AND name = names[i] AND algorithm = algorithms[i];
		END LOOP;
	END IF;
END $$;


-- limits_sweep deletes those of the given states that have expired, unless
-- somebody decides by them just now, and returns how many.
CREATE FUNCTION keytoll.limits_sweep(given bigint, locks bigint[], keys bytea[], names text[], algorithms text[])
RETURNS int LANGUAGE plpgsql SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
	now   bigint := coalesce(given, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
	swept int := 0;
BEGIN
	FOR i IN 1 .. cardinality(keys) LOOP
		CONTINUE WHEN NOT pg_try_advisory_xact_lock(locks[i]);
		DELETE FROM keytoll.limits WHERE key = keys[i] AND name = names[i] AND algorithm = algorithms[i] AND expires <= now;
		IF FOUND THEN
			swept := swept + 1;
			DELETE FROM keytoll.limit_entries WHERE key = keys[i] AND name = names[i] AND algorithm = algorithms[i];
		END IF;
	END LOOP;
	RETURN swept;
END $$;
