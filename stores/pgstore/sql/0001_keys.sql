-- Schema version 1. A null instant means never. Text is compared byte by byte.
-- Where the tables live in another schema than keytoll, its name stands in the
-- place of this one.

-- The version of this schema, in the one row that the table can hold.
CREATE TABLE keytoll.schema_version (
	id      int PRIMARY KEY CHECK (id = 1),
	version int NOT NULL CHECK (version > 0)
);


-- Owners of keys: what was decided about all keys of each, and the end of its
-- chain of events. Whoever adds a key or an event holds the row's lock.
CREATE TABLE keytoll.owners (
	id               text COLLATE "C" PRIMARY KEY,
	epoch            bigint      NOT NULL DEFAULT 1 CHECK (epoch >= 1), -- keys of an earlier one are revoked
	revoked_reason   text        NOT NULL DEFAULT '',
	suspended        boolean     NOT NULL DEFAULT false,
	suspended_reason text        NOT NULL DEFAULT '',
	changed_at       timestamptz CHECK (isfinite(changed_at)),
	version          bigint      NOT NULL DEFAULT 0 CHECK (version >= 0), -- of the decisions
	events           bigint      NOT NULL DEFAULT 0 CHECK (events >= 0),  -- how many there are
	head             bytea       NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (length(head) = 32), -- the sum of the last
	CHECK ((events = 0) = (head = decode(repeat('00', 32), 'hex')))
) WITH (fillfactor = 70); -- room to change rows in place


-- API keys: what package apikey calls a Record.
CREATE TABLE keytoll.keys (
	id               text COLLATE "C" NOT NULL,
	handle           text COLLATE "C" NOT NULL, -- finds the key, proves nothing
	digest_version   bigint      NOT NULL CHECK (digest_version BETWEEN 0 AND 4294967295),
	digest           bytea       NOT NULL CHECK (length(digest) = 32),
	imported_scheme  text        NOT NULL,
	imported_encoded text        NOT NULL,
	label            text COLLATE "C" CHECK (label <> ''), -- null when it need not be the owner's only one
	epoch            bigint      NOT NULL CHECK (epoch >= 1),
	intent           bytea       CHECK (length(intent) = 32),
	sealed           bytea,
	reminded_expiry  bigint      NOT NULL, -- microseconds
	reminded_age     bigint      NOT NULL, -- microseconds
	owner            text COLLATE "C" NOT NULL,
	name             text        NOT NULL,
	environment      text COLLATE "C" NOT NULL,
	scopes           text        NOT NULL, -- separated by spaces
	metadata         json        NOT NULL CHECK (json_typeof(metadata) = 'object'),
	settings         json        NOT NULL CHECK (json_typeof(settings) = 'object'),
	networks         text        NOT NULL, -- CIDRs separated by spaces
	created_at       timestamptz NOT NULL CHECK (isfinite(created_at)),
	secret_at        timestamptz NOT NULL CHECK (isfinite(secret_at)),
	expires_at       timestamptz CHECK (isfinite(expires_at)),
	last_used_at     timestamptz CHECK (isfinite(last_used_at)),
	state            text COLLATE "C" NOT NULL CHECK (state IN ('active', 'disabled', 'revoked', 'deleted')),
	revoked_reason   text        NOT NULL,
	start            text        NOT NULL, -- what may be shown of the key's text
	last4            text        NOT NULL,
	meter            text        NOT NULL,
	predecessor      text        NOT NULL,
	successor        text        NOT NULL,
	version          bigint      NOT NULL CHECK (version >= 1),
	CONSTRAINT keys_id PRIMARY KEY (id),
	CONSTRAINT keys_handle UNIQUE (handle),
	CONSTRAINT keys_label UNIQUE (owner, epoch, label) DEFERRABLE, -- so that two keys can change names
	CONSTRAINT keys_owner FOREIGN KEY (owner) REFERENCES keytoll.owners (id)
) WITH (fillfactor = 85); -- room to note uses in place

-- Listings: newest first, of everybody and of one owner, and soonest to expire
-- first.
CREATE INDEX keys_by_age ON keytoll.keys (created_at, id);
CREATE INDEX keys_by_owner ON keytoll.keys (owner, created_at, id);
CREATE INDEX keys_by_expiry ON keytoll.keys (expires_at, id) WHERE expires_at IS NOT NULL;
CREATE INDEX keys_by_owner_expiry ON keytoll.keys (owner, expires_at, id) WHERE expires_at IS NOT NULL;
-- What may count towards a cap.
CREATE INDEX keys_counted ON keytoll.keys (owner, epoch) WHERE successor = '' AND state <> 'deleted';


-- Events: what happened to an owner's keys, each chained to the one before.
CREATE TABLE keytoll.events (
	owner    text COLLATE "C" NOT NULL REFERENCES keytoll.owners (id),
	seq      bigint      NOT NULL CHECK (seq >= 1), -- 1, 2, 3, ... of the owner
	at       timestamptz NOT NULL CHECK (isfinite(at)),
	kind     text COLLATE "C" NOT NULL,
	key      text COLLATE "C" NOT NULL, -- the key's ID, if it concerns one
	actor    text        NOT NULL,
	actor_ip text        NOT NULL,
	changes  json        NOT NULL CHECK (json_typeof(changes) = 'array'),
	note     text        NOT NULL,
	count    bigint      NOT NULL,
	sum      bytea       NOT NULL CHECK (length(sum) = 32), -- SHA-256 of the sum before, of seq in 8 bytes, and of the event's digest
	PRIMARY KEY (owner, seq)
);

CREATE INDEX events_by_age ON keytoll.events (at, owner, seq);
CREATE INDEX events_by_key ON keytoll.events (owner, key, seq) WHERE key <> '';

-- What was written stays written.
CREATE FUNCTION keytoll.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE 'what is in % is never changed or deleted', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER events_stay BEFORE UPDATE OR DELETE ON keytoll.events FOR EACH ROW EXECUTE FUNCTION keytoll.refuse();
CREATE TRIGGER events_last BEFORE TRUNCATE ON keytoll.events FOR EACH STATEMENT EXECUTE FUNCTION keytoll.refuse();


-- apply makes one Change of package apikey come true, or raises why it may not:
-- KT404 no such key, KT409 changed by somebody else, KT429 more keys than the cap
-- allows, or a broken constraint. Every lock is taken in one order, owners before
-- keys and both by ID, for which lock_owners and the records come sorted. Of the
-- records, the first so many are updates and the others inserts.
CREATE FUNCTION keytoll.apply(
	lock_owners text[],

	owner_id text, owner_epoch bigint, owner_revoked_reason text, owner_suspended boolean,
	owner_suspended_reason text, owner_changed_at timestamptz, owner_version bigint,

	updates int,
	ids text[], handles text[], digest_versions bigint[], digests bytea[], imported_schemes text[], imported_encodeds text[],
	labels text[], epochs bigint[], intents bytea[], sealeds bytea[], reminded_expiries bigint[], reminded_ages bigint[],
	key_owners text[], names text[], environments text[], scopess text[], metadatas text[], settingss text[], networkss text[],
	created_ats timestamptz[], secret_ats timestamptz[], expires_ats timestamptz[], last_used_ats timestamptz[],
	states text[], revoked_reasons text[], starts text[], last4s text[], meters text[], predecessors text[], successors text[],
	versions bigint[],

	cap_owner text, cap_most bigint, cap_states text[], cap_live_at timestamptz,

	event_owners text[], event_ats timestamptz[], event_kinds text[], event_keys text[], event_actors text[],
	event_ips text[], event_changes text[], event_notes text[], event_counts bigint[], event_bodies bytea[],

	channel text, notices text[]
) RETURNS void LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
	r     record;
	o     keytoll.owners;
	n     bigint;
	since bigint;
	note  text;
BEGIN
	IF cardinality(lock_owners) > 0 THEN
		PERFORM FROM keytoll.owners WHERE id = ANY (lock_owners) ORDER BY id FOR NO KEY UPDATE;
		GET DIAGNOSTICS n = ROW_COUNT;
		IF n < cardinality(lock_owners) THEN
			INSERT INTO keytoll.owners (id) SELECT unnest(lock_owners) ON CONFLICT DO NOTHING;
			PERFORM FROM keytoll.owners WHERE id = ANY (lock_owners) ORDER BY id FOR NO KEY UPDATE;
		END IF;
	END IF;

	IF owner_id IS NOT NULL THEN
		UPDATE keytoll.owners SET
			epoch = owner_epoch, revoked_reason = owner_revoked_reason, suspended = owner_suspended,
			suspended_reason = owner_suspended_reason, changed_at = owner_changed_at, version = owner_version
		WHERE id = owner_id AND version = owner_version - 1;
		IF NOT FOUND THEN
			RAISE 'the owner was changed by somebody else' USING ERRCODE = 'KT409';
		END IF;
	END IF;

	IF updates > 1 THEN
		SET CONSTRAINTS keytoll.keys_label DEFERRED;
	END IF;
	FOR r IN
		SELECT * FROM unnest(
			ids, handles, digest_versions, digests, imported_schemes, imported_encodeds, labels, epochs, intents, sealeds,
			reminded_expiries, reminded_ages, key_owners, names, environments, scopess, metadatas, settingss, networkss,
			created_ats, secret_ats, expires_ats, last_used_ats, states, revoked_reasons, starts, last4s, meters,
			predecessors, successors, versions
		) WITH ORDINALITY AS given (
			id, handle, digest_version, digest, imported_scheme, imported_encoded, label, epoch, intent, sealed,
			reminded_expiry, reminded_age, owner, name, environment, scopes, metadata, settings, networks,
			created_at, secret_at, expires_at, last_used_at, state, revoked_reason, start, last4, meter,
			predecessor, successor, version, place)
	LOOP
		IF r.place > updates THEN
			INSERT INTO keytoll.keys VALUES (
				r.id, r.handle, r.digest_version, r.digest, r.imported_scheme, r.imported_encoded, r.label,
				coalesce(nullif(r.epoch, 0), (SELECT epoch FROM keytoll.owners WHERE id = r.owner)), r.intent, r.sealed,
				r.reminded_expiry, r.reminded_age, r.owner, r.name, r.environment, r.scopes, r.metadata::json, r.settings::json,
				r.networks, r.created_at, r.secret_at, r.expires_at, r.last_used_at, r.state, r.revoked_reason, r.start, r.last4,
				r.meter, r.predecessor, r.successor, r.version);
			CONTINUE;
		END IF;
		-- Not last_used_at, which touch moves, and what never changes.
		UPDATE keytoll.keys SET
			handle = r.handle, digest_version = r.digest_version, digest = r.digest,
			imported_scheme = r.imported_scheme, imported_encoded = r.imported_encoded, label = r.label,
			intent = r.intent, sealed = r.sealed, reminded_expiry = r.reminded_expiry, reminded_age = r.reminded_age,
			name = r.name, environment = r.environment, scopes = r.scopes, metadata = r.metadata::json,
			settings = r.settings::json, networks = r.networks, secret_at = r.secret_at, expires_at = r.expires_at,
			state = r.state, revoked_reason = r.revoked_reason, start = r.start, last4 = r.last4, meter = r.meter,
			predecessor = r.predecessor, successor = r.successor, version = r.version
		WHERE id = r.id AND version = r.version - 1;
		IF NOT FOUND THEN
			PERFORM FROM keytoll.keys WHERE id = r.id;
			IF FOUND THEN
				RAISE 'the key was changed by somebody else' USING ERRCODE = 'KT409';
			END IF;
			RAISE 'there is no such key' USING ERRCODE = 'KT404';
		END IF;
	END LOOP;
	IF updates > 1 THEN
		SET CONSTRAINTS keytoll.keys_label IMMEDIATE;
	END IF;

	IF cap_owner IS NOT NULL THEN
		-- Under the owner's lock this statement sees what every rival committed.
		SELECT epoch INTO since FROM keytoll.owners WHERE id = cap_owner;
		IF 'deleted' = ANY (cap_states) THEN
			SELECT count(*) INTO n FROM keytoll.keys
			WHERE owner = cap_owner AND successor = ''
				AND CASE WHEN state <> 'deleted' AND epoch < since THEN 'revoked' ELSE state END = ANY (cap_states)
				AND (cap_live_at IS NULL OR expires_at IS NULL OR expires_at > cap_live_at);
		ELSE
			SELECT count(*) INTO n FROM keytoll.keys
			WHERE owner = cap_owner AND successor = '' AND state <> 'deleted'
				AND epoch >= CASE WHEN 'revoked' = ANY (cap_states) THEN 0 ELSE since END
				AND CASE WHEN epoch < since THEN 'revoked' ELSE state END = ANY (cap_states)
				AND (cap_live_at IS NULL OR expires_at IS NULL OR expires_at > cap_live_at);
		END IF;
		IF n > cap_most THEN
			RAISE 'the owner has as many keys as the cap allows' USING ERRCODE = 'KT429';
		END IF;
	END IF;

	FOR r IN
		SELECT * FROM unnest(
			event_owners, event_ats, event_kinds, event_keys, event_actors, event_ips, event_changes, event_notes,
			event_counts, event_bodies
		) AS given (owner, at, kind, key, actor, actor_ip, changes, note, count, body)
	LOOP
		IF o.id IS DISTINCT FROM r.owner THEN -- they come sorted by owner
			UPDATE keytoll.owners SET events = o.events, head = o.head WHERE id = o.id;
			SELECT * INTO o FROM keytoll.owners WHERE id = r.owner;
		END IF;
		o.events := o.events + 1;
		o.head := sha256(o.head || int8send(o.events) || r.body);
		INSERT INTO keytoll.events VALUES (
			r.owner, o.events, r.at, r.kind, r.key, r.actor, r.actor_ip, r.changes::json, r.note, r.count, o.head);
	END LOOP;
	IF o.id IS NOT NULL THEN
		UPDATE keytoll.owners SET events = o.events, head = o.head WHERE id = o.id;
	END IF;
	-- Rivals that wait for the lock with an older snapshot, at another level of
	-- isolation than this transaction's maybe, must find the row changed.
	UPDATE keytoll.owners SET events = events WHERE id = ANY (lock_owners) AND NOT id = ANY (event_owners);

	FOREACH note IN ARRAY notices LOOP
		PERFORM pg_notify(channel, note);
	END LOOP;
END $$;


-- touch notes uses: it moves last_used_at forward, and brings digests up to date
-- that are still what they were. Keys come sorted by ID, the order of all locks.
CREATE FUNCTION keytoll.touch(
	ids text[], ats timestamptz[],
	was_versions bigint[], was_digests bytea[], was_schemes text[], was_encodeds text[], -- null without a restamp
	digest_versions bigint[], digests bytea[]
) RETURNS void LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
	r record;
BEGIN
	FOR r IN
		SELECT * FROM unnest(ids, ats, was_versions, was_digests, was_schemes, was_encodeds, digest_versions, digests)
			AS given (id, at, was_version, was_digest, was_scheme, was_encoded, digest_version, digest)
	LOOP
		UPDATE keytoll.keys SET last_used_at = r.at WHERE id = r.id AND (last_used_at IS NULL OR last_used_at < r.at);
		IF r.was_digest IS NOT NULL THEN
			UPDATE keytoll.keys SET
				digest_version = r.digest_version, digest = r.digest, imported_scheme = '', imported_encoded = '', version = version + 1
			WHERE id = r.id AND digest_version = r.was_version AND digest = r.was_digest
				AND imported_scheme = r.was_scheme AND imported_encoded = r.was_encoded;
		END IF;
	END LOOP;
END $$;
