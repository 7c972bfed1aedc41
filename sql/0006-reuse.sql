-- Results that jobs of the same owner may have instead of a run of their own: only jobs submitted with `reuse` are looked for, and only
-- they are found. The print is of the repository, the commit, the plan and the environment. No row says that its job has ended well:
-- that is asked of the job.
CREATE TABLE reusable (
    owner text NOT NULL,
    print text NOT NULL,
    key uuid NOT NULL,
    PRIMARY KEY (owner, print)
);
CREATE INDEX reusable_key ON reusable (key);

-- The job whose result can be had; NULL: there is none, and this one is the next to be found.
CREATE FUNCTION reuse_find(mine uuid, whose text, what text) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    earlier uuid;
BEGIN
    SELECT t.key INTO earlier FROM reusable r JOIN trabajos t ON t.key = r.key
    WHERE r.owner = whose AND r.print = what AND t.owner = whose AND t.status = 'Finished' AND t.key <> mine;
    IF earlier IS NULL THEN
        INSERT INTO reusable (owner, print, key) VALUES (whose, what, mine)
        ON CONFLICT (owner, print) DO UPDATE SET key = excluded.key;
    END IF;
    RETURN earlier;
END $$;

CREATE FUNCTION reusable_deleted() RETURNS trigger LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
BEGIN
    DELETE FROM reusable r USING gone g WHERE r.key = g.key;
    RETURN NULL;
END $$;

CREATE FUNCTION reusable_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM reusable;
    RETURN NULL;
END $$;

CREATE TRIGGER reusable_deleted AFTER DELETE ON trabajos REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT EXECUTE FUNCTION reusable_deleted();
CREATE TRIGGER reusable_truncated AFTER TRUNCATE ON trabajos FOR EACH STATEMENT EXECUTE FUNCTION reusable_truncated();

-- As before, and the job whose result it is.
CREATE OR REPLACE FUNCTION api_figures(detail jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_object('plan', detail -> 'plan', 'limits', detail -> 'limits', 'isolation', detail -> 'isolation',
        'peak_memory_bytes', detail -> 'peak_memory_bytes', 'cpu_us', detail -> 'cpu_us', 'times_us', detail -> 'times_us',
        'output', detail -> 'output', 'reused_from', detail -> 'reused_from')
$$;

-- As before, and whether an earlier result will do.
CREATE OR REPLACE FUNCTION api_asked(t trabajos) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('ref', t.ref, 'priority', t.priority, 'timeout_s', t.timeout_s, 'retries', t.retries,
        'run_after', t.spec -> 'run_after', 'concurrency_key', t.concurrency_key,
        'concurrency_limit', CASE WHEN t.concurrency_key IS NOT NULL THEN t.concurrency_limit END,
        'concurrency_policy', CASE WHEN t.concurrency_key IS NULL THEN NULL WHEN t.concurrency_replace THEN 'replace' ELSE 'queue' END,
        'labels', coalesce(t.spec -> 'labels', '{}'), 'reuse', coalesce((t.spec ->> 'reuse')::boolean, false), 'env', (
            SELECT coalesce(jsonb_object_agg(e.name, NULL), '{}') FROM jsonb_object_keys(coalesce(t.spec -> 'env', '{}')) e (name)))
$$;
