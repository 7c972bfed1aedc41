-- A job that replaces hundreds of thousands of older ones with its concurrency key: whoever inserts it has but seconds.

-- What a newer job replaces is marked, up to some, as that comes in, and the rest by concurrency_replace: whatever stands at or before
-- this moment, and has no mark yet, is replaced too, and does not begin.
CREATE TABLE concurrency_floor (
    owner text NOT NULL,
    concurrency_key text NOT NULL,
    posted_at timestamptz NOT NULL,
    key uuid NOT NULL,
    replaced_by uuid NOT NULL,
    PRIMARY KEY (owner, concurrency_key)
);

-- Marks what lies at or before a place in the order of the posts, what runs first, then at most so many of the newest others; true: that
-- was all. The caller holds the key's lock.
CREATE FUNCTION concurrency_mark(whose text, shared_key text, at_most timestamptz, last_key uuid, newer uuid, most integer)
RETURNS boolean LANGUAGE plpgsql SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off AS $$
DECLARE
    marked bigint;
BEGIN
    UPDATE concurrency c SET replaced_by = newer
    WHERE c.owner = whose AND c.concurrency_key = shared_key AND c.holds AND c.replaced_by IS NULL
    AND (c.posted_at, c.key) <= (at_most, last_key);
    UPDATE concurrency c SET replaced_by = newer FROM (
        SELECT o.key FROM concurrency o
        WHERE o.owner = whose AND o.concurrency_key = shared_key AND o.replaced_by IS NULL
        AND o.posted_at <= at_most AND (o.posted_at, o.key) <= (at_most, last_key)
        ORDER BY o.posted_at DESC LIMIT most
    ) older WHERE c.key = older.key;
    GET DIAGNOSTICS marked = ROW_COUNT;
    RETURN marked < most;
END $$;

-- As before (0002-states.sql), but for what has no mark yet: then those after the floor alone are looked at.
CREATE OR REPLACE FUNCTION concurrency_admit(whose text, shared_key text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    next record;
    held bigint;
    low concurrency_floor;
    -- not now(): a job that was posted since this transaction began waits for this very moment
    moment constant timestamptz := clock_timestamp();
BEGIN
    SELECT * INTO low FROM concurrency_floor f WHERE f.owner = whose AND f.concurrency_key = shared_key;
    LOOP
        IF low.key IS NULL THEN
            SELECT t.key, t.attempt, t.admin, t.priority, t.eligible_at, t.concurrency_limit INTO next
            FROM concurrency c JOIN trabajos t ON t.key = c.key
            WHERE c.owner = whose AND c.concurrency_key = shared_key AND NOT c.holds AND c.replaced_by IS NULL
            AND c.eligible_at <= moment
            ORDER BY c.place, c.eligible_at, c.key LIMIT 1;
        ELSE
            SELECT t.key, t.attempt, t.admin, t.priority, t.eligible_at, t.concurrency_limit INTO next
            FROM (
                SELECT o.* FROM concurrency o
                WHERE o.owner = whose AND o.concurrency_key = shared_key AND o.replaced_by IS NULL AND o.posted_at >= low.posted_at
                ORDER BY o.posted_at OFFSET 0) c JOIN trabajos t ON t.key = c.key
            WHERE (c.posted_at, c.key) > (low.posted_at, low.key) AND NOT c.holds AND c.eligible_at <= moment
            ORDER BY c.place, c.eligible_at, c.key LIMIT 1;
        END IF;
        EXIT WHEN NOT FOUND;
        SELECT count(*) INTO held FROM concurrency c WHERE c.owner = whose AND c.concurrency_key = shared_key AND c.holds;
        EXIT WHEN held >= next.concurrency_limit;
        UPDATE concurrency SET holds = true WHERE key = next.key;
        DELETE FROM delayed WHERE eligible_at = next.eligible_at AND key = next.key;
        INSERT INTO queue (rank, owner, place, eligible_at, key, attempt)
        VALUES (CASE WHEN next.admin THEN -next.priority ELSE 0 END, whose, -next.priority, next.eligible_at, next.key, next.attempt);
    END LOOP;
END $$;

-- As before, but it marks no more than some hundred: who waits for this insert has so many seconds only.
CREATE OR REPLACE FUNCTION concurrency_moved() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    at_once constant integer := 500;
    newest record;
    older record;
BEGIN
    PERFORM concurrency_lock(new.owner, new.concurrency_key);
    IF new.status = 'Queued' THEN
        INSERT INTO concurrency (owner, concurrency_key, key, place, eligible_at, posted_at, replaces)
        VALUES (new.owner, new.concurrency_key, new.key, -new.priority, new.eligible_at, new.posted_at,
            CASE WHEN tg_op = 'INSERT' AND new.concurrency_replace THEN new.concurrency_limit END)
        ON CONFLICT (key) DO UPDATE SET holds = false, eligible_at = excluded.eligible_at;
        IF new.eligible_at > now() THEN
            INSERT INTO delayed (eligible_at, key) VALUES (new.eligible_at, new.key);
        END IF;
        IF tg_op = 'INSERT' THEN
            SELECT o.key, o.posted_at, o.replaces INTO newest FROM concurrency o
            WHERE o.owner = new.owner AND o.concurrency_key = new.concurrency_key AND o.replaces IS NOT NULL AND o.replaced_by IS NULL
            ORDER BY o.posted_at DESC, o.key DESC LIMIT 1;
            IF FOUND THEN
                SELECT o.posted_at, o.key INTO older FROM concurrency o
                WHERE o.owner = new.owner AND o.concurrency_key = new.concurrency_key AND o.replaced_by IS NULL
                AND (o.posted_at, o.key) < (newest.posted_at, newest.key)
                ORDER BY o.posted_at DESC, o.key DESC OFFSET newest.replaces - 1 LIMIT 1;
                IF FOUND AND NOT concurrency_mark(new.owner, new.concurrency_key, older.posted_at, older.key, newest.key, at_once) THEN
                    INSERT INTO concurrency_floor AS f (owner, concurrency_key, posted_at, key, replaced_by)
                    VALUES (new.owner, new.concurrency_key, older.posted_at, older.key, newest.key)
                    ON CONFLICT (owner, concurrency_key) DO UPDATE
                    SET posted_at = excluded.posted_at, key = excluded.key, replaced_by = excluded.replaced_by
                    WHERE (f.posted_at, f.key) < (excluded.posted_at, excluded.key);
                END IF;
            END IF;
        END IF;
    ELSE
        DELETE FROM concurrency WHERE key = new.key;
    END IF;
    PERFORM concurrency_admit(new.owner, new.concurrency_key);
    RETURN NULL;
END $$;

-- Cancels what a newer job with the same concurrency key replaces; how many. A running one is asked once. Then marks more of what one
-- key has left: without waiting for its lock, since others may be held here.
CREATE OR REPLACE FUNCTION concurrency_replace(most integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    cancelled bigint;
    low concurrency_floor;
BEGIN
    SELECT count(trabajos_cancel(c.key, NULL, 'replaced by ' || c.replaced_by)) INTO cancelled FROM (
        SELECT l.key, l.replaced_by FROM (
            SELECT r.key, r.replaced_by, r.owner, r.concurrency_key FROM concurrency r JOIN trabajos t ON t.key = r.key
            WHERE r.replaced_by IS NOT NULL AND (t.cancel_requested_at IS NULL OR t.status = 'Queued')
            ORDER BY r.key LIMIT most FOR UPDATE OF t SKIP LOCKED
        ) l ORDER BY l.owner COLLATE "C", l.concurrency_key COLLATE "C", l.key
    ) c;
    FOR low IN SELECT * FROM concurrency_floor f ORDER BY f.owner, f.concurrency_key LIMIT 10 LOOP
        CONTINUE WHEN NOT pg_try_advisory_xact_lock(hashtextextended(low.owner || E'\x1f' || low.concurrency_key, 20));
        -- as it is now that nobody else changes it
        SELECT * INTO low FROM concurrency_floor f WHERE f.owner = low.owner AND f.concurrency_key = low.concurrency_key;
        IF FOUND AND concurrency_mark(low.owner, low.concurrency_key, low.posted_at, low.key, low.replaced_by, most * 10) THEN
            DELETE FROM concurrency_floor f WHERE f.owner = low.owner AND f.concurrency_key = low.concurrency_key;
        END IF;
        EXIT;
    END LOOP;
    RETURN cancelled;
END $$;

CREATE OR REPLACE FUNCTION trabajos_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['queue', 'lanes', 'delayed', 'concurrency', 'concurrency_floor', 'resultados', 'outbox', 'dead_letters',
        'attempts', 'logs']
    LOOP
        BEGIN
            EXECUTE format('TRUNCATE %I', table_name);
        EXCEPTION WHEN object_in_use THEN
            -- named in the same command: empty already
            EXECUTE format('DELETE FROM %I', table_name);
        END;
    END LOOP;
    RETURN NULL;
END $$;
