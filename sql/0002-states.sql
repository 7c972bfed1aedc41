-- What a job is stands in trabajos and changes little; where it stands now is a row in the narrow table of its state. So a
-- transition touches no index of the wide table (its updates are heap-only), a claim walks an index that holds nothing but
-- waiting jobs, and a heartbeat rewrites a few bytes.
--
--     Queued:  queue (may be claimed) | delayed (not before eligible_at) | concurrency (others with its key run)
--     Running: attempts, with finished_at NULL
--     ended:   resultados; outbox until Kafka has acknowledged its record; dead_letters where a budget is used up
--
-- The lock order: the row in trabajos first, several by key; then the advisory lock of a concurrency key; then the rest. Who
-- holds the row in trabajos is the only one to move that job; but for waiting ones of a concurrency key, which whoever holds
-- its advisory lock admits to the queue.

ALTER TABLE trabajos
ADD admin boolean NOT NULL DEFAULT false,
ADD concurrency_key text,
ADD concurrency_limit integer NOT NULL DEFAULT 1,
ADD concurrency_replace boolean NOT NULL DEFAULT false;

CREATE TABLE queue (
    -- -priority of an administrator's job, which crosses users; else 0
    rank smallint NOT NULL,
    owner text COLLATE "C" NOT NULL,
    -- -priority among the owner's own jobs
    place smallint NOT NULL,
    eligible_at timestamptz NOT NULL,
    key uuid NOT NULL,
    -- the fence when it was queued: a claim that saw an older row finds that the job has moved on
    attempt integer NOT NULL,
    PRIMARY KEY (rank, owner, place, eligible_at, key)
);
CREATE INDEX queue_age ON queue (eligible_at);

-- Who has jobs in the queue: a claim must not look for the owners among a million rows. It is a hint: a lane may be empty, and
-- one that is missed (its removal met an insert) is found by lanes_refresh.
CREATE TABLE lanes (
    rank smallint NOT NULL,
    owner text COLLATE "C" NOT NULL,
    PRIMARY KEY (rank, owner)
);

-- One that another transaction is about to add is left to it: nobody waits here while holding locks of jobs.
CREATE FUNCTION lanes_noted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO lanes (rank, owner)
    SELECT d.rank, d.owner FROM (SELECT DISTINCT n.rank, n.owner FROM queued n) d
    WHERE (SELECT true FROM lanes l WHERE l.rank = d.rank AND l.owner = d.owner LIMIT 1) IS NULL
    AND pg_try_advisory_xact_lock(hashtextextended(d.rank || E'\x1f' || d.owner, 22))
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;

CREATE TRIGGER queue_lanes AFTER INSERT ON queue REFERENCING NEW TABLE AS queued
FOR EACH STATEMENT EXECUTE FUNCTION lanes_noted();

-- Adds what is missing, by skipping along the queue's key, and removes what is empty. One at a time is enough.
CREATE FUNCTION lanes_refresh() RETURNS void LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off SET jit = off AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('lanes_refresh', 20)) THEN
        RETURN;
    END IF;
    INSERT INTO lanes (rank, owner)
    WITH RECURSIVE lane AS (
        (SELECT q.rank, q.owner FROM queue q ORDER BY q.rank, q.owner LIMIT 1)
        UNION ALL
        SELECT n.rank, n.owner FROM lane l CROSS JOIN LATERAL (
            SELECT q.rank, q.owner FROM queue q WHERE (q.rank, q.owner) > (l.rank, l.owner) ORDER BY q.rank, q.owner LIMIT 1) n
    ) SELECT l.rank, l.owner FROM lane l ORDER BY l.rank, l.owner ON CONFLICT DO NOTHING;
    DELETE FROM lanes l WHERE (SELECT true FROM queue q WHERE q.rank = l.rank AND q.owner = l.owner LIMIT 1) IS NULL;
END $$;

CREATE TABLE delayed (
    eligible_at timestamptz NOT NULL,
    key uuid NOT NULL,
    PRIMARY KEY (eligible_at, key)
);

-- Every job with a concurrency key that has not ended: those that hold one of its places, and those that wait for one.
CREATE TABLE concurrency (
    owner text NOT NULL,
    concurrency_key text NOT NULL,
    key uuid PRIMARY KEY,
    place smallint NOT NULL,
    eligible_at timestamptz NOT NULL,
    holds boolean NOT NULL DEFAULT false,
    posted_at timestamptz NOT NULL,
    -- how many of the newest, itself among them, stay when it replaces older ones; NULL: it replaces none
    replaces integer,
    -- the newer job that takes its place; it is to be cancelled
    replaced_by uuid
);
CREATE INDEX concurrency_order ON concurrency (owner, concurrency_key, posted_at) WHERE replaced_by IS NULL;
CREATE INDEX concurrency_replacing ON concurrency (owner, concurrency_key, posted_at)
WHERE replaces IS NOT NULL AND replaced_by IS NULL;
CREATE INDEX concurrency_waiting ON concurrency (owner, concurrency_key, place, eligible_at, key)
WHERE NOT holds AND replaced_by IS NULL;
CREATE INDEX concurrency_holding ON concurrency (owner, concurrency_key) WHERE holds;
CREATE INDEX concurrency_replaced ON concurrency (key) WHERE replaced_by IS NOT NULL;

-- Results whose record Kafka has not acknowledged yet; a sweeper takes those whose time has come.
CREATE TABLE outbox (
    key uuid PRIMARY KEY,
    attempt integer NOT NULL,
    publish_after timestamptz NOT NULL
);
CREATE INDEX outbox_due ON outbox (publish_after);

CREATE TABLE dead_letters (
    key uuid PRIMARY KEY,
    owner text NOT NULL,
    died_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX dead_letters_age ON dead_letters (died_at, key);
CREATE INDEX dead_letters_owner ON dead_letters (owner, died_at, key);

ALTER TABLE attempts
ADD owner text,
ADD lease_until timestamptz;

-- What the tables above hold of jobs that are there already.
UPDATE attempts a SET owner = t.owner, lease_until = t.lease_until
FROM trabajos t WHERE t.key = a.key;
ALTER TABLE attempts ALTER owner SET NOT NULL;
UPDATE attempts a SET finished_at = now()
FROM trabajos t
WHERE t.key = a.key AND a.finished_at IS NULL AND (t.status <> 'Running' OR t.attempt <> a.attempt);
INSERT INTO queue (rank, owner, place, eligible_at, key, attempt)
SELECT 0, owner, -priority, eligible_at, key, attempt FROM trabajos WHERE status = 'Queued' AND eligible_at <= now();
INSERT INTO delayed (eligible_at, key)
SELECT eligible_at, key FROM trabajos WHERE status = 'Queued' AND eligible_at > now();
INSERT INTO outbox (key, attempt, publish_after)
SELECT key, attempt, now() FROM trabajos WHERE NOT published AND status IN ('Finished', 'Failed', 'Cancelled');
INSERT INTO dead_letters (key, owner, died_at)
SELECT key, owner, coalesce(finished_at, now()) FROM trabajos
WHERE status = 'Failed' AND (outcome ->> 'blame' = 'platform' OR (retries > 0 AND user_failures > retries));

DROP INDEX trabajos_queued, trabajos_queued_age, trabajos_running, trabajos_unpublished, trabajos_finished, resultados_key;
-- Without the key, which is sought by the primary key alone, whatever the statistics say.
DROP INDEX trabajos_owner, trabajos_usuario, trabajos_posted;
CREATE INDEX trabajos_owner ON trabajos (owner, posted_at);
CREATE INDEX trabajos_usuario ON trabajos (usuario, posted_at);
CREATE INDEX trabajos_posted ON trabajos (posted_at);
ALTER TABLE trabajos DROP lease_until, DROP published, DROP publish_after;
-- A check of each row against trabajos costs as much as the row; a trigger removes what belongs to a job.
ALTER TABLE attempts DROP CONSTRAINT attempts_key_fkey;
ALTER TABLE logs DROP CONSTRAINT logs_key_fkey;
-- Half of a page is left to the newer versions of its rows.
ALTER TABLE trabajos SET (fillfactor = 50);
ALTER TABLE attempts SET (fillfactor = 70);

CREATE INDEX attempts_running ON attempts (owner) WHERE finished_at IS NULL;
CREATE INDEX attempts_finished ON attempts (finished_at) WHERE finished_at IS NOT NULL;

-- ---- concurrency keys: at most concurrency_limit of an owner's jobs with the same key hold a place

CREATE FUNCTION concurrency_lock(whose text, shared_key text) RETURNS void LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtextextended(whose || E'\x1f' || shared_key, 20))
$$;

-- Lets the first waiting ones into the queue while there is place. The caller holds the key's lock.
CREATE FUNCTION concurrency_admit(whose text, shared_key text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    next record;
    held bigint;
    -- not now(): a job that was posted since this transaction began waits for this very moment
    moment constant timestamptz := clock_timestamp();
BEGIN
    LOOP
        SELECT t.key, t.attempt, t.admin, t.priority, t.eligible_at, t.concurrency_limit INTO next
        FROM concurrency c JOIN trabajos t ON t.key = c.key
        WHERE c.owner = whose AND c.concurrency_key = shared_key AND NOT c.holds AND c.replaced_by IS NULL
        AND c.eligible_at <= moment
        ORDER BY c.place, c.eligible_at, c.key LIMIT 1;
        EXIT WHEN NOT FOUND;
        SELECT count(*) INTO held FROM concurrency c WHERE c.owner = whose AND c.concurrency_key = shared_key AND c.holds;
        EXIT WHEN held >= next.concurrency_limit;
        UPDATE concurrency SET holds = true WHERE key = next.key;
        DELETE FROM delayed WHERE eligible_at = next.eligible_at AND key = next.key;
        INSERT INTO queue (rank, owner, place, eligible_at, key, attempt)
        VALUES (CASE WHEN next.admin THEN -next.priority ELSE 0 END, whose, -next.priority, next.eligible_at, next.key, next.attempt);
    END LOOP;
END $$;

-- However a job with such a key gets a new state: it gives its place back, waits for one, or replaces older ones. Newest is what
-- was posted last, in whatever order they arrive here.
CREATE FUNCTION concurrency_moved() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    newest record;
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
                UPDATE concurrency c SET replaced_by = newest.key FROM (
                    SELECT o.key FROM concurrency o
                    WHERE o.owner = new.owner AND o.concurrency_key = new.concurrency_key AND o.replaced_by IS NULL
                    AND (o.posted_at, o.key) < (newest.posted_at, newest.key)
                    ORDER BY o.posted_at DESC, o.key DESC OFFSET newest.replaces - 1
                ) older WHERE c.key = older.key;
            END IF;
        END IF;
    ELSE
        DELETE FROM concurrency WHERE key = new.key;
    END IF;
    PERFORM concurrency_admit(new.owner, new.concurrency_key);
    RETURN NULL;
END $$;

CREATE TRIGGER concurrency_inserted AFTER INSERT ON trabajos FOR EACH ROW
WHEN (new.concurrency_key IS NOT NULL AND new.status = 'Queued') EXECUTE FUNCTION concurrency_moved();
CREATE TRIGGER concurrency_updated AFTER UPDATE OF status ON trabajos FOR EACH ROW
WHEN (new.concurrency_key IS NOT NULL AND new.status <> 'Running') EXECUTE FUNCTION concurrency_moved();

-- ---- the end of a row

-- Whoever deletes a job, retention or an operator: nothing of it stays behind.
CREATE FUNCTION trabajos_deleted() RETURNS trigger LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
DECLARE
    freed record;
BEGIN
    DELETE FROM queue q USING gone g WHERE q.rank = CASE WHEN g.admin THEN -g.priority ELSE 0 END AND q.owner = g.owner
    AND q.place = -g.priority AND q.eligible_at = g.eligible_at AND q.key = g.key;
    DELETE FROM delayed d USING gone g WHERE d.eligible_at = g.eligible_at AND d.key = g.key;
    DELETE FROM concurrency c USING gone g WHERE c.key = g.key;
    DELETE FROM resultados r USING gone g WHERE r.usuario = g.usuario AND r.key = g.key::text;
    DELETE FROM outbox o USING gone g WHERE o.key = g.key;
    DELETE FROM dead_letters x USING gone g WHERE x.key = g.key;
    DELETE FROM attempts a USING gone g WHERE a.key = g.key;
    DELETE FROM logs l USING gone g WHERE l.key = g.key;
    FOR freed IN
        SELECT DISTINCT g.owner COLLATE "C" AS owner, g.concurrency_key COLLATE "C" AS concurrency_key FROM gone g
        WHERE g.concurrency_key IS NOT NULL AND g.status IN ('Queued', 'Running')
        ORDER BY 1, 2
    LOOP
        PERFORM concurrency_lock(freed.owner, freed.concurrency_key);
        PERFORM concurrency_admit(freed.owner, freed.concurrency_key);
    END LOOP;
    RETURN NULL;
END $$;

CREATE FUNCTION trabajos_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['queue', 'lanes', 'delayed', 'concurrency', 'resultados', 'outbox', 'dead_letters', 'attempts', 'logs']
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

CREATE TRIGGER trabajos_deleted AFTER DELETE ON trabajos REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT EXECUTE FUNCTION trabajos_deleted();
CREATE TRIGGER trabajos_truncated AFTER TRUNCATE ON trabajos FOR EACH STATEMENT EXECUTE FUNCTION trabajos_truncated();

-- ---- transitions that several programs make

-- Puts a job into the ledger, as ledger_insert does with many: false if the key is known.
CREATE FUNCTION trabajos_add(
    new_key uuid, whose text, display text, is_admin boolean, address text, spec_json jsonb, print text, git_ref text, prio smallint,
    timeout integer, user_retries integer, shared_key text, shared_limit integer, shared_replace boolean,
    posted timestamptz, eligible timestamptz
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO trabajos (key, owner, usuario, admin, url, spec, fingerprint, ref, priority, timeout_s, retries,
        concurrency_key, concurrency_limit, concurrency_replace, posted_at, eligible_at)
    VALUES (new_key, whose, display, is_admin, address, spec_json, print, git_ref, prio, timeout, user_retries,
        shared_key, shared_limit, shared_replace, posted, eligible)
    ON CONFLICT (key) DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF shared_key IS NULL THEN
        PERFORM trabajos_enqueue(new_key);
    END IF;
    RETURN true;
END $$;

-- The row in the queue, or among the delayed, of a job that has just become Queued; one with a concurrency key has its own.
CREATE FUNCTION trabajos_enqueue(k uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO delayed (eligible_at, key)
    SELECT eligible_at, key FROM trabajos WHERE key = k AND concurrency_key IS NULL AND eligible_at > now();
    IF NOT FOUND THEN
        INSERT INTO queue (rank, owner, place, eligible_at, key, attempt)
        SELECT CASE WHEN admin THEN -priority ELSE 0 END, owner, -priority, eligible_at, key, attempt
        FROM trabajos WHERE key = k AND concurrency_key IS NULL;
    END IF;
END $$;

-- Lets those whose time has come into the queue; how many.
CREATE FUNCTION trabajos_promote(most integer) RETURNS bigint LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
DECLARE
    due record;
    promoted bigint := 0;
BEGIN
    -- sorted once more, so that all are locked before the first is moved
    FOR due IN
        SELECT l.* FROM (
            SELECT d.eligible_at, t.key, t.owner, t.concurrency_key
            FROM delayed d JOIN trabajos t ON t.key = d.key
            WHERE d.eligible_at <= now() ORDER BY d.eligible_at, d.key LIMIT most FOR UPDATE OF t SKIP LOCKED
        ) l ORDER BY l.owner COLLATE "C", l.concurrency_key COLLATE "C" NULLS FIRST, l.key
    LOOP
        -- gone meanwhile: cancelled, or promoted by another
        DELETE FROM delayed WHERE eligible_at = due.eligible_at AND key = due.key;
        CONTINUE WHEN NOT FOUND;
        promoted := promoted + 1;
        IF due.concurrency_key IS NULL THEN
            PERFORM trabajos_enqueue(due.key);
        ELSE
            PERFORM concurrency_lock(due.owner, due.concurrency_key);
            PERFORM concurrency_admit(due.owner, due.concurrency_key);
        END IF;
    END LOOP;
    RETURN promoted;
END $$;

-- whose NULL: anybody's. 'unknown'; 'ended' (too late); 'asked' (it runs: its worker hears of it with its next heartbeat);
-- 'cancelled'. A job that never ran again gets a fence of its own for this result.
CREATE FUNCTION trabajos_cancel(k uuid, whose text, why text, OUT answer text, OUT state text) LANGUAGE plpgsql AS $$
DECLARE
    t trabajos;
BEGIN
    SELECT * INTO t FROM trabajos WHERE key = k AND (whose IS NULL OR owner = whose) FOR UPDATE;
    answer := CASE WHEN NOT found THEN 'unknown' WHEN t.status = 'Queued' THEN 'cancelled'
        WHEN t.status = 'Running' THEN 'asked' ELSE 'ended' END;
    state := t.status;
    IF answer = 'asked' THEN
        UPDATE trabajos SET cancel_requested_at = coalesce(cancel_requested_at, now()) WHERE key = k;
    ELSIF answer = 'cancelled' THEN
        state := 'Cancelled';
        IF t.concurrency_key IS NOT NULL THEN
            PERFORM concurrency_lock(t.owner, t.concurrency_key);
        END IF;
        DELETE FROM queue WHERE rank = CASE WHEN t.admin THEN -t.priority ELSE 0 END AND owner = t.owner AND place = -t.priority
        AND eligible_at = t.eligible_at AND key = k;
        DELETE FROM delayed WHERE eligible_at = t.eligible_at AND key = k;
        UPDATE trabajos SET status = state, attempt = attempt + 1, finished_at = now(), execution_ms = 0, worker = NULL,
            cancel_requested_at = coalesce(cancel_requested_at, now()),
            outcome = jsonb_build_object('code', 'cancelled', 'blame', 'user', 'exit_code', NULL, 'signal', NULL, 'message', why)
        WHERE key = k;
        INSERT INTO resultados (usuario, key, status) VALUES (t.usuario, k::text, state)
        ON CONFLICT (usuario, key) DO UPDATE SET status = excluded.status;
        INSERT INTO outbox (key, attempt, publish_after) VALUES (k, t.attempt + 1, now())
        ON CONFLICT (key) DO UPDATE SET attempt = excluded.attempt, publish_after = excluded.publish_after;
    END IF;
END $$;

-- whose NULL: anybody's. 'unknown'; 'active' (it has not ended); 'queued'.
CREATE FUNCTION trabajos_replay(k uuid, whose text, OUT answer text, OUT state text) LANGUAGE plpgsql AS $$
DECLARE
    t trabajos;
BEGIN
    SELECT * INTO t FROM trabajos WHERE key = k AND (whose IS NULL OR owner = whose) FOR UPDATE;
    answer := CASE WHEN NOT found THEN 'unknown' WHEN t.status IN ('Queued', 'Running') THEN 'active' ELSE 'queued' END;
    state := t.status;
    IF answer = 'queued' THEN
        state := 'Queued';
        DELETE FROM resultados WHERE usuario = t.usuario AND key = k::text;
        DELETE FROM outbox WHERE key = k;
        DELETE FROM dead_letters WHERE key = k;
        UPDATE trabajos SET status = state, eligible_at = now(), claimed_at = NULL, finished_at = NULL, worker = NULL,
            cancel_requested_at = NULL, outcome = NULL, execution_ms = NULL, platform_failures = 0, user_failures = 0
        WHERE key = k;
        IF t.concurrency_key IS NULL THEN
            PERFORM trabajos_enqueue(k);
        END IF;
    END IF;
END $$;

-- Cancels what a newer job with the same concurrency key replaces; how many. A running one is asked once.
CREATE FUNCTION concurrency_replace(most integer) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(trabajos_cancel(c.key, NULL, 'replaced by ' || c.replaced_by)) FROM (
        SELECT l.key, l.replaced_by FROM (
            SELECT r.key, r.replaced_by, r.owner, r.concurrency_key FROM concurrency r JOIN trabajos t ON t.key = r.key
            WHERE r.replaced_by IS NOT NULL AND (t.cancel_requested_at IS NULL OR t.status = 'Queued')
            ORDER BY r.key LIMIT most FOR UPDATE OF t SKIP LOCKED
        ) l ORDER BY l.owner COLLATE "C", l.concurrency_key COLLATE "C", l.key
    ) c
$$;

-- ---- claim and finish
--
-- Whatever the statistics say, no plan here may walk a whole table: these tables fill and empty within minutes, and a plan is made
-- once a session. So rows are sought one by one by LATERAL (which fixes the order of a join) and changed by the place (ctid) where
-- they were found and locked. A row that was changed after the statement's snapshot has a place that this statement does not
-- see: where it must not be missed, it is locked by a statement of its own.

-- Fair share: an owner's n-th candidate has turn (running jobs + n) / weight, and the lowest turn goes first; priority orders an
-- owner's own jobs, then age; an administrator's priority (rank) goes before all turns. Of owners with the same turn those whose jobs
-- are among the oldest that wait go first; where there are more owners than are looked at, chance decides between the others, so
-- that each has its turn. `level` is the turn that the last of `most` jobs would have if every lane were long enough; of each lane
-- twice as many are read as lie below it, since some lanes are short: the cost grows with `most` and, little, with the lanes, not
-- with the backlog. Candidates are chosen without locks, and twice as many as asked for; those that another claim has are skipped.
-- With a limit of running jobs per user, claims go one after another, each with a snapshot taken after the one before, so that
-- the limit is exact. weights: {"owner or usuario": weight, …}, NULL: all 1.
CREATE FUNCTION trabajos_claim(who text, most integer, lease_s integer, user_limit integer, weights jsonb)
RETURNS TABLE (
    candidates bigint, key uuid, attempt integer, owner text, usuario text, url text, ref text, timeout_s integer, retries integer,
    spec jsonb, posted_ms bigint, platform_failures integer, user_failures integer, cancel boolean
) LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    wide constant integer := most * 2 + 8;
BEGIN
    -- Whoever retires a worker takes the same lock alone, and then knows what it runs.
    PERFORM pg_advisory_xact_lock_shared(hashtextextended(who, 21));
    IF EXISTS (SELECT FROM workers w WHERE w.worker = who AND w.draining) THEN
        RETURN;
    END IF;
    IF user_limit > 0 THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('trabajos_claim', 20));
    END IF;
    RETURN QUERY
    WITH known AS MATERIALIZED (
        SELECT
            (SELECT coalesce(jsonb_object_agg(r.owner, r.jobs), '{}') FROM (
                SELECT a.owner, count(*) AS jobs FROM attempts a WHERE a.finished_at IS NULL GROUP BY a.owner) r) AS running,
            (SELECT coalesce(jsonb_object_agg(o.owner, o.since), '{}') FROM (
                SELECT q.owner, extract(epoch FROM min(q.eligible_at)) AS since FROM (
                    SELECT n.owner, n.eligible_at FROM queue n ORDER BY n.eligible_at LIMIT wide) q GROUP BY q.owner) o) AS oldest
    ), share AS (
        SELECT l.rank, l.owner, coalesce((k.running ->> l.owner)::integer, 0) AS jobs, (k.oldest ->> l.owner)::float8 AS since,
            CASE WHEN weights IS NULL THEN 1 ELSE coalesce((weights ->> l.owner)::float8, (
                SELECT (weights ->> t.usuario)::float8 FROM (
                    SELECT q.key FROM queue q WHERE q.rank = l.rank AND q.owner = l.owner
                    ORDER BY q.place, q.eligible_at, q.key LIMIT 1) h
                CROSS JOIN LATERAL (SELECT u.usuario FROM trabajos u WHERE u.key = h.key OFFSET 0) t), 1) END AS weight
        FROM lanes l CROSS JOIN known k
        OFFSET 0
    ), first AS MATERIALIZED (
        SELECT s.*, count(*) OVER () AS lanes FROM (
            SELECT * FROM share WHERE user_limit = 0 OR jobs < user_limit
            ORDER BY rank, (jobs + 1) / weight, since NULLS LAST, random() LIMIT wide) s
    ), level AS MATERIALIZED (
        SELECT w.rank, min(w.turn) AS turn FROM (
            SELECT f.rank, (most + sum(f.jobs) OVER o) / sum(f.weight) OVER o AS turn
            FROM first f WINDOW o AS (PARTITION BY f.rank ORDER BY (f.jobs + 1) / f.weight, f.owner)) w
        GROUP BY w.rank
    ), bound AS MATERIALIZED (
        SELECT f.*, least(wide, greatest(ceil(wide / f.lanes::float8), 2 * ceil(z.turn * f.weight - f.jobs)))::integer AS share
        FROM first f JOIN level z ON z.rank = f.rank
    ), candidate AS (
        SELECT j.*, b.jobs, (b.jobs + j.n) / b.weight AS turn, j.n = b.share AS more
        FROM bound b CROSS JOIN LATERAL (
            SELECT i.*, row_number() OVER () AS n FROM (
                SELECT q.ctid AS place_in_queue, q.rank, q.owner, q.eligible_at, q.key, q.attempt FROM queue q
                WHERE q.rank = b.rank AND q.owner = b.owner ORDER BY q.place, q.eligible_at, q.key LIMIT b.share) i) j
    ), chosen AS MATERIALIZED (
        SELECT c.* FROM (
            SELECT d.*, d.jobs + row_number() OVER (PARTITION BY d.owner ORDER BY d.rank, d.turn) AS would_run FROM candidate d) c
        WHERE user_limit = 0 OR c.would_run <= user_limit
        ORDER BY c.rank, c.turn, c.eligible_at, c.key LIMIT wide
    ), locked AS (
        SELECT c.place_in_queue, t.place_in_trabajos FROM (SELECT * FROM chosen ORDER BY rank, turn, eligible_at, key) c
        CROSS JOIN LATERAL (
            SELECT u.ctid AS place_in_trabajos FROM trabajos u WHERE u.key = c.key AND u.status = 'Queued' AND u.attempt = c.attempt
            FOR UPDATE SKIP LOCKED) t
        LIMIT most
    ), claimed AS (
        UPDATE trabajos t SET status = 'Running', attempt = t.attempt + 1, worker = who, claimed_at = now()
        FROM locked l WHERE t.ctid = l.place_in_trabajos
        RETURNING t.key, t.attempt, t.owner, t.usuario, t.url, t.ref, t.timeout_s, t.retries, t.spec, t.posted_at,
        t.platform_failures, t.user_failures, t.cancel_requested_at, l.place_in_queue
    ), taken AS (
        DELETE FROM queue q USING claimed c WHERE q.ctid = c.place_in_queue
    ), history AS (
        INSERT INTO attempts (key, attempt, worker, owner, lease_until)
        SELECT c.key, c.attempt, who, c.owner, now() + make_interval(secs => lease_s) FROM claimed c
    )
    SELECT n.candidates, c.key, c.attempt, c.owner, c.usuario, c.url, c.ref, c.timeout_s, c.retries, c.spec,
        (extract(epoch FROM c.posted_at) * 1000)::bigint, c.platform_failures, c.user_failures, c.cancel_requested_at IS NOT NULL
    FROM (
        -- fewer than asked for, but a lane gave all that it was asked for: there are more
        SELECT CASE WHEN count(*) < most AND bool_or(c.more AND user_limit = 0) THEN most ELSE count(*) END AS candidates
        FROM chosen c) n LEFT JOIN claimed c ON true;
END $$;

-- Many attempts at once: ended ones with their visible result, and those that are to be tried again (status 'Queued', after
-- delays_ms; one whose cancel was asked for meanwhile ends instead). Every one is a compare-and-set of its own; answered are
-- those that were the caller's. Each chunk of output belongs
-- to the chunks_of-th (from 1) of them. A job with a concurrency key gets its place from the trigger of trabajos, in the order
-- of the locks.
CREATE FUNCTION trabajos_finish(
    keys uuid[], fences integer[], statuses text[], delays_ms bigint[], deaths integer[], outcomes jsonb[], details jsonb[],
    executions_ms bigint[], commits text[], failures_of_user integer[], failures_of_platform integer[],
    chunks_of integer[], seqs integer[], streams smallint[], moments_ms bigint[], chunks bytea[]
) RETURNS TABLE (key uuid, attempt integer) LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    -- of those that are the caller's: which of the arguments, and where the rows are
    held integer[];
    jobs tid[];
    histories tid[];
    -- those that would be tried again, but are not wanted any more
    unwanted integer[];
    cancelled constant jsonb := jsonb_build_object('code', 'cancelled', 'blame', 'user', 'exit_code', NULL, 'signal', NULL,
        'message', 'cancelled before it was tried again');
    n integer;
BEGIN
    SELECT
        array_agg(l.n ORDER BY l.owner COLLATE "C", l.concurrency_key COLLATE "C", l.key),
        array_agg(l.job ORDER BY l.owner COLLATE "C", l.concurrency_key COLLATE "C", l.key),
        array_agg(l.history ORDER BY l.owner COLLATE "C", l.concurrency_key COLLATE "C", l.key),
        coalesce(array_agg(l.n) FILTER (WHERE l.cancel_requested_at IS NOT NULL AND statuses[l.n] = 'Queued'), '{}')
    INTO held, jobs, histories, unwanted FROM (
        SELECT g.n, g.key, t.job, t.owner, t.concurrency_key, t.cancel_requested_at, a.history
        FROM (SELECT u.key, u.attempt, u.n FROM unnest(keys, fences) WITH ORDINALITY AS u (key, attempt, n) ORDER BY u.key) g
        CROSS JOIN LATERAL (
            SELECT t.ctid AS job, t.owner, t.concurrency_key, t.attempt, t.cancel_requested_at FROM trabajos t
            WHERE t.key = g.key
            AND t.attempt = g.attempt AND t.status = 'Running' -- the fence
            FOR UPDATE) t
        CROSS JOIN LATERAL (
            SELECT h.ctid AS history FROM attempts h WHERE h.key = g.key AND h.attempt = t.attempt FOR UPDATE) a
    ) l;
    IF held IS NULL THEN
        RETURN;
    END IF;
    FOREACH n IN ARRAY unwanted LOOP
        statuses[n] := 'Cancelled';
    END LOOP;
    RETURN QUERY
    WITH done AS (
        UPDATE trabajos t SET status = statuses[h.n],
            outcome = CASE WHEN h.n = ANY (unwanted) THEN cancelled ELSE outcomes[h.n] END, execution_ms = executions_ms[h.n],
            commit_id = commits[h.n], user_failures = failures_of_user[h.n], platform_failures = failures_of_platform[h.n],
            eligible_at = CASE WHEN statuses[h.n] = 'Queued' THEN now() + delays_ms[h.n] * interval '1 millisecond'
                ELSE t.eligible_at END,
            finished_at = CASE WHEN statuses[h.n] = 'Queued' THEN NULL ELSE now() END,
            worker = CASE WHEN statuses[h.n] = 'Queued' THEN NULL ELSE t.worker END
        FROM unnest(held, jobs) AS h (n, job) WHERE t.ctid = h.job
        RETURNING h.n, t.key, t.attempt, t.owner, t.usuario, t.admin, t.priority, t.status, t.eligible_at, t.concurrency_key
    ), ended AS (
        UPDATE attempts a SET finished_at = now(), outcome = outcomes[h.n], detail = details[h.n]
        FROM unnest(held, histories) AS h (n, history) WHERE a.ctid = h.history
    ), output AS (
        INSERT INTO logs (key, attempt, seq, stream, at, data)
        SELECT keys[o.n], fences[o.n], o.seq, o.stream, to_timestamp(o.at_ms / 1000.0), o.data
        FROM unnest(chunks_of, seqs, streams, moments_ms, chunks) AS o (n, seq, stream, at_ms, data) WHERE o.n = ANY (held)
        ON CONFLICT DO NOTHING
    ), visible AS (
        INSERT INTO resultados (usuario, key, status)
        SELECT d.usuario, d.key::text, d.status FROM done d WHERE d.status <> 'Queued' ORDER BY d.key
        ON CONFLICT (usuario, key) DO UPDATE SET status = excluded.status
    ), unpublished AS (
        -- the worker itself produces the record of what it has ended; should it not, a sweeper does
        INSERT INTO outbox (key, attempt, publish_after)
        SELECT d.key, d.attempt, now() + CASE WHEN d.n = ANY (unwanted) THEN interval '0' ELSE interval '10 seconds' END FROM done d
        WHERE d.status <> 'Queued'
    ), dead AS (
        INSERT INTO dead_letters (key, owner)
        SELECT d.key, d.owner FROM done d WHERE deaths[d.n] = 1 AND d.status = 'Failed'
    ), delayed AS (
        INSERT INTO delayed (eligible_at, key)
        SELECT d.eligible_at, d.key FROM done d WHERE d.status = 'Queued' AND d.concurrency_key IS NULL AND d.eligible_at > now()
    ), queued AS (
        INSERT INTO queue (rank, owner, place, eligible_at, key, attempt)
        SELECT CASE WHEN d.admin THEN -d.priority ELSE 0 END, d.owner, -d.priority, d.eligible_at, d.key, d.attempt FROM done d
        WHERE d.status = 'Queued' AND d.concurrency_key IS NULL AND d.eligible_at <= now()
    )
    SELECT d.key, fences[d.n] FROM done d;
END $$;
