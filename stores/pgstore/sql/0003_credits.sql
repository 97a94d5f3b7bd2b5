-- Step to schema version 3: credits, the rows of package credits. Instants are
-- microseconds since 1970, null where there is none. Amounts are micro-credits.
-- Text is compared byte by byte. Numbers of kinds, buckets and the like are those
-- of package credits and never change meaning.


-- Each constraint is read anew by each statement that writes, so tables have one,
-- in few words.


-- credits_sound says whether amounts can be those of a lot or an account: none
-- below zero, and what came from the two sources is what is somewhere.
CREATE FUNCTION keytoll.credits_sound(
	issued bigint, pending bigint, available bigint, held bigint, leased bigint, consumed bigint, expired bigint, suspense bigint, debt bigint
) RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
	RETURN least(issued, pending, available, held, leased, consumed, expired, suspense, debt) >= 0
		AND issued + debt = pending + available + held + leased + consumed + expired + suspense;
END $$;


-- Accounts. The nine amounts are the sums over the account's lots.
CREATE TABLE keytoll.accounts (
	id          text COLLATE "C" NOT NULL PRIMARY KEY,
	version     bigint NOT NULL, -- of updates that changed anything
	seq         bigint NOT NULL, -- of the last entry
	head        bytea  NOT NULL, -- of the last entry
	last_lot    bigint NOT NULL,
	at          bigint NOT NULL, -- of the last change
	issued      bigint NOT NULL,
	pending     bigint NOT NULL,
	available   bigint NOT NULL,
	held        bigint NOT NULL,
	leased      bigint NOT NULL,
	consumed    bigint NOT NULL,
	expired     bigint NOT NULL,
	suspense    bigint NOT NULL,
	debt        bigint NOT NULL,
	holds       bigint NOT NULL, -- open
	leases      bigint NOT NULL, -- open
	budgets     bigint NOT NULL,
	recalled_at bigint,
	pruned_to   bigint,
	CONSTRAINT accounts_sound CHECK (
		keytoll.credits_sound(issued, pending, available, held, leased, consumed, expired, suspense, debt)
		AND least(version - 1, seq, last_lot, holds, leases, budgets) >= 0 AND length(head) = 32)
) WITH (fillfactor = 50); -- room to change in place


-- Lots: what is left of each grant, and where the rest of it is. Lot 0 is the
-- account's debt.
CREATE TABLE keytoll.lots (
	account      text COLLATE "C" NOT NULL,
	id           bigint   NOT NULL, -- 1, 2, 3, ... of the account
	op           text COLLATE "C" NOT NULL, -- that made it
	schedule     text COLLATE "C" NOT NULL, -- whose grant it is, or empty
	priority     smallint NOT NULL,
	category     smallint NOT NULL,
	operations   text COLLATE "C" NOT NULL, -- what it can be spent on, one a line; empty: everything
	effective_at bigint   NOT NULL,
	expires_at   bigint,
	pruned       bigint   NOT NULL,
	issued       bigint   NOT NULL,
	pending      bigint   NOT NULL,
	available    bigint   NOT NULL,
	held         bigint   NOT NULL,
	leased       bigint   NOT NULL,
	consumed     bigint   NOT NULL,
	expired      bigint   NOT NULL,
	suspense     bigint   NOT NULL,
	debt         bigint   NOT NULL,
	rank         bytea    NOT NULL, -- the place in the burn order, byte by byte
	due          bigint,            -- when it changes by itself
	spendable    boolean  NOT NULL GENERATED ALWAYS AS (available > 0) STORED, -- an index on this lets available change in place
	PRIMARY KEY (account, id),
	CONSTRAINT lots_sound CHECK (
		keytoll.credits_sound(issued, pending, available, held, leased, consumed, expired, suspense, debt)
		AND least(id, pruned, category, 2 - category) >= 0 AND (id = 0 OR debt = 0) AND length(rank) = 28)
) WITH (fillfactor = 70);

CREATE INDEX lots_due ON keytoll.lots (account, due, id) WHERE due IS NOT NULL;
CREATE INDEX lots_burn ON keytoll.lots (account, rank) WHERE spendable;


-- Ops: the records of commands, and the holds and the leases themselves. An op
-- may be of an account that has no row: a debit that was refused.
CREATE TABLE keytoll.ops (
	account        text COLLATE "C" NOT NULL,
	id             text COLLATE "C" NOT NULL,
	kind           smallint NOT NULL,
	hold           smallint NOT NULL, -- 1 open, 2 captured, 3 released, 4 timed out, 5 in suspense
	intent         bytea    NOT NULL,  -- SHA-256 of what was asked for
	at             bigint   NOT NULL,
	amount         bigint   NOT NULL,
	target         text COLLATE "C" NOT NULL, -- the op that it is about, or empty
	parts          text COLLATE "C" NOT NULL, -- lot:amount:captured:released:refunded, separated by semicolons
	charges        text     NOT NULL, -- the budgets
	terms          text     NOT NULL,
	totals         text     NOT NULL, -- of the account, right after
	seq            bigint   NOT NULL, -- the account's last entry, right after
	key            text COLLATE "C" NOT NULL,
	operation      text COLLATE "C" NOT NULL,
	price          text     NOT NULL,
	note           text     NOT NULL,
	denied         smallint NOT NULL, -- why it was refused; 0: it was not
	deadline       bigint,
	settled_at     bigint,
	settled_amount bigint   NOT NULL,
	settled_rest   bigint   NOT NULL,
	settled_seq    bigint   NOT NULL,
	settled_totals text     NOT NULL,
	due            bigint  , -- when it changes by itself
	prunable       bigint  , -- when its id was made
	PRIMARY KEY (account, id),
	CONSTRAINT ops_sound CHECK (
		least(amount, settled_amount, settled_rest, kind - 1, 15 - kind, hold, 5 - hold) >= 0 AND length(intent) = 32
		AND CASE hold WHEN 1 THEN prunable IS NULL WHEN 5 THEN due IS NULL AND prunable IS NULL ELSE due IS NULL END)
) WITH (fillfactor = 85);

CREATE INDEX ops_due ON keytoll.ops (account, due, id) WHERE due IS NOT NULL;
CREATE INDEX ops_open ON keytoll.ops (account, id) WHERE hold IN (1, 5);
CREATE INDEX ops_by_target ON keytoll.ops (account, target, id) WHERE target <> '';
CREATE INDEX ops_prunable ON keytoll.ops (account, prunable, id) WHERE prunable IS NOT NULL;


-- Entries: the journal, each entry chained to the one before.
CREATE TABLE keytoll.entries (
	account     text COLLATE "C" NOT NULL,
	seq         bigint   NOT NULL, -- 1, 2, 3, ... of the account
	at          bigint   NOT NULL,
	kind        smallint NOT NULL,
	from_bucket smallint NOT NULL,
	to_bucket   smallint NOT NULL,
	op          text     NOT NULL,
	lot         bigint   NOT NULL,
	amount      bigint   NOT NULL,
	key         text     NOT NULL,
	operation   text     NOT NULL,
	price       text     NOT NULL,
	hash        bytea    NOT NULL,
	PRIMARY KEY (account, seq),
	CONSTRAINT entries_sound CHECK (least(seq, amount, kind, 16 - kind, from_bucket, 10 - from_bucket, to_bucket, 10 - to_bucket) > 0 AND from_bucket <> to_bucket AND length(hash) = 32)
);


-- Budgets, with what is spent and set aside in the current window.
CREATE TABLE keytoll.budgets (
	account    text COLLATE "C" NOT NULL,
	id         text COLLATE "C" NOT NULL,
	key        text COLLATE "C" NOT NULL,
	operation  text COLLATE "C" NOT NULL,
	amount     bigint   NOT NULL,
	every      smallint NOT NULL, -- 0 for life, 1 day, 2 week, 3 month, 4 year
	zone       text     NOT NULL,
	soft       boolean  NOT NULL,
	thresholds text     NOT NULL, -- percents, separated by commas
	begins     bigint,            -- the current window
	ends       bigint,            -- exclusive
	base       bigint   NOT NULL,
	used       bigint   NOT NULL,
	held       bigint   NOT NULL,
	fired      bigint   NOT NULL, -- bit i: threshold i was reached in the window
	PRIMARY KEY (account, id),
	CONSTRAINT budgets_sound CHECK (least(amount, base, used, held, fired, every, 4 - every) >= 0)
) WITH (fillfactor = 70);

-- As one text, which no plan can take for the primary key's first column.
CREATE INDEX budgets_by_scope ON keytoll.budgets ((account || E'\n' || key || E'\n' || operation));


-- Schedules: grants that come again and again.
CREATE TABLE keytoll.schedules (
	account    text COLLATE "C" NOT NULL,
	id         text COLLATE "C" NOT NULL,
	amount     bigint   NOT NULL,
	unit       smallint NOT NULL, -- 1 hours, 2 days, 3 weeks, 4 months, 5 years
	every      bigint   NOT NULL,
	anchor     bigint   NOT NULL, -- when period 0 begins
	zone       text     NOT NULL,
	until      bigint,
	catch_up   smallint NOT NULL, -- 0 all, 1 latest, 2 none
	lifetime   bigint   NOT NULL, -- nanoseconds; 0: until the next period, -1: without an end
	rollover   bigint   NOT NULL,
	priority   smallint NOT NULL,
	category   smallint NOT NULL,
	operations text COLLATE "C" NOT NULL,
	next       bigint   NOT NULL, -- the first period that was not granted yet
	next_at    bigint,            -- when that begins
	PRIMARY KEY (account, id),
	CONSTRAINT schedules_sound CHECK (least(amount, every, unit, 6 - unit, rollover + 1) > 0)
);

CREATE INDEX schedules_due ON keytoll.schedules (account, next_at, id) WHERE next_at IS NOT NULL;


-- What was written stays written; an op goes when its id is too old to come again;
-- and a hold ends once, but for a lease that leaves suspense, and a late capture.
CREATE TRIGGER entries_stay BEFORE UPDATE OR DELETE ON keytoll.entries FOR EACH ROW EXECUTE FUNCTION keytoll.refuse();
CREATE TRIGGER entries_last BEFORE TRUNCATE ON keytoll.entries FOR EACH STATEMENT EXECUTE FUNCTION keytoll.refuse();
CREATE TRIGGER accounts_stay BEFORE DELETE ON keytoll.accounts FOR EACH ROW EXECUTE FUNCTION keytoll.refuse();
CREATE TRIGGER lots_stay BEFORE DELETE ON keytoll.lots FOR EACH ROW EXECUTE FUNCTION keytoll.refuse();
CREATE TRIGGER ops_stay BEFORE DELETE ON keytoll.ops FOR EACH ROW WHEN (old.prunable IS NULL) EXECUTE FUNCTION keytoll.refuse();
CREATE TRIGGER ops_end_once BEFORE UPDATE ON keytoll.ops FOR EACH ROW
	WHEN (old.hold <> new.hold AND old.hold <> 1 AND (old.hold, new.hold) NOT IN ((5, 3), (4, 2)))
	EXECUTE FUNCTION keytoll.refuse();


-- credits_lock takes the rows of accounts, in the order given, which is the one
-- that all follow: OFFSET 0 keeps that order, whatever the plan. What others
-- committed before can be read by the statements that come after it, and by no
-- part of it: hence it reads nothing. It returns how many there are: one that is
-- read afterwards and was not there yet is not locked.
CREATE FUNCTION keytoll.credits_lock(needed text[]) RETURNS bigint LANGUAGE plpgsql
	SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
	RETURN (SELECT count(*) FROM unnest(needed) AS need (account)
		CROSS JOIN LATERAL (SELECT FROM keytoll.accounts a WHERE a.id = need.account OFFSET 0 FOR NO KEY UPDATE) found);
END $$;


-- credits_read returns what the Needs of package credits ask for, as of the one
-- moment at which the statement that calls it began. Rows have a kind: 0 the time,
-- and the types of the tables; 1 an account, 2 an op, 3 a lot, 4 a budget, 5 a
-- schedule; 10 more where it comes because it is due: these come in order, and one
-- more than the limit where there are more. A row may come more than once. Those of
-- accounts and lots come with their place, where credits_write finds them: under
-- the locks it stays the same until then.
--
-- Plans are made once and kept, also when the tables have grown: so the settings
-- forbid what is quick in small tables alone, OFFSET 0 keeps the search for named
-- rows apart from joins, and where several indexes could serve, the order that is
-- asked for is that of the one that is meant.
CREATE FUNCTION keytoll.credits_read(
	given bigint, -- the time; null: the server's
	needed text[], untils bigint[], limits bigint[], prunables bigint[], -- of each need
	op_accounts text[], op_ids text[],
	target_accounts text[], target_ids text[],
	scope_accounts text[], scope_keys text[], scope_operations text[],
	budget_accounts text[], budget_ids text[],
	schedule_accounts text[], schedule_ids text[],
	spend_accounts text[], spend_operations text[], spend_amounts bigint[],
	list_accounts text[], list_rows bigint[], list_afters text[], list_lots bigint[], list_targets text[], list_limits bigint[]
) RETURNS TABLE (kind smallint, content bytea, place tid) LANGUAGE plpgsql STABLE
	SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
	SET enable_sort = off AS $$
#variable_conflict use_column
DECLARE
	now      bigint := coalesce(given, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
	owing    text[] := '{}';
	budgeted boolean := false;
	some_ending   boolean := false; -- whether anything is due, which mostly nothing is
	some_turning  boolean := false;
	some_granting boolean := false;
	ending   keytoll.ops[] := '{}'; -- which are due
	others   keytoll.ops[] := '{}'; -- that come with their lots and budgets, too
	one      record;
	want     record;
	found    record;
	rest     bigint;
BEGIN
	kind := 0;
	content := int8send(now) || oidsend(pg_typeof(NULL::keytoll.accounts)) || oidsend(pg_typeof(NULL::keytoll.ops))
		|| oidsend(pg_typeof(NULL::keytoll.lots)) || oidsend(pg_typeof(NULL::keytoll.budgets))
		|| oidsend(pg_typeof(NULL::keytoll.schedules)) || oidsend(pg_typeof(NULL::keytoll.entries));
	RETURN NEXT;

	kind := 1;
	FOR one IN
		SELECT record_send(a.a) AS content, a.place, (a.a).id, (a.a).debt, (a.a).budgets,
			(SELECT true FROM keytoll.ops o WHERE o.account = need.account AND o.due <= greatest(need.until, now) ORDER BY o.due LIMIT 1) AS ending,
			(SELECT true FROM keytoll.lots l WHERE l.account = need.account AND l.due <= greatest(need.until, now) ORDER BY l.due LIMIT 1) AS turning,
			(SELECT true FROM keytoll.schedules s WHERE s.account = need.account AND s.next_at <= greatest(need.until, now) ORDER BY s.next_at LIMIT 1) AS granting
		FROM unnest(needed, untils) AS need (account, until)
		CROSS JOIN LATERAL (SELECT a, a.ctid AS place FROM keytoll.accounts a WHERE a.id = need.account OFFSET 0) a
	LOOP
		content := one.content;
		place := one.place;
		RETURN NEXT;
		budgeted := budgeted OR one.budgets > 0;
		some_ending := some_ending OR one.ending IS NOT NULL;
		some_turning := some_turning OR one.turning IS NOT NULL;
		some_granting := some_granting OR one.granting IS NOT NULL;
		IF one.debt > 0 THEN
			owing := owing || one.id;
		END IF;
	END LOOP;

	IF some_ending THEN
		ending := ARRAY(
			SELECT due.o FROM unnest(needed, untils, limits) AS need (account, until, most)
			CROSS JOIN LATERAL (
				SELECT o FROM keytoll.ops o WHERE o.account = need.account AND o.due <= greatest(need.until, now)
				ORDER BY o.due, o.id LIMIT nullif(need.most, 0) + 1
			) due);
		RETURN QUERY SELECT 12::smallint, record_send(o), NULL::tid FROM unnest(ending) o;
	END IF;
	IF cardinality(target_ids) > 0 THEN
		others := ARRAY(
			SELECT target.o FROM unnest(target_accounts, target_ids) AS given (account, id)
			CROSS JOIN LATERAL (SELECT o FROM keytoll.ops o WHERE o.account = given.account AND o.id = given.id OFFSET 0) target);
	END IF;
	IF array_remove(prunables, NULL) <> '{}' THEN
		others := others || ARRAY(
			SELECT old.o FROM unnest(needed, prunables, limits) AS need (account, prunable, most)
			CROSS JOIN LATERAL (
				SELECT o FROM keytoll.ops o WHERE o.account = need.account AND o.prunable <= need.prunable
				ORDER BY o.prunable, o.id LIMIT nullif(need.most, 0)
			) old);
	END IF;
	IF cardinality(others) > 0 THEN
		RETURN QUERY SELECT 2::smallint, record_send(o), NULL::tid FROM unnest(others) o;
		ending := ending || others;
	END IF;
	IF cardinality(ending) > 0 THEN
		RETURN QUERY SELECT 3::smallint, record_send(lot.l), lot.place FROM (
				SELECT DISTINCT o.account, split_part(part, ':', 1)::bigint AS id FROM unnest(ending) o, unnest(string_to_array(o.parts, ';')) part
			) named CROSS JOIN LATERAL (SELECT l, l.ctid AS place FROM keytoll.lots l WHERE l.account = named.account AND l.id = named.id OFFSET 0) lot;
		IF budgeted THEN
			RETURN QUERY SELECT 4::smallint, record_send(budget.b), NULL::tid FROM (
					SELECT DISTINCT o.account, charge ->> 'b' AS id
					FROM unnest(ending) o, json_array_elements(CASE o.charges WHEN '' THEN '[]' ELSE o.charges END::json) charge
				) named CROSS JOIN LATERAL (SELECT b FROM keytoll.budgets b WHERE b.account = named.account AND b.id = named.id OFFSET 0) budget;
		END IF;
	END IF;
	IF cardinality(op_ids) > 0 THEN
		RETURN QUERY SELECT 2::smallint, record_send(op.o), NULL::tid FROM unnest(op_accounts, op_ids) AS given (account, id)
			CROSS JOIN LATERAL (SELECT o FROM keytoll.ops o WHERE o.account = given.account AND o.id = given.id OFFSET 0) op;
	END IF;

	IF some_turning THEN
		RETURN QUERY SELECT 13::smallint, record_send(due.l), due.place FROM unnest(needed, untils, limits) AS need (account, until, most)
			CROSS JOIN LATERAL (
				SELECT l, l.ctid AS place FROM keytoll.lots l WHERE l.account = need.account AND l.due <= greatest(need.until, now)
				ORDER BY l.due, l.id LIMIT nullif(need.most, 0) + 1
			) due;
		RETURN QUERY SELECT 5::smallint, record_send(schedule.s), NULL::tid FROM (
				SELECT DISTINCT need.account, due.schedule FROM unnest(needed, untils, limits) AS need (account, until, most)
				CROSS JOIN LATERAL (
					SELECT l.schedule FROM keytoll.lots l WHERE l.account = need.account AND l.due <= greatest(need.until, now)
					ORDER BY l.due, l.id LIMIT nullif(need.most, 0) + 1
				) due WHERE due.schedule <> ''
			) named CROSS JOIN LATERAL (SELECT s FROM keytoll.schedules s WHERE s.account = named.account AND s.id = named.schedule OFFSET 0) schedule;
	END IF;
	IF cardinality(owing) > 0 THEN
		RETURN QUERY SELECT 3::smallint, record_send(debt.l), debt.place FROM unnest(owing) owes
			CROSS JOIN LATERAL (SELECT l, l.ctid AS place FROM keytoll.lots l WHERE l.account = owes AND l.id = 0 OFFSET 0) debt;
	END IF;
	kind := 3;
	FOR want IN
		SELECT spend.*, first.* FROM unnest(spend_accounts, spend_operations, spend_amounts) AS spend (account, operation, amount)
		CROSS JOIN LATERAL (
			SELECT record_send(l) AS content, l.ctid AS place, l.available, l.rank FROM keytoll.lots l
			WHERE spend.amount > 0 AND l.account = spend.account AND l.spendable AND (l.due IS NULL OR l.due > now)
				AND (l.operations = '' OR spend.operation <> '' AND spend.operation = ANY (string_to_array(l.operations, E'\n')))
			ORDER BY l.rank LIMIT 1
		) first
	LOOP
		content := want.content;
		place := want.place;
		RETURN NEXT;
		rest := want.amount - want.available;
		IF rest > 0 THEN
			FOR found IN
				SELECT record_send(l) AS content, l.ctid AS place, l.available FROM keytoll.lots l
				WHERE l.account = want.account AND l.spendable AND l.rank > want.rank AND (l.due IS NULL OR l.due > now)
					AND (l.operations = '' OR want.operation <> '' AND want.operation = ANY (string_to_array(l.operations, E'\n')))
				ORDER BY l.rank
			LOOP
				content := found.content;
				place := found.place;
				RETURN NEXT;
				rest := rest - found.available;
				EXIT WHEN rest <= 0;
			END LOOP;
		END IF;
	END LOOP;

	IF budgeted AND cardinality(scope_keys) > 0 THEN
		RETURN QUERY SELECT 4::smallint, record_send(budget.b), NULL::tid
			FROM unnest(scope_accounts, scope_keys, scope_operations) AS scope (account, key, operation)
			CROSS JOIN LATERAL (
				SELECT b FROM keytoll.budgets b
				WHERE b.account || E'\n' || b.key || E'\n' || b.operation = scope.account || E'\n' || scope.key || E'\n' || scope.operation
				OFFSET 0
			) budget;
	END IF;
	IF cardinality(budget_ids) > 0 THEN
		RETURN QUERY SELECT 4::smallint, record_send(budget.b), NULL::tid FROM unnest(budget_accounts, budget_ids) AS given (account, id)
			CROSS JOIN LATERAL (SELECT b FROM keytoll.budgets b WHERE b.account = given.account AND b.id = given.id OFFSET 0) budget;
	END IF;
	IF some_granting THEN
		RETURN QUERY SELECT 15::smallint, record_send(due.s), NULL::tid FROM unnest(needed, untils, limits) AS need (account, until, most)
			CROSS JOIN LATERAL (
				SELECT s FROM keytoll.schedules s WHERE s.account = need.account AND s.next_at <= greatest(need.until, now)
				ORDER BY s.next_at, s.id LIMIT nullif(need.most, 0) + 1
			) due;
	END IF;
	IF cardinality(schedule_ids) > 0 THEN
		RETURN QUERY SELECT 5::smallint, record_send(schedule.s), NULL::tid FROM unnest(schedule_accounts, schedule_ids) AS given (account, id)
			CROSS JOIN LATERAL (SELECT s FROM keytoll.schedules s WHERE s.account = given.account AND s.id = given.id OFFSET 0) schedule;
	END IF;

	FOR want IN SELECT * FROM unnest(list_accounts, list_rows, list_afters, list_lots, list_targets, list_limits)
		AS list (account, rows, after, lot, target, most)
	LOOP
		CASE want.rows
		WHEN 1 THEN
			RETURN QUERY SELECT 3::smallint, record_send(l), l.ctid FROM keytoll.lots l
				WHERE l.account = want.account AND l.id > want.lot ORDER BY l.id LIMIT want.most;
		WHEN 2 THEN
			RETURN QUERY SELECT 2::smallint, record_send(o), NULL::tid FROM keytoll.ops o
				WHERE o.account = want.account AND o.id > want.after ORDER BY o.id LIMIT want.most;
		WHEN 3 THEN
			RETURN QUERY SELECT 2::smallint, record_send(o), NULL::tid FROM keytoll.ops o
				WHERE o.account = want.account AND o.id > want.after AND o.hold IN (1, 5) ORDER BY o.id LIMIT want.most;
		WHEN 4 THEN
			RETURN QUERY SELECT 2::smallint, record_send(o), NULL::tid FROM keytoll.ops o
				WHERE o.account = want.account AND o.id > want.after AND o.target = want.target AND o.target <> '' ORDER BY o.id LIMIT want.most;
		WHEN 5 THEN
			RETURN QUERY SELECT 4::smallint, record_send(b), NULL::tid FROM keytoll.budgets b
				WHERE b.account = want.account AND b.id > want.after ORDER BY b.id LIMIT want.most;
		WHEN 6 THEN
			RETURN QUERY SELECT 5::smallint, record_send(s), NULL::tid FROM keytoll.schedules s
				WHERE s.account = want.account AND s.id > want.after ORDER BY s.id LIMIT want.most;
		END CASE;
	END LOOP;
END $$;


-- credits_write writes what an update changed. The rows of accounts were locked;
-- that one is not as it was read, or that a new one is there already, is an error.
-- Rows that came with their place are found there, and compared in words that no
-- index can serve.
CREATE FUNCTION keytoll.credits_write(
	new_accounts keytoll.accounts[], accounts keytoll.accounts[], account_places tid[],
	new_ops keytoll.ops[], ops keytoll.ops[], gone_ops keytoll.ops[],
	new_lots keytoll.lots[], lots keytoll.lots[], lot_places tid[],
	new_budgets keytoll.budgets[], budgets keytoll.budgets[], gone_budgets keytoll.budgets[],
	new_schedules keytoll.schedules[], schedules keytoll.schedules[], gone_schedules keytoll.schedules[],
	new_entries keytoll.entries[]
) RETURNS void LANGUAGE plpgsql
	SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
	n    bigint;
	lost bigint := 0;
BEGIN
	IF cardinality(new_accounts) > 0 THEN -- first: it is here that two who make the same account meet
		INSERT INTO keytoll.accounts SELECT * FROM unnest(new_accounts);
	END IF;
	IF cardinality(accounts) > 0 THEN
		UPDATE keytoll.accounts stored SET
			version = given.version, seq = given.seq, head = given.head, last_lot = given.last_lot, at = given.at,
			issued = given.issued, pending = given.pending, available = given.available, held = given.held,
			leased = given.leased, consumed = given.consumed, expired = given.expired, suspense = given.suspense,
			debt = given.debt, holds = given.holds, leases = given.leases, budgets = given.budgets,
			recalled_at = given.recalled_at, pruned_to = given.pruned_to
		FROM unnest(accounts, account_places) AS given (
			id, version, seq, head, last_lot, at, issued, pending, available, held, leased, consumed, expired, suspense, debt,
			holds, leases, budgets, recalled_at, pruned_to, place)
		WHERE stored.ctid = given.place AND stored.id IS NOT DISTINCT FROM given.id AND stored.version = given.version - 1;
		GET DIAGNOSTICS n = ROW_COUNT;
		lost := lost + cardinality(accounts) - n;
	END IF;

	IF cardinality(new_ops) > 0 THEN
		INSERT INTO keytoll.ops SELECT * FROM unnest(new_ops);
	END IF;
	IF cardinality(ops) > 0 THEN
		UPDATE keytoll.ops stored SET
			hold = given.hold, parts = given.parts, charges = given.charges, terms = given.terms, deadline = given.deadline,
			settled_at = given.settled_at, settled_amount = given.settled_amount, settled_rest = given.settled_rest,
			settled_seq = given.settled_seq, settled_totals = given.settled_totals, due = given.due, prunable = given.prunable
		FROM unnest(ops) given CROSS JOIN LATERAL (SELECT x.ctid AS place FROM keytoll.ops x WHERE x.account = given.account AND x.id = given.id OFFSET 0) found
		WHERE stored.ctid = found.place;
		GET DIAGNOSTICS n = ROW_COUNT;
		lost := lost + cardinality(ops) - n;
	END IF;
	IF cardinality(gone_ops) > 0 THEN
		DELETE FROM keytoll.ops stored USING unnest(gone_ops) given
			CROSS JOIN LATERAL (SELECT x.ctid AS place FROM keytoll.ops x WHERE x.account = given.account AND x.id = given.id OFFSET 0) found
		WHERE stored.ctid = found.place;
		GET DIAGNOSTICS n = ROW_COUNT;
		lost := lost + cardinality(gone_ops) - n;
	END IF;

	IF cardinality(new_lots) > 0 THEN
		INSERT INTO keytoll.lots (
			account, id, op, schedule, priority, category, operations, effective_at, expires_at, pruned,
			issued, pending, available, held, leased, consumed, expired, suspense, debt, rank, due)
		SELECT
			account, id, op, schedule, priority, category, operations, effective_at, expires_at, pruned,
			issued, pending, available, held, leased, consumed, expired, suspense, debt, rank, due
		FROM unnest(new_lots);
	END IF;
	IF cardinality(lots) > 0 THEN
		UPDATE keytoll.lots stored SET
			priority = given.priority, category = given.category, operations = given.operations,
			expires_at = given.expires_at, pruned = given.pruned,
			issued = given.issued, pending = given.pending, available = given.available, held = given.held,
			leased = given.leased, consumed = given.consumed, expired = given.expired, suspense = given.suspense,
			debt = given.debt, rank = given.rank, due = given.due
		FROM unnest(lots, lot_places) AS given (
			account, id, op, schedule, priority, category, operations, effective_at, expires_at, pruned, issued, pending, available, held,
			leased, consumed, expired, suspense, debt, rank, due, spendable, place)
		WHERE stored.ctid = given.place AND stored.account IS NOT DISTINCT FROM given.account AND stored.id IS NOT DISTINCT FROM given.id;
		GET DIAGNOSTICS n = ROW_COUNT;
		lost := lost + cardinality(lots) - n;
	END IF;

	IF cardinality(gone_budgets) > 0 THEN
		DELETE FROM keytoll.budgets stored USING unnest(gone_budgets) given
			CROSS JOIN LATERAL (SELECT x.ctid AS place FROM keytoll.budgets x WHERE x.account = given.account AND x.id = given.id OFFSET 0) found
		WHERE stored.ctid = found.place;
		GET DIAGNOSTICS n = ROW_COUNT;
		lost := lost + cardinality(gone_budgets) - n;
	END IF;
	IF cardinality(new_budgets) > 0 THEN
		INSERT INTO keytoll.budgets SELECT * FROM unnest(new_budgets);
	END IF;
	IF cardinality(budgets) > 0 THEN
		UPDATE keytoll.budgets stored SET
			key = given.key, operation = given.operation, amount = given.amount, every = given.every, zone = given.zone,
			soft = given.soft, thresholds = given.thresholds, begins = given.begins, ends = given.ends,
			base = given.base, used = given.used, held = given.held, fired = given.fired
		FROM unnest(budgets) given CROSS JOIN LATERAL (SELECT x.ctid AS place FROM keytoll.budgets x WHERE x.account = given.account AND x.id = given.id OFFSET 0) found
		WHERE stored.ctid = found.place;
		GET DIAGNOSTICS n = ROW_COUNT;
		lost := lost + cardinality(budgets) - n;
	END IF;

	IF cardinality(gone_schedules) > 0 THEN
		DELETE FROM keytoll.schedules stored USING unnest(gone_schedules) given
			CROSS JOIN LATERAL (SELECT x.ctid AS place FROM keytoll.schedules x WHERE x.account = given.account AND x.id = given.id OFFSET 0) found
		WHERE stored.ctid = found.place;
		GET DIAGNOSTICS n = ROW_COUNT;
		lost := lost + cardinality(gone_schedules) - n;
	END IF;
	IF cardinality(new_schedules) > 0 THEN
		INSERT INTO keytoll.schedules SELECT * FROM unnest(new_schedules);
	END IF;
	IF cardinality(schedules) > 0 THEN
		UPDATE keytoll.schedules stored SET
			amount = given.amount, unit = given.unit, every = given.every, anchor = given.anchor, zone = given.zone,
			until = given.until, catch_up = given.catch_up, lifetime = given.lifetime, rollover = given.rollover,
			priority = given.priority, category = given.category, operations = given.operations, next = given.next,
			next_at = given.next_at
		FROM unnest(schedules) given CROSS JOIN LATERAL (SELECT x.ctid AS place FROM keytoll.schedules x WHERE x.account = given.account AND x.id = given.id OFFSET 0) found
		WHERE stored.ctid = found.place;
		GET DIAGNOSTICS n = ROW_COUNT;
		lost := lost + cardinality(schedules) - n;
	END IF;

	IF cardinality(new_entries) > 0 THEN
		INSERT INTO keytoll.entries SELECT * FROM unnest(new_entries);
	END IF;
	IF lost > 0 THEN
		RAISE '% rows of credits are not as they were read', lost USING ERRCODE = 'integrity_constraint_violation';
	END IF;
END $$;
