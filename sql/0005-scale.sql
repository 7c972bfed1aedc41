-- How many workers there should be, who carries it out, and when a job that waits will start: decisions and what became of them,
-- retiring a worker, the forecast and its score.

-- ---- retiring a worker

-- When an observer asked it to leave. An operator who sets draining by hand leaves this NULL, and no observer touches that worker.
ALTER TABLE workers ADD retire_asked_at timestamptz;

-- From the moment this says 0 running, nothing runs on the worker and nothing will: a claim (0002-states.sql) holds the same lock,
-- shared, from before it looks at `draining` until it has committed. only_idle: a busy one is left alone. marked false: not ours.
CREATE FUNCTION workers_retire(who text, only_idle boolean, OUT running bigint, OUT marked boolean) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(who, 21));
    SELECT count(*) INTO running FROM attempts a WHERE a.worker = who AND a.finished_at IS NULL;
    marked := running = 0 OR NOT only_idle;
    IF marked THEN
        UPDATE workers w SET draining = true, retire_asked_at = coalesce(w.retire_asked_at, now())
        WHERE w.worker = who AND (NOT w.draining OR w.retire_asked_at IS NOT NULL);
        marked := FOUND;
    END IF;
END $$;

-- Takes that back.
CREATE FUNCTION workers_keep(who text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE workers w SET draining = false, retire_asked_at = NULL WHERE w.worker = who AND w.retire_asked_at IS NOT NULL;
    RETURN FOUND;
END $$;

-- ---- decisions, and what became of them: bounded

CREATE TABLE scale_decisions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    wanted integer NOT NULL,
    actual integer NOT NULL,
    -- what made it this number
    bound text NOT NULL,
    reason text NOT NULL,
    actuator text NOT NULL,
    -- the figures that it was decided by
    sample jsonb NOT NULL
);

CREATE TABLE scale_actions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    actuator text NOT NULL,
    state text NOT NULL CHECK (state IN ('asked', 'reached', 'failed')),
    wanted integer NOT NULL,
    actual integer NOT NULL,
    detail text
);

-- The newest `most` stay.
CREATE FUNCTION scale_trim(most integer) RETURNS void LANGUAGE sql AS $$
    DELETE FROM scale_decisions WHERE id <= (SELECT max(d.id) FROM scale_decisions d) - most;
    DELETE FROM scale_actions WHERE id <= (SELECT max(a.id) FROM scale_actions a) - most;
$$;

-- ---- the forecast: when the jobs that wait will start

-- Made by the leading observer every few seconds, by playing the queue forward with measured service times. One row.
CREATE TABLE scale_forecast (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    at timestamptz NOT NULL DEFAULT now(),
    -- slots of workers that claim, workers that were asked for and are not there yet
    slots bigint NOT NULL,
    starting bigint NOT NULL,
    run_ms bigint NOT NULL,
    -- the job at places[i] of the queue starts in so many ms: the 10th, 50th and 90th percentile; places grow, empty: nobody knows
    places bigint [] NOT NULL,
    low_ms bigint [] NOT NULL,
    median_ms bigint [] NOT NULL,
    high_ms bigint [] NOT NULL,
    -- who has jobs in the queue or running: how many, running ones, arrivals per 1000 s, and the weight of fair share
    ranks smallint [] NOT NULL,
    owners text [] NOT NULL,
    queued bigint [] NOT NULL,
    running bigint [] NOT NULL,
    arrivals_per_ks bigint [] NOT NULL,
    weights float8 [] NOT NULL
);

-- What was foretold, until it is seen what came. attempt: the fence at that time.
CREATE TABLE predictions (
    key uuid NOT NULL,
    attempt integer NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    position bigint NOT NULL,
    -- as simulated, and the range as told
    median_ms bigint NOT NULL,
    low_ms bigint NOT NULL,
    high_ms bigint NOT NULL,
    -- from made_at to the claim; NULL: not started yet, or not looked at since
    started_ms bigint,
    -- when to look whether it has started
    look_at timestamptz NOT NULL,
    PRIMARY KEY (key, attempt)
);
CREATE INDEX predictions_open ON predictions (look_at) WHERE started_ms IS NULL;
CREATE INDEX predictions_made ON predictions (made_at);

-- How far observed starts were from the simulated median in the last day, by how long the wait was to be: quantiles of
-- (observed + 1 s) / (median + 1 s), the latest 150 of each class, a little wide since times change. It corrects what is told.
CREATE TABLE prediction_errors (
    class integer PRIMARY KEY,
    scored bigint NOT NULL,
    low float8 NOT NULL,
    middle float8 NOT NULL,
    high float8 NOT NULL
);

CREATE FUNCTION prediction_class(median_ms bigint) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN median_ms < 2000 THEN 0 WHEN median_ms < 15000 THEN 1 WHEN median_ms < 120000 THEN 2 ELSE 3 END
$$;

-- The score of the last day, or of the last 5000. inside: of the range that was told.
CREATE FUNCTION predictions_summary(OUT scored bigint, OUT inside bigint, OUT early bigint, OUT late bigint, OUT bias_ms bigint)
LANGUAGE sql STABLE SET enable_seqscan = off AS $$
    SELECT count(*), count(*) FILTER (WHERE p.started_ms BETWEEN p.low_ms AND p.high_ms),
        count(*) FILTER (WHERE p.started_ms < p.low_ms), count(*) FILTER (WHERE p.started_ms > p.high_ms),
        coalesce(percentile_disc(0.5) WITHIN GROUP (ORDER BY p.started_ms - p.median_ms), 0)
    FROM (SELECT * FROM predictions q WHERE q.made_at > now() - interval '1 day' AND q.started_ms IS NOT NULL
        ORDER BY q.made_at DESC LIMIT 5000) p
$$;

-- Looks which of the foretold jobs have started, `most` at a time, each ever more seldom; forgets what is older than two days, and
-- says what the score is.
CREATE FUNCTION predictions_score(
    most integer, OUT scored bigint, OUT inside bigint, OUT early bigint, OUT late bigint, OUT bias_ms bigint
) LANGUAGE plpgsql SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off AS $$
BEGIN
    WITH due AS (
        SELECT p.key, p.attempt, p.made_at FROM predictions p WHERE p.started_ms IS NULL AND p.look_at <= now()
        ORDER BY p.look_at LIMIT most FOR UPDATE SKIP LOCKED
    ), seen AS (
        SELECT d.*, a.started_at, t.status FROM due d
        LEFT JOIN attempts a ON a.key = d.key AND a.attempt = d.attempt + 1
        LEFT JOIN trabajos t ON t.key = d.key
    ), gone AS (
        DELETE FROM predictions p USING seen s
        WHERE p.key = s.key AND p.attempt = s.attempt AND s.started_at IS NULL AND coalesce(s.status, '') <> 'Queued'
    )
    UPDATE predictions p SET
        started_ms = CASE WHEN s.started_at IS NOT NULL
            THEN greatest(0, extract(epoch FROM s.started_at - p.made_at) * 1000)::bigint END,
        look_at = now() + greatest(interval '1 second', (now() - p.made_at) / 8)
    FROM seen s WHERE p.key = s.key AND p.attempt = s.attempt AND (s.started_at IS NOT NULL OR s.status = 'Queued');
    DELETE FROM predictions WHERE ctid = ANY (ARRAY(
        SELECT p.ctid FROM predictions p WHERE p.made_at < now() - interval '2 days' ORDER BY p.made_at LIMIT most));
    SELECT s.* INTO scored, inside, early, late, bias_ms FROM predictions_summary() s;
END $$;

CREATE FUNCTION predictions_learn() RETURNS void LANGUAGE plpgsql SET enable_seqscan = off SET jit = off AS $$
BEGIN
    INSERT INTO prediction_errors (class, scored, low, middle, high)
    SELECT r.class, count(*), percentile_cont(0.09) WITHIN GROUP (ORDER BY r.ratio),
        percentile_cont(0.5) WITHIN GROUP (ORDER BY r.ratio), percentile_cont(0.91) WITHIN GROUP (ORDER BY r.ratio)
    FROM (
        SELECT prediction_class(p.median_ms) AS class, (p.started_ms + 1000.0) / (p.median_ms + 1000.0) AS ratio,
            row_number() OVER (PARTITION BY prediction_class(p.median_ms) ORDER BY p.made_at DESC) AS nth
        FROM (SELECT * FROM predictions q WHERE q.made_at > now() - interval '1 day' AND q.started_ms IS NOT NULL
            ORDER BY q.made_at DESC LIMIT 5000) p
    ) r WHERE r.nth <= 150 GROUP BY r.class
    ON CONFLICT (class) DO UPDATE SET scored = excluded.scored, low = excluded.low, middle = excluded.middle, high = excluded.high;
END $$;

-- ---- why a job waits, where it stands, and when it will start

-- The owner's jobs that go before: counted up to 2,000; beyond, the planner's estimate (EXPLAIN: not in a stable function).
CREATE FUNCTION queue_ahead(lane_rank smallint, whose text, at_place smallint, since timestamptz, k uuid,
    OUT jobs bigint, OUT estimated boolean)
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    most constant integer := 2000;
    plan jsonb;
BEGIN
    SELECT count(*) INTO jobs FROM (
        SELECT FROM queue q WHERE q.rank = lane_rank AND q.owner = whose AND (q.place, q.eligible_at, q.key) < (at_place, since, k)
        LIMIT most) n;
    estimated := jobs = most;
    IF estimated THEN
        EXECUTE format('EXPLAIN (FORMAT JSON) SELECT FROM queue q WHERE q.rank = %s AND q.owner = %L'
            ' AND (q.place < %s OR q.place = %s AND q.eligible_at < %L)', lane_rank, whose, at_place, at_place, since) INTO plan;
        jobs := greatest(most, (plan -> 0 -> 'Plan' ->> 'Plan Rows')::float8::bigint);
    END IF;
END $$;

-- How many of the others' jobs go before one that has `own` jobs of its own lane before it, as fair share has it: an owner's n-th job
-- has turn (running + n) / weight. `overtaking_per_s`: arrivals of others that will go before it too.
CREATE FUNCTION queue_others(f scale_forecast, lane_rank smallint, whose text, own bigint, own_running bigint,
    OUT jobs bigint, OUT overtaking_per_s float8)
LANGUAGE sql STABLE SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
    WITH mine AS (
        SELECT (own_running + own + 1) / coalesce(max(m.weight), 1) AS turn
        FROM unnest(f.ranks, f.owners, f.weights) AS m (rank, owner, weight) WHERE m.owner = whose
    ), known AS (
        SELECT n.* FROM unnest(f.ranks, f.owners, f.queued, f.running, f.arrivals_per_ks, f.weights)
        AS n (rank, owner, jobs, running, arrivals, weight)
    )
    SELECT coalesce(sum(CASE
        WHEN n.rank < lane_rank THEN n.jobs
        WHEN n.rank > lane_rank OR n.owner = whose THEN 0
        ELSE least(n.jobs, greatest(0, floor(mine.turn * n.weight)::bigint - n.running)) END), 0)::bigint,
    coalesce(sum(CASE WHEN n.owner <> whose AND n.rank <= lane_rank AND (n.running + 1) / n.weight < mine.turn
        THEN n.arrivals END), 0)::float8 / 1000
    FROM mine LEFT JOIN known n ON true
$$;

-- The n-th percentile's start of the job at a place, between the places that were simulated, and beyond them at the last pace.
CREATE FUNCTION forecast_ms(places bigint [], starts bigint [], place float8) RETURNS float8 LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    n constant integer := cardinality(places);
    i integer := 1;
BEGIN
    IF n < 2 THEN
        RETURN starts[1];
    END IF;
    WHILE i < n - 1 AND places[i + 1] < place LOOP
        i := i + 1;
    END LOOP;
    RETURN starts[i] + (greatest(place, 1) - places[i]) * (starts[i + 1] - starts[i])::float8 / (places[i + 1] - places[i]);
END $$;

-- The range for the start of the job behind `ahead` others, corrected by what came of earlier ones; NULL where no observer has foretold
-- anything lately, or no worker is there nor was asked for.
CREATE FUNCTION forecast_range(f scale_forecast, ahead bigint, overtaking_per_s float8, OUT low_ms bigint, OUT median_ms bigint,
    OUT high_ms bigint) LANGUAGE plpgsql STABLE AS $$
DECLARE
    passed constant bigint := extract(epoch FROM now() - f.at) * 1000;
    e prediction_errors;
    middle float8;
    top float8;
BEGIN
    IF f.at IS NULL OR passed > 30000 OR cardinality(f.places) = 0 THEN
        RETURN;
    END IF;
    middle := forecast_ms(f.places, f.median_ms, ahead + 1);
    top := forecast_ms(f.places, f.high_ms, ahead + 1);
    FOR round IN 1..3 LOOP
        middle := forecast_ms(f.places, f.median_ms, ahead + 1 + least(overtaking_per_s * middle / 1000, 3.0 * ahead + 3));
        top := forecast_ms(f.places, f.high_ms, ahead + 1 + least(overtaking_per_s * top / 1000, 3.0 * ahead + 3));
    END LOOP;
    median_ms := middle;
    low_ms := least(forecast_ms(f.places, f.low_ms, ahead + 1), middle);
    high_ms := greatest(top, middle);
    SELECT * INTO e FROM prediction_errors c WHERE c.class = prediction_class(forecast_range.median_ms) AND c.scored >= 12;
    IF FOUND THEN
        low_ms := (median_ms + 1000) * e.low - 1000;
        high_ms := (median_ms + 1000) * e.high - 1000;
    END IF;
    low_ms := greatest(0, low_ms);
    high_ms := greatest(low_ms, high_ms);
END $$;

CREATE FUNCTION forecast_json(low_ms bigint, high_ms bigint) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN low_ms IS NOT NULL THEN jsonb_build_object('low', round(low_ms / 1000.0, 1), 'high', round(high_ms / 1000.0, 1))
        ELSE 'null' END
$$;

-- Where a job of the queue stands, and when it will start.
CREATE FUNCTION queue_outlook(t trabajos, OUT own bigint, OUT own_running bigint, OUT standing bigint, OUT estimated boolean,
    OUT low_ms bigint, OUT median_ms bigint, OUT high_ms bigint)
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    lane_rank constant smallint := CASE WHEN t.admin THEN -t.priority ELSE 0 END;
    f scale_forecast;
    others record;
BEGIN
    SELECT a.jobs, a.estimated INTO own, estimated
    FROM queue_ahead(lane_rank, t.owner, (-t.priority)::smallint, t.eligible_at, t.key) a;
    SELECT count(*) INTO own_running FROM attempts a WHERE a.owner = t.owner AND a.finished_at IS NULL;
    SELECT * INTO f FROM scale_forecast;
    SELECT * INTO others FROM queue_others(f, lane_rank, t.owner, own, own_running);
    standing := own + others.jobs + 1;
    SELECT r.low_ms, r.median_ms, r.high_ms INTO low_ms, median_ms, high_ms
    FROM forecast_range(f, standing - 1, others.overtaking_per_s) r;
END $$;

-- Of a job that waits for a place among so many: rounds of those before it.
CREATE FUNCTION concurrency_range(ahead bigint, places integer, OUT low_ms bigint, OUT high_ms bigint) LANGUAGE plpgsql STABLE AS $$
DECLARE
    f scale_forecast;
    one record;
    rounds constant float8 := ahead::float8 / places;
BEGIN
    SELECT * INTO f FROM scale_forecast;
    SELECT * INTO one FROM forecast_range(f, 0, 0);
    IF one.low_ms IS NOT NULL THEN
        low_ms := one.low_ms + f.run_ms * rounds * 0.5;
        high_ms := one.high_ms + f.run_ms * (rounds * 1.5 + 2);
    END IF;
END $$;

CREATE OR REPLACE FUNCTION api_waiting(t trabajos, user_limit integer) RETURNS jsonb LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    most constant integer := 10000;
    c concurrency;
    f scale_forecast;
    o record;
    ahead bigint;
    holding bigint;
    workers_there boolean;
BEGIN
    IF t.status <> 'Queued' THEN
        RETURN NULL;
    END IF;
    SELECT * INTO f FROM scale_forecast s WHERE s.at > now() - interval '30 seconds';
    IF t.eligible_at > now() THEN
        SELECT r.low_ms, r.high_ms INTO o FROM forecast_range(f, 0, 0) r;
        RETURN jsonb_build_object('reason', CASE WHEN t.attempt > 0 THEN 'backoff' ELSE 'delayed' END,
            'until', api_moment(t.eligible_at), 'eta_s', forecast_json(
                (extract(epoch FROM t.eligible_at - now()) * 1000)::bigint + o.low_ms,
                (extract(epoch FROM t.eligible_at - now()) * 1000)::bigint + o.high_ms));
    END IF;
    SELECT * INTO c FROM concurrency w WHERE w.key = t.key AND NOT w.holds;
    IF FOUND THEN
        SELECT count(*) INTO ahead FROM (
            SELECT FROM concurrency w
            WHERE w.owner = t.owner AND w.concurrency_key = t.concurrency_key AND NOT w.holds AND w.replaced_by IS NULL
            AND (w.place, w.eligible_at, w.key) < (c.place, c.eligible_at, c.key) LIMIT most) n;
        SELECT count(*) INTO holding FROM concurrency w
        WHERE w.owner = t.owner AND w.concurrency_key = t.concurrency_key AND w.holds;
        SELECT r.low_ms, r.high_ms INTO o FROM concurrency_range(ahead, t.concurrency_limit) r;
        RETURN jsonb_build_object('reason', 'concurrency_key', 'position', ahead + 1, 'holding', holding,
            'limit', t.concurrency_limit, 'eta_s', forecast_json(o.low_ms, o.high_ms));
    END IF;
    SELECT * INTO o FROM queue_outlook(t);
    workers_there := EXISTS (SELECT FROM workers w WHERE NOT w.draining AND w.seen_at > now() - interval '1 minute');
    IF user_limit > 0 AND o.own_running >= user_limit THEN
        SELECT r.low_ms, r.high_ms INTO o.low_ms, o.high_ms FROM concurrency_range(o.own, user_limit) r;
    END IF;
    RETURN jsonb_build_object('reason', CASE
        WHEN NOT workers_there AND coalesce(f.starting, 0) > 0 THEN 'workers_starting'
        WHEN NOT workers_there THEN 'no_worker'
        WHEN user_limit > 0 AND o.own_running >= user_limit THEN 'user_limit'
        WHEN o.own > 0 THEN 'own_jobs'
        WHEN o.standing > 1 THEN 'turn'
        ELSE 'no_free_slot' END,
        'position', o.standing, 'position_estimated', o.estimated, 'own_position', o.own + 1, 'running', o.own_running,
        'users', (SELECT count(DISTINCT l.owner) FROM lanes l), 'workers_starting', coalesce(f.starting, 0),
        'eta_s', forecast_json(o.low_ms, o.high_ms));
END $$;

-- Keeps what is foretold to queued jobs, once for each time that they wait. keys: of these; NULL: of up to `most` that came last.
CREATE FUNCTION predictions_keep(keys uuid [], most integer) RETURNS bigint LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    kept bigint;
BEGIN
    INSERT INTO predictions (key, attempt, position, median_ms, low_ms, high_ms, look_at)
    SELECT t.key, t.attempt, o.standing, o.median_ms, o.low_ms, o.high_ms, now() + o.low_ms * interval '1 millisecond'
    FROM (
        SELECT n.key, n.attempt FROM (
            SELECT q.key, q.attempt FROM queue q WHERE keys IS NULL AND q.eligible_at > now() - interval '1 minute'
            ORDER BY q.eligible_at DESC LIMIT most) n
        UNION ALL SELECT k.key, NULL FROM unnest(keys) AS k (key)
    ) q JOIN trabajos t ON t.key = q.key CROSS JOIN LATERAL queue_outlook(t) o
    WHERE t.status = 'Queued' AND t.eligible_at <= now() AND (t.concurrency_key IS NULL OR q.attempt IS NOT NULL)
    AND o.median_ms IS NOT NULL
    AND NOT EXISTS (SELECT FROM predictions p WHERE p.key = t.key AND p.attempt = t.attempt)
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS kept = ROW_COUNT;
    RETURN kept;
END $$;

-- ---- GET /api/v1/scale

CREATE FUNCTION api_scale(most integer) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'decisions', (SELECT coalesce(jsonb_agg(jsonb_build_object('at', api_moment(d.at), 'wanted', d.wanted, 'actual', d.actual,
            'bound', d.bound, 'reason', d.reason, 'actuator', d.actuator, 'sample', d.sample) ORDER BY d.id DESC), '[]')
            FROM (SELECT * FROM scale_decisions ORDER BY id DESC LIMIT most) d),
        'actions', (SELECT coalesce(jsonb_agg(jsonb_build_object('at', api_moment(a.at), 'actuator', a.actuator, 'state', a.state,
            'wanted', a.wanted, 'actual', a.actual, 'detail', a.detail) ORDER BY a.id DESC), '[]')
            FROM (SELECT * FROM scale_actions ORDER BY id DESC LIMIT most) a),
        'forecast', (SELECT jsonb_build_object('at', api_moment(f.at), 'slots', f.slots, 'workers_starting', f.starting,
            'run_ms', f.run_ms, 'places', f.places, 'low_ms', f.low_ms, 'median_ms', f.median_ms, 'high_ms', f.high_ms)
            FROM scale_forecast f),
        'score', (SELECT to_jsonb(p) || jsonb_build_object('coverage', round(p.inside::numeric / nullif(p.scored, 0), 3))
            FROM predictions_summary() p))
$$;
