-- What was foretold and decided, scored by what came: each range that was told to somebody, and each decision on workers.

-- ---- ranges that were told: the first and the newest of each time that a job waits

CREATE TABLE ranges_told (
    key uuid NOT NULL,
    -- the fence at that time
    attempt integer NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    -- how often
    told bigint NOT NULL,
    first_at timestamptz NOT NULL,
    first_low_ms bigint NOT NULL,
    first_high_ms bigint NOT NULL,
    newest_at timestamptz NOT NULL,
    newest_low_ms bigint NOT NULL,
    newest_high_ms bigint NOT NULL,
    -- NULL: not started yet, or not looked at since
    started_at timestamptz,
    -- when to look whether it has started
    look_at timestamptz NOT NULL,
    PRIMARY KEY (key, attempt)
) WITH (fillfactor = 80);
CREATE INDEX ranges_told_open ON ranges_told (look_at) WHERE started_at IS NULL;
CREATE INDEX ranges_told_first ON ranges_told (first_at);
CREATE INDEX ranges_told_id ON ranges_told (id);

-- A batch of what was told. Those known are changed, and cost no id: ids bound the table.
CREATE FUNCTION ranges_told_keep(keys uuid [], fences integer [], ats_ms bigint [], lows_ms bigint [], highs_ms bigint [])
RETURNS void LANGUAGE sql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
    WITH batch AS MATERIALIZED (
        SELECT u.key, u.attempt, count(*) AS times, min(ARRAY[u.at_ms, u.low_ms, u.high_ms]) AS first,
            max(ARRAY[u.at_ms, u.low_ms, u.high_ms]) AS newest
        FROM unnest(keys, fences, ats_ms, lows_ms, highs_ms) AS u (key, attempt, at_ms, low_ms, high_ms)
        GROUP BY u.key, u.attempt ORDER BY u.key, u.attempt
    ), known AS (
        UPDATE ranges_told r SET told = r.told + b.times, newest_at = to_timestamp(b.newest[1] / 1000.0),
            newest_low_ms = b.newest[2], newest_high_ms = b.newest[3]
        FROM batch b WHERE r.key = b.key AND r.attempt = b.attempt
        RETURNING r.key, r.attempt
    )
    INSERT INTO ranges_told (key, attempt, told, first_at, first_low_ms, first_high_ms, newest_at, newest_low_ms, newest_high_ms, look_at)
    SELECT b.key, b.attempt, b.times, to_timestamp(b.first[1] / 1000.0), b.first[2], b.first[3],
        to_timestamp(b.newest[1] / 1000.0), b.newest[2], b.newest[3], to_timestamp((b.first[1] + b.first[2]) / 1000.0)
    FROM batch b WHERE NOT EXISTS (SELECT FROM known k WHERE k.key = b.key AND k.attempt = b.attempt)
    ON CONFLICT DO NOTHING
$$;

-- Looks which of those jobs have started, `most` at a time, each ever more seldom; forgets what is older than two days, and all but
-- the newest `rows_kept`.
CREATE FUNCTION ranges_told_look(most integer, rows_kept integer) RETURNS void LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off AS $$
BEGIN
    WITH due AS (
        SELECT r.key, r.attempt FROM ranges_told r WHERE r.started_at IS NULL AND r.look_at <= now()
        ORDER BY r.look_at LIMIT most FOR UPDATE SKIP LOCKED
    ), seen AS (
        SELECT d.*, a.started_at, t.status FROM due d
        LEFT JOIN attempts a ON a.key = d.key AND a.attempt = d.attempt + 1
        LEFT JOIN trabajos t ON t.key = d.key
    ), gone AS (
        DELETE FROM ranges_told r USING seen s
        WHERE r.key = s.key AND r.attempt = s.attempt AND s.started_at IS NULL AND coalesce(s.status, '') <> 'Queued'
    )
    UPDATE ranges_told r SET started_at = s.started_at, look_at = now() + greatest(interval '1 second', (now() - r.first_at) / 8)
    FROM seen s WHERE r.key = s.key AND r.attempt = s.attempt AND (s.started_at IS NOT NULL OR s.status = 'Queued');
    DELETE FROM ranges_told WHERE ctid = ANY (ARRAY(
        SELECT r.ctid FROM ranges_told r WHERE r.first_at < now() - interval '2 days' ORDER BY r.first_at LIMIT most
        FOR UPDATE SKIP LOCKED));
    DELETE FROM ranges_told WHERE ctid = ANY (ARRAY(
        SELECT r.ctid FROM ranges_told r WHERE r.id <= (SELECT max(n.id) FROM ranges_told n) - rows_kept ORDER BY r.id
        FOR UPDATE SKIP LOCKED));
END $$;

-- The score of the last day, or of the last 5000: of the first range that was told of each wait, and of the newest. To the tenth of
-- a second, as they were told. bias: from the middle of the range.
CREATE FUNCTION ranges_told_summary()
RETURNS TABLE (which text, scored bigint, inside bigint, early bigint, late bigint, bias_ms bigint)
LANGUAGE sql STABLE SET enable_seqscan = off AS $$
    WITH latest AS (
        SELECT * FROM ranges_told q WHERE q.first_at > now() - interval '1 day' AND q.started_at IS NOT NULL
        ORDER BY q.first_at DESC LIMIT 5000
    ), ranges AS (
        SELECT 'first' AS which, extract(epoch FROM l.started_at - l.first_at) AS s, l.first_low_ms AS low_ms, l.first_high_ms AS high_ms
        FROM latest l
        UNION ALL SELECT 'newest', extract(epoch FROM l.started_at - l.newest_at), l.newest_low_ms, l.newest_high_ms FROM latest l
    ), came AS (
        SELECT r.which, greatest(0, round(r.s, 1) * 1000)::bigint AS ms, r.low_ms, r.high_ms FROM ranges r
    )
    SELECT n.which, count(c.ms), count(*) FILTER (WHERE c.ms BETWEEN c.low_ms AND c.high_ms), count(*) FILTER (WHERE c.ms < c.low_ms),
        count(*) FILTER (WHERE c.ms > c.high_ms),
        coalesce(percentile_disc(0.5) WITHIN GROUP (ORDER BY c.ms - (c.low_ms + c.high_ms) / 2), 0)
    FROM (VALUES ('first'), ('newest')) AS n (which) LEFT JOIN came c ON c.which = n.which GROUP BY n.which
$$;

-- Scores all that was foretold; the sample that nobody chose, then what was told.
CREATE FUNCTION forecasts_score(most integer, rows_kept integer)
RETURNS TABLE (which text, scored bigint, inside bigint, early bigint, late bigint, bias_ms bigint) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM ranges_told_look(most, rows_kept);
    RETURN QUERY SELECT 'sample', p.* FROM predictions_score(most) p;
    RETURN QUERY SELECT r.* FROM ranges_told_summary() r ORDER BY r.which;
END $$;

-- ---- decisions: what came of each

-- When it was judged, and until when it held: the next one, or ten minutes.
ALTER TABLE scale_decisions ADD judged_at timestamptz, ADD until timestamptz;
-- Jobs that were claimed meanwhile, those whose wait went over the deadline meanwhile, and the time of the workers that were there.
ALTER TABLE scale_decisions ADD claimed bigint, ADD late bigint, ADD worker_ms bigint;
-- The fewest workers that would have done, played with what came (observer/hindsight.h); and whether not all that ran was looked at.
ALTER TABLE scale_decisions ADD needed integer, ADD partly boolean;
CREATE INDEX scale_decisions_open ON scale_decisions (at) WHERE judged_at IS NULL;
CREATE INDEX scale_decisions_judged ON scale_decisions (at) INCLUDE (until, wanted, needed, claimed, late, worker_ms)
WHERE judged_at IS NOT NULL;

CREATE FUNCTION decision_verdict(wanted integer, needed integer) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN needed > wanted THEN 'more' WHEN needed < wanted THEN 'fewer' WHEN needed = wanted THEN 'right' END
$$;

-- What to judge next: decisions of the last day that have held for `ripe_ms` and their deadline's time, the oldest first.
CREATE FUNCTION decisions_to_judge(ripe_ms bigint, most integer)
RETURNS TABLE (
    id bigint, at_ms bigint, until_ms bigint, wanted integer, actual integer, busy bigint, draining bigint, slots bigint,
    start_ms bigint, run_ms bigint, deadline_ms bigint, min bigint, max bigint
) LANGUAGE sql STABLE SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off AS $$
    SELECT d.id, (extract(epoch FROM d.at) * 1000)::bigint, (extract(epoch FROM d.held_until) * 1000)::bigint, d.wanted, d.actual,
        coalesce((d.sample #>> '{workers,busy}')::bigint, 0), coalesce((d.sample #>> '{workers,draining}')::bigint, 0),
        coalesce((d.sample #>> '{workers,slots}')::bigint, 0), coalesce((d.sample #>> '{workers,start_ms}')::bigint, 0),
        coalesce((d.sample #>> '{runs,taken_as_ms}')::bigint, 0), coalesce((d.sample #>> '{limits,deadline_s}')::bigint * 1000, 0),
        coalesce((d.sample #>> '{limits,min}')::bigint, 0), coalesce((d.sample #>> '{limits,max}')::bigint, 0)
    FROM (
        SELECT o.*, least(o.at + interval '10 minutes', (
            SELECT n.at FROM scale_decisions n WHERE n.id > o.id ORDER BY n.id LIMIT 1)) AS held_until
        FROM scale_decisions o WHERE o.judged_at IS NULL AND o.at > now() - interval '1 day' ORDER BY o.at LIMIT most
    ) d
    WHERE d.held_until + (coalesce((d.sample #>> '{limits,deadline_s}')::bigint * 1000, 0) + ripe_ms) * interval '1 millisecond' < now()
$$;

-- What ran since a moment, what runs, and what waits since before another moment, in ms since the epoch: when it might run, when it
-- started and ended (NULL: not yet), and a number for the owner. What has a concurrency key came when it started: more workers would
-- not have helped it.
CREATE FUNCTION decisions_runs(since_ms bigint, before_ms bigint, most integer)
RETURNS TABLE (eligible_ms bigint, started_ms bigint, ended_ms bigint, owner_number bigint)
LANGUAGE sql STABLE SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET jit = off AS $$
    WITH ended AS (
        SELECT a.key, a.attempt, a.owner, a.started_at, a.finished_at FROM attempts a
        WHERE a.finished_at > to_timestamp(since_ms / 1000.0) ORDER BY a.finished_at LIMIT most
    ), running AS (
        SELECT a.key, a.attempt, a.owner, a.started_at, a.finished_at FROM attempts a WHERE a.finished_at IS NULL LIMIT most
    ), waiting AS (
        SELECT q.owner, q.eligible_at FROM queue q WHERE q.eligible_at < to_timestamp(before_ms / 1000.0)
        ORDER BY q.eligible_at LIMIT most
    ), runs AS (
        SELECT s.owner, least(s.started_at, CASE WHEN t.concurrency_key IS NOT NULL THEN s.started_at
            WHEN t.attempt = s.attempt THEN t.eligible_at
            ELSE coalesce((SELECT b.finished_at FROM attempts b WHERE b.key = s.key AND b.attempt = s.attempt - 1), t.posted_at)
            END) AS since, s.started_at, s.finished_at
        FROM (SELECT * FROM ended UNION ALL SELECT * FROM running) s JOIN trabajos t ON t.key = s.key
        UNION ALL SELECT w.owner, w.eligible_at, NULL, NULL FROM waiting w
    )
    SELECT (extract(epoch FROM r.since) * 1000)::bigint, (extract(epoch FROM r.started_at) * 1000)::bigint,
        (extract(epoch FROM r.finished_at) * 1000)::bigint, dense_rank() OVER (ORDER BY r.owner) - 1
    FROM runs r ORDER BY r.since
$$;

-- Of the decisions since a moment.
CREATE FUNCTION decisions_summary(since timestamptz)
RETURNS TABLE (judged bigint, right_ bigint, more bigint, fewer bigint, claimed bigint, late bigint, worker_ms bigint, needed_ms bigint)
LANGUAGE sql STABLE AS $$
    SELECT count(*), count(*) FILTER (WHERE d.needed = d.wanted), count(*) FILTER (WHERE d.needed > d.wanted),
        count(*) FILTER (WHERE d.needed < d.wanted), coalesce(sum(d.claimed), 0)::bigint, coalesce(sum(d.late), 0)::bigint,
        coalesce(sum(d.worker_ms), 0)::bigint, coalesce(sum(d.needed * extract(epoch FROM d.until - d.at) * 1000), 0)::bigint
    FROM scale_decisions d WHERE d.at > since AND d.judged_at IS NOT NULL
$$;

-- ---- GET /api/v1/scale

CREATE FUNCTION api_decision_outcome(d scale_decisions) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN d.judged_at IS NOT NULL THEN jsonb_build_object('until', api_moment(d.until), 'claimed', d.claimed, 'late', d.late,
        'worker_s', round(d.worker_ms / 1000.0, 1), 'needed', d.needed, 'verdict', decision_verdict(d.wanted, d.needed),
        'partly', d.partly) END
$$;

CREATE FUNCTION api_scale_score() RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT to_jsonb(p) || jsonb_build_object('coverage', round(p.inside::numeric / nullif(p.scored, 0), 3),
        'told', (SELECT jsonb_object_agg(r.which, (to_jsonb(r) - 'which')
            || jsonb_build_object('coverage', round(r.inside::numeric / nullif(r.scored, 0), 3))) FROM ranges_told_summary() r),
        'decisions', (SELECT jsonb_build_object('judged', s.judged, 'right', s.right_, 'more', s.more, 'fewer', s.fewer,
            'claimed', s.claimed, 'late', s.late, 'worker_hours', round(s.worker_ms / 3600000.0, 2),
            'needed_hours', round(s.needed_ms / 3600000.0, 2)) FROM decisions_summary(now() - interval '1 day') s))
    FROM predictions_summary() p
$$;

CREATE OR REPLACE FUNCTION api_scale(most integer) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'decisions', (SELECT coalesce(jsonb_agg(jsonb_build_object('at', api_moment(d.at), 'wanted', d.wanted, 'actual', d.actual,
            'bound', d.bound, 'reason', d.reason, 'actuator', d.actuator, 'sample', d.sample, 'outcome', api_decision_outcome(d))
            ORDER BY d.id DESC), '[]')
            FROM (SELECT * FROM scale_decisions ORDER BY id DESC LIMIT most) d),
        'actions', (SELECT coalesce(jsonb_agg(jsonb_build_object('at', api_moment(a.at), 'actuator', a.actuator, 'state', a.state,
            'wanted', a.wanted, 'actual', a.actual, 'detail', a.detail) ORDER BY a.id DESC), '[]')
            FROM (SELECT * FROM scale_actions ORDER BY id DESC LIMIT most) a),
        'forecast', (SELECT jsonb_build_object('at', api_moment(f.at), 'slots', f.slots, 'workers_starting', f.starting,
            'run_ms', f.run_ms, 'places', f.places, 'low_ms', f.low_ms, 'median_ms', f.median_ms, 'high_ms', f.high_ms)
            FROM scale_forecast f),
        'score', api_scale_score())
$$;
