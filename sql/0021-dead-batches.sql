-- Many dead letters are replayed in batches: each looks at a bounded number of them and goes on behind a position.
DROP FUNCTION dead_letters_replay(text, text, uuid[], text, text, timestamptz, timestamptz, integer);

-- Replays up to `most` dead letters, those first that died first, and says whether there are more, and where they go on (`next`,
-- a cursor as of lists). Each condition but `most` may be NULL: no such condition; keys come alone. After `look_at` letters it ends, whatever it has
-- found. All rows in trabajos are locked before any concurrency key, both in the order that all keep.
CREATE FUNCTION dead_letters_replay(
    whose text, display text, keys uuid[], outcome_code text, outcome_blame text, since timestamptz, until timestamptz, most integer,
    behind uuid DEFAULT NULL, behind_us bigint DEFAULT NULL, look_at integer DEFAULT 1000000000,
    OUT replayed bigint, OUT more boolean, OUT next text
) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    from_at constant timestamptz := greatest(since - interval '1 microsecond', api_cursor_moment(behind_us), '-infinity');
    from_key constant uuid := CASE WHEN from_at = api_cursor_moment(behind_us) THEN behind
        ELSE 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid END;
    chosen uuid[];
    last text;
    seen record;
BEGIN
    SELECT coalesce(array_agg(c.key ORDER BY c.died_at, c.key), '{}') INTO chosen FROM (
        SELECT d.died_at, d.key FROM (SELECT DISTINCT n.key FROM unnest(keys) n (key)) u
        CROSS JOIN LATERAL (SELECT * FROM dead_letters x WHERE x.key = u.key OFFSET 0) d
        WHERE whose IS NULL OR d.owner = whose) c;
    more := cardinality(chosen) > most;
    chosen := chosen[:most];
    FOR seen IN SELECT l.* FROM (
            SELECT w.died_at, w.key, w.n, coalesce((display IS NULL OR t.usuario = display)
                AND (outcome_code IS NULL OR t.outcome ->> 'code' = outcome_code)
                AND (outcome_blame IS NULL OR t.outcome ->> 'blame' = outcome_blame), false) AS listed
            FROM (SELECT d.died_at, d.key, row_number() OVER (ORDER BY d.died_at, d.key) AS n FROM dead_letters d
                WHERE (whose IS NULL OR d.owner = whose)
                AND (d.died_at, d.key) > (from_at, from_key) AND d.died_at < coalesce(until, 'infinity')
                ORDER BY d.died_at, d.key LIMIT look_at + 1) w
            CROSS JOIN LATERAL (SELECT * FROM trabajos j WHERE j.key = w.key OFFSET 0) t) l
        WHERE keys IS NULL AND (l.listed OR l.n >= look_at) LIMIT most + 2
    LOOP
        IF seen.n > look_at OR (seen.listed AND cardinality(chosen) = most) THEN
            more := true;
            next := last;
            EXIT;
        END IF;
        IF seen.listed THEN
            chosen := chosen || seen.key;
        END IF;
        last := api_cursor(seen.died_at, seen.key);
    END LOOP;
    PERFORM FROM trabajos t WHERE t.key = ANY (chosen) ORDER BY t.key FOR UPDATE;
    PERFORM concurrency_lock(c.owner, c.concurrency_key) FROM (
        SELECT DISTINCT t.owner COLLATE "C" AS owner, t.concurrency_key COLLATE "C" AS concurrency_key FROM trabajos t
        WHERE t.key = ANY (chosen) AND t.concurrency_key IS NOT NULL ORDER BY 1, 2) c;
    -- those that are dead still, now that nobody else can move them
    SELECT count(*) INTO replayed FROM (
        SELECT d.key FROM dead_letters d WHERE d.key = ANY (chosen) ORDER BY d.key) c
    CROSS JOIN LATERAL trabajos_replay(c.key, NULL) r WHERE r.answer = 'queued';
END $$;
