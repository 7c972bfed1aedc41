-- A claim that meets empty lanes, and the order in which locks are taken.

-- When a copy of the job's record came a day and more after the first one: the row has to outlive the copy too.
ALTER TABLE trabajos ADD reposted_at timestamptz;

-- ---- lanes

-- Whoever adds a lane, this one too, holds its advisory lock, and leaves out those that another is about to add: so nobody waits here,
-- and no order is needed.
CREATE OR REPLACE FUNCTION lanes_refresh() RETURNS void LANGUAGE plpgsql
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
    ), missing AS MATERIALIZED (
        -- each takes a lock, of which a server has only so many
        SELECT m.rank, m.owner FROM lane m
        WHERE (SELECT true FROM lanes l WHERE l.rank = m.rank AND l.owner = m.owner LIMIT 1) IS NULL LIMIT 1000
    ) SELECT m.rank, m.owner FROM missing m
    WHERE pg_try_advisory_xact_lock(hashtextextended(m.rank || E'\x1f' || m.owner, 22)) ON CONFLICT DO NOTHING;
    DELETE FROM lanes l WHERE (SELECT true FROM queue q WHERE q.rank = l.rank AND q.owner = l.owner LIMIT 1) IS NULL;
END $$;

-- ---- claim and finish

-- As before (0017-pace.sql), but where so many of the lanes looked at were empty that jobs of others were not seen, it chooses once more
-- among those that have jobs. (Whose jobs have just begun leaves an empty lane until lanes_refresh comes by; a claim removes none,
-- since an insert at that moment would not be seen.)
CREATE OR REPLACE FUNCTION trabajos_take(who text, most integer, lease_s integer, user_limit integer, weights jsonb)
RETURNS TABLE (
    candidates bigint, key uuid, attempt integer, owner text, usuario text, url text, ref text, timeout_s integer, retries integer,
    spec jsonb, posted_ms bigint, platform_failures integer, user_failures integer, cancel boolean, waited_ms bigint
) LANGUAGE plpgsql
SET enable_hashjoin = on SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    wide constant integer := most * 2 + 8;
    sure boolean := false;
BEGIN
    -- Whoever retires a worker takes the same lock alone, and then knows what it runs.
    PERFORM pg_advisory_xact_lock_shared(hashtextextended(who, 21));
    IF EXISTS (SELECT FROM workers w WHERE w.worker = who AND w.draining) THEN
        RETURN;
    END IF;
    IF user_limit > 0 THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('trabajos_claim', 20));
    END IF;
    LOOP
        RETURN QUERY
        WITH running AS MATERIALIZED (
            SELECT a.owner, count(*)::integer AS jobs FROM attempts a WHERE a.finished_at IS NULL GROUP BY a.owner
        ), oldest AS MATERIALIZED (
            SELECT q.owner, min(q.eligible_at) AS since FROM (
                SELECT n.owner, n.eligible_at FROM queue n ORDER BY n.eligible_at LIMIT wide) q GROUP BY q.owner
        ), share AS (
            SELECT l.rank, l.owner, coalesce(r.jobs, 0) AS jobs, o.since,
                CASE WHEN weights IS NULL THEN 1 ELSE coalesce((weights ->> l.owner)::float8, (
                    SELECT (weights ->> t.usuario)::float8 FROM (
                        SELECT q.key FROM queue q WHERE q.rank = l.rank AND q.owner = l.owner
                        ORDER BY q.place, q.eligible_at, q.key LIMIT 1) h
                    CROSS JOIN LATERAL (SELECT u.usuario FROM trabajos u WHERE u.key = h.key OFFSET 0) t), 1) END AS weight
            FROM lanes l FULL JOIN running r ON r.owner = l.owner FULL JOIN oldest o ON o.owner = l.owner
            OFFSET 0
        ), first AS MATERIALIZED (
            SELECT s.rank, s.owner, s.jobs, s.weight FROM share s WHERE s.rank IS NOT NULL AND (user_limit = 0 OR s.jobs < user_limit)
            AND (NOT sure OR (SELECT true FROM queue q WHERE q.rank = s.rank AND q.owner = s.owner LIMIT 1))
            ORDER BY s.rank, (s.jobs + 1) / s.weight, s.since NULLS LAST, CASE WHEN s.since IS NULL THEN random() END LIMIT wide
        ), level AS MATERIALIZED (
            SELECT w.rank, min(w.turn) AS turn FROM (
                SELECT f.rank, (most + sum(f.jobs) OVER o) / sum(f.weight) OVER o AS turn
                FROM first f WINDOW o AS (PARTITION BY f.rank ORDER BY (f.jobs + 1) / f.weight ROWS UNBOUNDED PRECEDING)) w
            GROUP BY w.rank
        ), bound AS MATERIALIZED (
            SELECT f.*, row_number() OVER () AS lane, least(wide, greatest(ceil(wide / n.lanes::float8),
                CASE WHEN n.lanes < 2 * most THEN 2 ELSE 1 END * ceil(z.turn * f.weight - f.jobs)))::integer AS share
            FROM (SELECT count(*) AS lanes FROM first) n CROSS JOIN first f JOIN level z ON z.rank = f.rank
        ), candidate AS (
            SELECT j.*, b.jobs, b.weight, b.share, row_number() OVER (PARTITION BY b.lane ORDER BY j.place, j.eligible_at, j.key) AS n
            FROM bound b CROSS JOIN LATERAL (
                SELECT q.ctid AS place_in_queue, q.rank, q.owner, q.place, q.eligible_at, q.key, q.attempt FROM queue q
                WHERE q.rank = b.rank AND q.owner = b.owner ORDER BY q.place, q.eligible_at, q.key LIMIT b.share) j
        ), chosen AS MATERIALIZED (
            SELECT c.place_in_queue, c.rank, c.turn, c.eligible_at, c.key, c.attempt, c.more FROM (
                SELECT d.*, (d.jobs + d.n) / d.weight AS turn, d.n = d.share AS more, d.jobs + row_number() OVER (
                    PARTITION BY CASE WHEN user_limit > 0 THEN d.owner END ORDER BY d.rank, d.n) AS would_run FROM candidate d) c
            WHERE user_limit = 0 OR c.would_run <= user_limit
            ORDER BY c.rank, c.turn, c.eligible_at LIMIT wide
        ), found AS MATERIALIZED (
            -- fewer than asked for, but a lane gave all that it was asked for: there are more
            SELECT CASE WHEN count(*) < most AND bool_or(c.more AND user_limit = 0) THEN most ELSE count(*) END AS candidates,
                NOT sure AND count(*) < most AND (SELECT count(*) FROM first) = wide AND EXISTS (SELECT FROM oldest) AS doubtful
            FROM chosen c
        ), locked AS (
            SELECT c.place_in_queue, t.place_in_trabajos FROM (SELECT * FROM chosen ORDER BY rank, turn, eligible_at) c
            CROSS JOIN LATERAL (
                SELECT u.ctid AS place_in_trabajos FROM trabajos u WHERE u.key = c.key AND u.status = 'Queued' AND u.attempt = c.attempt
                FOR UPDATE SKIP LOCKED) t
            LIMIT CASE WHEN (SELECT f.doubtful FROM found f) THEN 0 ELSE most END
        ), claimed AS (
            UPDATE trabajos t SET status = 'Running', attempt = t.attempt + 1, worker = who, claimed_at = now()
            FROM locked l WHERE t.ctid = l.place_in_trabajos
            RETURNING t.key, t.attempt, t.owner, t.usuario, t.url, t.ref, t.timeout_s, t.retries, t.spec, t.posted_at,
            t.platform_failures, t.user_failures, t.cancel_requested_at, t.eligible_at, t.concurrency_key, l.place_in_queue
        ), taken AS (
            DELETE FROM queue q USING claimed c WHERE q.ctid = c.place_in_queue
        ), history AS (
            INSERT INTO attempts (key, attempt, worker, owner, lease_until)
            SELECT c.key, c.attempt, who, c.owner, now() + make_interval(secs => lease_s) FROM claimed c
        )
        SELECT n.candidates, c.key, c.attempt, c.owner, c.usuario, c.url, c.ref, c.timeout_s, c.retries, c.spec,
            (extract(epoch FROM c.posted_at) * 1000)::bigint, c.platform_failures, c.user_failures, c.cancel_requested_at IS NOT NULL,
            CASE WHEN c.concurrency_key IS NULL THEN (extract(epoch FROM now() - c.eligible_at) * 1000)::bigint END
        FROM found n LEFT JOIN claimed c ON true WHERE NOT n.doubtful;
        EXIT WHEN FOUND;
        sure := true;
    END LOOP;
END $$;

-- As before (0017-pace.sql), but for the order in which attempts are locked.
CREATE OR REPLACE FUNCTION trabajos_finish(
    keys uuid[], fences integer[], statuses text[], delays_ms bigint[], deaths integer[], outcomes jsonb[], details jsonb[],
    executions_ms bigint[], commits text[], failures_of_user integer[], failures_of_platform integer[],
    chunks_of integer[], seqs integer[], streams smallint[], moments_ms bigint[], chunks bytea[]
) RETURNS TABLE (key uuid, attempt integer) LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    -- which of the arguments, in the order of the locks
    held integer[];
    -- those that would be tried again, but are not wanted any more
    unwanted integer[] := '{}';
    cancelled constant jsonb := jsonb_build_object('code', 'cancelled', 'blame', 'user', 'exit_code', NULL, 'signal', NULL,
        'message', 'cancelled before it was tried again');
    n integer;
BEGIN
    -- whoever runs with such a key has a row in concurrency until it ends
    IF 'Queued' = ANY (statuses)
        OR EXISTS (SELECT FROM unnest(keys) AS u (key) WHERE (SELECT true FROM concurrency c WHERE c.key = u.key)) THEN
        SELECT array_agg(l.n), coalesce(array_agg(l.n) FILTER (WHERE l.cancel_requested_at IS NOT NULL AND statuses[l.n] = 'Queued'), '{}')
        INTO held, unwanted FROM (
            SELECT g.n, t.cancel_requested_at
            FROM (SELECT u.key, u.attempt, u.n FROM unnest(keys, fences) WITH ORDINALITY AS u (key, attempt, n) ORDER BY u.key) g
            CROSS JOIN LATERAL (
                SELECT t.owner, t.concurrency_key, t.cancel_requested_at FROM trabajos t
                WHERE t.key = g.key
                AND t.attempt = g.attempt AND t.status = 'Running' -- the fence
                FOR UPDATE) t
            ORDER BY t.owner COLLATE "C", t.concurrency_key COLLATE "C", g.key
        ) l;
        IF held IS NULL THEN
            RETURN;
        END IF;
        -- in the order of the heartbeat that may be under way, not of the update below
        PERFORM FROM (SELECT keys[u.n] AS key, fences[u.n] AS attempt FROM unnest(held) AS u (n) ORDER BY keys[u.n]) g
        CROSS JOIN LATERAL (SELECT FROM attempts a WHERE a.key = g.key AND a.attempt = g.attempt FOR UPDATE) a;
        FOREACH n IN ARRAY unwanted LOOP
            statuses[n] := 'Cancelled';
        END LOOP;
    ELSE
        SELECT array_agg(u.n ORDER BY u.key) INTO held FROM unnest(keys) WITH ORDINALITY AS u (key, n);
    END IF;
    RETURN QUERY
    WITH done AS (
        UPDATE trabajos t SET status = statuses[h.n],
            outcome = CASE WHEN h.n = ANY (unwanted) THEN cancelled ELSE outcomes[h.n] END, execution_ms = executions_ms[h.n],
            commit_id = commits[h.n], user_failures = failures_of_user[h.n], platform_failures = failures_of_platform[h.n],
            eligible_at = CASE WHEN statuses[h.n] = 'Queued' THEN now() + delays_ms[h.n] * interval '1 millisecond'
                ELSE t.eligible_at END,
            finished_at = CASE WHEN statuses[h.n] = 'Queued' THEN NULL ELSE now() END,
            worker = CASE WHEN statuses[h.n] = 'Queued' THEN NULL ELSE t.worker END
        FROM unnest(held) AS h (n) WHERE t.key = keys[h.n]
        AND t.attempt = fences[h.n] AND t.status = 'Running' -- the fence
        RETURNING h.n, t.key, t.attempt, t.owner, t.usuario, t.admin, t.priority, t.status, t.eligible_at, t.concurrency_key
    ), ended AS (
        UPDATE attempts a SET finished_at = now(), outcome = outcomes[d.n], detail = details[d.n]
        FROM done d WHERE a.key = d.key AND a.attempt = d.attempt
    ), output AS (
        INSERT INTO logs (key, attempt, seq, stream, at, data)
        SELECT keys[o.n], fences[o.n], o.seq, o.stream, to_timestamp(o.at_ms / 1000.0), o.data
        FROM unnest(chunks_of, seqs, streams, moments_ms, chunks) AS o (n, seq, stream, at_ms, data)
        WHERE o.n = ANY (ARRAY(SELECT d.n FROM done d))
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
