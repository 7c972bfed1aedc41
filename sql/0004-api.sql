-- What /api/v1 shows of jobs, and the replay of many dead letters. Moments are RFC 3339 in UTC.

CREATE FUNCTION api_moment(moment timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

-- What a worker noted about an attempt.
CREATE FUNCTION api_figures(detail jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_object('plan', detail -> 'plan', 'limits', detail -> 'limits', 'isolation', detail -> 'isolation',
        'peak_memory_bytes', detail -> 'peak_memory_bytes', 'cpu_us', detail -> 'cpu_us', 'times_us', detail -> 'times_us',
        'output', detail -> 'output')
$$;

-- The newest of a job's attempts, oldest first.
CREATE FUNCTION api_attempts(k uuid, most integer) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('attempt', a.attempt, 'worker', a.worker, 'started_at', api_moment(a.started_at),
        'finished_at', api_moment(a.finished_at), 'commit', a.detail -> 'commit', 'outcome', a.outcome) || api_figures(a.detail)
        ORDER BY a.attempt), '[]')
    FROM (SELECT * FROM attempts WHERE key = k ORDER BY attempt DESC LIMIT most) a
$$;

-- Why a queued job does not run yet: what is known without asking how all others stand; NULL of any other job. Counting ends at
-- 10,000. The plan must not depend on statistics of tables that fill and empty within minutes.
CREATE FUNCTION api_waiting(t trabajos, user_limit integer) RETURNS jsonb LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    most constant integer := 10000;
    c concurrency;
    ahead bigint;
    running bigint;
BEGIN
    IF t.status <> 'Queued' THEN
        RETURN NULL;
    END IF;
    IF t.eligible_at > now() THEN
        RETURN jsonb_build_object('reason', CASE WHEN t.attempt > 0 THEN 'backoff' ELSE 'delayed' END,
            'until', api_moment(t.eligible_at));
    END IF;
    SELECT * INTO c FROM concurrency w WHERE w.key = t.key AND NOT w.holds;
    IF FOUND THEN
        SELECT count(*) INTO ahead FROM (
            SELECT FROM concurrency w
            WHERE w.owner = t.owner AND w.concurrency_key = t.concurrency_key AND NOT w.holds AND w.replaced_by IS NULL
            AND (w.place, w.eligible_at, w.key) < (c.place, c.eligible_at, c.key) LIMIT most) n;
        SELECT count(*) INTO running FROM concurrency w
        WHERE w.owner = t.owner AND w.concurrency_key = t.concurrency_key AND w.holds;
        RETURN jsonb_build_object('reason', 'concurrency_key', 'position', ahead + 1, 'holding', running,
            'limit', t.concurrency_limit);
    END IF;
    SELECT count(*) INTO ahead FROM (
        SELECT FROM queue q
        WHERE q.rank = CASE WHEN t.admin THEN -t.priority ELSE 0 END AND q.owner = t.owner
        AND (q.place, q.eligible_at, q.key) < (-t.priority, t.eligible_at, t.key) LIMIT most) n;
    SELECT count(*) INTO running FROM attempts a WHERE a.owner = t.owner AND a.finished_at IS NULL;
    RETURN jsonb_build_object('reason', CASE
        WHEN NOT EXISTS (SELECT FROM workers w WHERE NOT w.draining AND w.seen_at > now() - interval '1 minute') THEN 'no_worker'
        WHEN user_limit > 0 AND running >= user_limit THEN 'user_limit'
        WHEN ahead > 0 THEN 'own_jobs' ELSE 'turn' END, 'position', ahead + 1, 'running', running,
        'users', (SELECT count(DISTINCT l.owner) FROM lanes l));
END $$;

-- What was asked for; of the environment the names alone.
CREATE FUNCTION api_asked(t trabajos) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('ref', t.ref, 'priority', t.priority, 'timeout_s', t.timeout_s, 'retries', t.retries,
        'run_after', t.spec -> 'run_after', 'concurrency_key', t.concurrency_key,
        'concurrency_limit', CASE WHEN t.concurrency_key IS NOT NULL THEN t.concurrency_limit END,
        'concurrency_policy', CASE WHEN t.concurrency_key IS NULL THEN NULL WHEN t.concurrency_replace THEN 'replace' ELSE 'queue' END,
        'labels', coalesce(t.spec -> 'labels', '{}'), 'env', (
            SELECT coalesce(jsonb_object_agg(e.name, NULL), '{}') FROM jsonb_object_keys(coalesce(t.spec -> 'env', '{}')) e (name)))
$$;

-- What a list shows of a job.
CREATE FUNCTION api_summary(t trabajos) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('key', t.key, 'usuario', t.usuario, 'url', t.url, 'ref', t.ref, 'status', t.status, 'commit', t.commit_id,
        'priority', t.priority, 'labels', coalesce(t.spec -> 'labels', '{}'), 'attempt', t.attempt,
        'failures', jsonb_build_object('platform', t.platform_failures, 'user', t.user_failures),
        'posted_at', api_moment(t.posted_at), 'eligible_at', api_moment(t.eligible_at), 'claimed_at', api_moment(t.claimed_at),
        'finished_at', api_moment(t.finished_at), 'execution_ms', t.execution_ms,
        'outcome', CASE WHEN t.status IN ('Finished', 'Failed', 'Cancelled') THEN t.outcome END)
$$;

-- The whole job. It waits from when it may run to when it last began to.
CREATE FUNCTION api_job(t trabajos, user_limit integer) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT api_summary(t) || api_asked(t) || api_figures((
            SELECT a.detail FROM attempts a WHERE a.key = t.key AND a.detail IS NOT NULL ORDER BY a.attempt DESC LIMIT 1))
        || jsonb_build_object('cancel_requested_at', api_moment(t.cancel_requested_at), 'wait_ms', greatest(0, (extract(epoch FROM
            coalesce(CASE WHEN t.status <> 'Queued' AND t.claimed_at >= t.eligible_at THEN t.claimed_at END, t.finished_at, now())
            - t.eligible_at) * 1000)::bigint),
        'dead', EXISTS (SELECT FROM dead_letters d WHERE d.key = t.key), 'waiting', api_waiting(t, user_limit),
        'attempts', api_attempts(t.key, 100))
$$;

-- A page of an owner's jobs, of those shown under a name (both NULL: of all), oldest first, behind a job of the same list. `next` is
-- where it goes on. A filter that few jobs pass does not make a page as expensive as the list: after `look_at` jobs it ends, and
-- goes on although it is not full.
-- The equality with the owner is in a form that no index knows, beside a bound: with it, PostgreSQL would begin at the owner's first.
CREATE FUNCTION api_list(
    owned_by text, shown_as text, behind uuid, most integer, look_at integer, statuses text[], label text, label_value text,
    OUT items text, OUT next uuid, OUT known boolean
) LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off AS $$
DECLARE
    found_items text[] := '{}';
    looked integer := 0;
    last uuid;
    since timestamptz := '-infinity';
    since_key uuid := '00000000-0000-0000-0000-000000000000';
    jobs refcursor;
    t trabajos;
BEGIN
    known := true;
    IF behind IS NOT NULL THEN
        SELECT p.posted_at, p.key INTO since, since_key FROM trabajos p
        WHERE p.key = behind AND (owned_by IS NULL OR p.owner = owned_by) AND (shown_as IS NULL OR p.usuario = shown_as);
        known := FOUND;
    END IF;
    IF NOT known THEN
        RETURN;
    ELSIF owned_by IS NOT NULL THEN
        OPEN jobs FOR SELECT j.* FROM trabajos j
        WHERE j.owner || '' = owned_by AND j.owner <= owned_by AND (j.owner, j.posted_at, j.key) > (owned_by, since, since_key)
        ORDER BY j.owner, j.posted_at, j.key;
    ELSIF shown_as IS NOT NULL THEN
        OPEN jobs FOR SELECT j.* FROM trabajos j
        WHERE j.usuario || '' = shown_as AND j.usuario <= shown_as
        AND (j.usuario, j.posted_at, j.key) > (shown_as, since, since_key)
        ORDER BY j.usuario, j.posted_at, j.key;
    ELSE
        OPEN jobs FOR SELECT j.* FROM trabajos j WHERE (j.posted_at, j.key) > (since, since_key) ORDER BY j.posted_at, j.key;
    END IF;
    LOOP
        FETCH jobs INTO t;
        EXIT WHEN NOT FOUND;
        IF looked = look_at THEN
            next := last;
            EXIT;
        END IF;
        looked := looked + 1;
        IF (statuses IS NULL OR t.status = ANY (statuses)) AND (label IS NULL
            OR CASE WHEN label_value IS NULL THEN t.spec -> 'labels' ? label ELSE t.spec -> 'labels' ->> label = label_value END) THEN
            IF cardinality(found_items) = most THEN
                next := last;
                EXIT;
            END IF;
            found_items := found_items || api_summary(t)::text;
        END IF;
        last := t.key;
    END LOOP;
    CLOSE jobs;
    items := '[' || array_to_string(found_items, ',') || ']';
END $$;

-- As api_list: a page of dead letters, those first that died first.
CREATE FUNCTION api_dead(owned_by text, shown_as text, behind uuid, most integer, OUT items text, OUT next uuid, OUT known boolean)
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    found_items text[];
    since timestamptz := '-infinity';
    since_key uuid := '00000000-0000-0000-0000-000000000000';
    keys uuid[];
BEGIN
    known := true;
    IF behind IS NOT NULL THEN
        SELECT d.died_at, d.key INTO since, since_key FROM dead_letters d JOIN trabajos t ON t.key = d.key
        WHERE d.key = behind AND (owned_by IS NULL OR d.owner = owned_by) AND (shown_as IS NULL OR t.usuario = shown_as);
        known := FOUND;
    END IF;
    IF NOT known THEN
        RETURN;
    ELSIF owned_by IS NOT NULL THEN
        SELECT array_agg(p.key ORDER BY p.died_at, p.key) INTO keys FROM (
            SELECT d.died_at, d.key FROM dead_letters d
            WHERE d.owner || '' = owned_by AND d.owner <= owned_by AND (d.owner, d.died_at, d.key) > (owned_by, since, since_key)
            ORDER BY d.owner, d.died_at, d.key LIMIT most + 1) p;
    ELSE
        SELECT array_agg(p.key ORDER BY p.died_at, p.key) INTO keys FROM (
            SELECT d.died_at, d.key FROM dead_letters d JOIN trabajos t ON t.key = d.key
            WHERE (d.died_at, d.key) > (since, since_key) AND (shown_as IS NULL OR t.usuario = shown_as)
            ORDER BY d.died_at, d.key LIMIT most + 1) p;
    END IF;
    SELECT array_agg((api_summary(t) || jsonb_build_object('died_at', api_moment(d.died_at), 'attempts', api_attempts(t.key, 10)))::text
        ORDER BY d.died_at, d.key) INTO found_items
    FROM dead_letters d JOIN trabajos t ON t.key = d.key WHERE d.key = ANY (keys[:most]);
    IF cardinality(keys) > most THEN
        next := keys[most];
    END IF;
    items := '[' || coalesce(array_to_string(found_items, ','), '') || ']';
END $$;

-- Replays up to `most` dead letters, those first that died first, and says whether there are more; each condition but `most` may be
-- NULL: no such condition. All rows in trabajos are locked before any concurrency key, both in the order that all keep.
CREATE FUNCTION dead_letters_replay(
    whose text, display text, keys uuid[], outcome_code text, outcome_blame text, since timestamptz, until timestamptz, most integer,
    OUT replayed bigint, OUT more boolean
) LANGUAGE plpgsql AS $$
DECLARE
    chosen uuid[];
BEGIN
    SELECT coalesce(array_agg(c.key), '{}') INTO chosen FROM (
        SELECT d.key FROM dead_letters d JOIN trabajos t ON t.key = d.key
        WHERE (whose IS NULL OR d.owner = whose) AND (display IS NULL OR t.usuario = display) AND (keys IS NULL OR d.key = ANY (keys))
        AND (outcome_code IS NULL OR t.outcome ->> 'code' = outcome_code)
        AND (outcome_blame IS NULL OR t.outcome ->> 'blame' = outcome_blame)
        AND (since IS NULL OR d.died_at >= since) AND (until IS NULL OR d.died_at < until)
        ORDER BY d.died_at, d.key LIMIT most + 1) c;
    more := cardinality(chosen) > most;
    chosen := chosen[:most];
    PERFORM FROM trabajos t WHERE t.key = ANY (chosen) ORDER BY t.key FOR UPDATE;
    PERFORM concurrency_lock(c.owner, c.concurrency_key) FROM (
        SELECT DISTINCT t.owner COLLATE "C" AS owner, t.concurrency_key COLLATE "C" AS concurrency_key FROM trabajos t
        WHERE t.key = ANY (chosen) AND t.concurrency_key IS NOT NULL ORDER BY 1, 2) c;
    -- those that are dead still, now that nobody else can move them
    SELECT count(*) INTO replayed FROM (
        SELECT d.key FROM dead_letters d WHERE d.key = ANY (chosen) ORDER BY d.key) c
    CROSS JOIN LATERAL trabajos_replay(c.key, NULL) r WHERE r.answer = 'queued';
END $$;
