-- Completion webhooks: each visible result of a job with `on_done` is an event, made in the transaction that makes the result, and
-- delivered at least once by whoever keeps the house. Its id and body never change; each try is kept.
--
-- A lane is what one owner sends to one receiver. A round goes through the lanes in turn, so that neither a slow receiver nor one
-- with many events holds up any other.
CREATE TABLE webhooks (
    id text PRIMARY KEY,
    key uuid NOT NULL,
    owner text COLLATE "C" NOT NULL,
    -- scheme, host and port of the URL
    origin text COLLATE "C" NOT NULL,
    url text NOT NULL,
    secret text,
    body text NOT NULL,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'given_up')),
    tries integer NOT NULL DEFAULT 0,
    -- waiting: when it is tried next, or when the lease of the try under way ends
    next_at timestamptz NOT NULL DEFAULT now(),
    leased boolean NOT NULL DEFAULT false
);
CREATE INDEX webhooks_key ON webhooks (key);
CREATE INDEX webhooks_lanes ON webhooks (owner, origin, next_at) WHERE state = 'waiting';
CREATE INDEX webhooks_leased ON webhooks (owner, origin) WHERE leased;

CREATE TABLE webhook_tries (
    id text NOT NULL REFERENCES webhooks ON DELETE CASCADE,
    try integer NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    status_code integer,
    error text,
    next_at timestamptz,
    PRIMARY KEY (id, try)
);

CREATE FUNCTION webhooks_note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    asked constant jsonb := new.spec -> 'on_done';
    address constant text := CASE jsonb_typeof(asked) WHEN 'string' THEN asked #>> '{}' ELSE asked ->> 'url' END;
BEGIN
    IF address IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO webhooks (id, key, owner, origin, url, secret, body)
    VALUES ('msg_' || replace(new.key::text, '-', '') || '_' || new.attempt, new.key, new.owner,
        lower(coalesce(substring(address FROM '^[A-Za-z]+://[^/?#]*'), '')), address,
        CASE WHEN jsonb_typeof(asked) = 'object' THEN asked ->> 'secret' END,
        jsonb_build_object('type', 'trabajo.done', 'timestamp', api_moment(coalesce(new.finished_at, now())),
            'data', jsonb_build_object('key', new.key, 'status', new.status, 'attempt', new.attempt, 'outcome', new.outcome,
                'url', new.url, 'ref', new.ref, 'commit', new.commit_id, 'usuario', new.usuario,
                'labels', coalesce(new.spec -> 'labels', '{}'), 'posted_at', api_moment(new.posted_at),
                'finished_at', api_moment(new.finished_at), 'execution_ms', new.execution_ms)))
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER webhooks_noted AFTER UPDATE OF status ON trabajos FOR EACH ROW
WHEN (new.status IN ('Finished', 'Failed', 'Cancelled') AND new.spec ? 'on_done') EXECUTE FUNCTION webhooks_note();
-- a record that was none to run ends as it comes
CREATE TRIGGER webhooks_noted_at_once AFTER INSERT ON trabajos FOR EACH ROW
WHEN (new.status IN ('Finished', 'Failed', 'Cancelled') AND new.spec ? 'on_done') EXECUTE FUNCTION webhooks_note();

CREATE FUNCTION webhooks_of_deleted() RETURNS trigger LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
BEGIN
    DELETE FROM webhooks w USING gone g WHERE w.key = g.key;
    RETURN NULL;
END $$;
CREATE TRIGGER webhooks_deleted AFTER DELETE ON trabajos REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT EXECUTE FUNCTION webhooks_of_deleted();

CREATE FUNCTION webhooks_of_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM webhooks;
    RETURN NULL;
END $$;
CREATE TRIGGER webhooks_truncated AFTER TRUNCATE ON trabajos FOR EACH STATEMENT EXECUTE FUNCTION webhooks_of_truncated();

-- Up to `most` events to deliver now, each leased: from the lane behind the given one on and around, a few of each lane and of
-- each owner at a time, by all keepers together. At most `looks` lanes are looked at; the last row has no id, and says where the next
-- round goes on.
CREATE FUNCTION webhooks_take(most integer, lease_s integer, after_owner text, after_origin text)
RETURNS TABLE (id text, try integer, url text, secret text, body text, owner text, origin text) LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    looks constant integer := 500;
    of_lane constant integer := 4;
    of_owner constant integer := 16;
    lane record;
    at_owner text := after_owner;
    at_origin text := after_origin;
    wrapped boolean := false;
    taken integer := 0;
    room integer;
    event record;
BEGIN
    FOR look IN 1 .. looks LOOP
        EXIT WHEN taken >= most;
        SELECT w.owner, w.origin INTO lane FROM webhooks w
        WHERE w.state = 'waiting' AND (w.owner, w.origin) > (at_owner COLLATE "C", at_origin COLLATE "C")
        ORDER BY w.owner, w.origin LIMIT 1;
        IF NOT FOUND THEN
            EXIT WHEN wrapped;
            wrapped := true;
            at_owner := '';
            at_origin := '';
            CONTINUE;
        END IF;
        at_owner := lane.owner;
        at_origin := lane.origin;
        -- once around
        EXIT WHEN wrapped AND (at_owner, at_origin) > (after_owner COLLATE "C", after_origin COLLATE "C");
        SELECT least(most - taken, of_lane - count(*) FILTER (WHERE l.origin = lane.origin), of_owner - count(*)) INTO room
        FROM webhooks l WHERE l.leased AND l.owner = lane.owner AND l.next_at > now();
        CONTINUE WHEN room <= 0;
        FOR event IN
            SELECT w.id FROM webhooks w
            WHERE w.state = 'waiting' AND w.owner = lane.owner AND w.origin = lane.origin AND w.next_at <= now()
            ORDER BY w.next_at LIMIT room FOR UPDATE SKIP LOCKED
        LOOP
            taken := taken + 1;
            RETURN QUERY
            UPDATE webhooks w SET tries = w.tries + 1, leased = true, next_at = now() + make_interval(secs => lease_s)
            WHERE w.id = event.id RETURNING w.id, w.tries, w.url, w.secret, w.body, w.owner, w.origin;
        END LOOP;
    END LOOP;
    RETURN QUERY SELECT NULL, NULL::integer, NULL, NULL, NULL, at_owner, at_origin;
END $$;

-- What came of a try: 'delivered'; 'again', later and later up to about a day after the first, then given up; 'given_up' at once.
-- Of a try whose lease has passed to another one, only that it was.
CREATE FUNCTION webhooks_done(which text, nth integer, code integer, why text, verdict text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    delays constant interval[] := ARRAY['5 seconds', '30 seconds', '2 minutes', '10 minutes', '30 minutes', '1 hour', '3 hours',
        '6 hours', '12 hours'];
    fate text := CASE WHEN verdict = 'again' AND nth > cardinality(delays) THEN 'given_up' ELSE verdict END;
    later timestamptz := CASE WHEN fate = 'again' THEN now() + delays[nth] * (0.8 + random() * 0.4) END;
BEGIN
    UPDATE webhooks w SET state = CASE WHEN fate = 'again' THEN 'waiting' ELSE fate END, leased = false,
        next_at = coalesce(later, w.next_at)
    WHERE w.id = which AND (w.tries = nth OR fate = 'delivered') AND w.state = 'waiting';
    IF NOT FOUND THEN
        later := NULL;
    END IF;
    INSERT INTO webhook_tries (id, try, status_code, error, next_at)
    SELECT which, nth, code, why, later FROM webhooks w WHERE w.id = which
    ON CONFLICT DO NOTHING;
    RETURN fate;
END $$;

-- ---- what /api/v1 shows

-- The URL as it was given; that there is a secret, and never which.
CREATE FUNCTION api_on_done(spec jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE jsonb_typeof(spec -> 'on_done')
        WHEN 'object' THEN jsonb_build_object('url', spec #> '{on_done,url}', 'secret', NULL)
        WHEN 'string' THEN spec -> 'on_done' END
$$;

-- The tries of a job's webhooks, oldest first, and those that were not tried yet; NULL: there is no such job.
CREATE FUNCTION api_deliveries(k uuid, whose text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce((
        SELECT jsonb_agg(d.item ORDER BY d.at NULLS LAST, d.id, d.try)::text FROM (
            SELECT r.id, r.try, r.at, jsonb_build_object('id', r.id, 'at', api_moment(r.at), 'try', r.try, 'status_code', r.status_code,
                'error', r.error, 'next_at', api_moment(r.next_at)) AS item
            FROM webhooks w JOIN webhook_tries r ON r.id = w.id WHERE w.key = t.key
            UNION ALL
            SELECT w.id, 0, NULL, jsonb_build_object('id', w.id, 'at', NULL, 'try', 0, 'status_code', NULL, 'error', NULL,
                'next_at', api_moment(w.next_at))
            FROM webhooks w WHERE w.key = t.key AND w.tries = 0) d), '[]')
    FROM trabajos t WHERE t.key = k AND (whose IS NULL OR t.owner = whose)
$$;

-- As before, and whom its end is told.
CREATE OR REPLACE FUNCTION api_asked(t trabajos) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('ref', t.ref, 'priority', t.priority, 'timeout_s', t.timeout_s, 'retries', t.retries,
        'run_after', t.spec -> 'run_after', 'concurrency_key', t.concurrency_key,
        'concurrency_limit', CASE WHEN t.concurrency_key IS NOT NULL THEN t.concurrency_limit END,
        'concurrency_policy', CASE WHEN t.concurrency_key IS NULL THEN NULL WHEN t.concurrency_replace THEN 'replace' ELSE 'queue' END,
        'labels', coalesce(t.spec -> 'labels', '{}'), 'reuse', coalesce((t.spec ->> 'reuse')::boolean, false),
        'on_done', api_on_done(t.spec), 'env', (
            SELECT coalesce(jsonb_object_agg(e.name, NULL), '{}') FROM jsonb_object_keys(coalesce(t.spec -> 'env', '{}')) e (name)))
$$;
