-- What jobs leave: artifacts by path, whose content lies in blobs. A blob belongs to an owner, who has each content once; nothing is
-- shared between owners, so that nobody learns by storing what somebody else has.
--
-- A worker writes the blobs and the rows here while its attempt runs; they are seen by nobody. The transaction that ends the
-- attempt links them, by what it writes about the attempt (attempts.detail). Those of an attempt that was taken over, or is
-- to be tried again, are never linked, and collected.
CREATE TABLE blobs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    owner text NOT NULL,
    sha256 text NOT NULL,
    size bigint NOT NULL,
    -- ledger: in blob_chunks; else an object of its own, named after content and id, that is never written twice
    place text NOT NULL CHECK (place IN ('ledger', 'folder', 's3')),
    stored boolean NOT NULL DEFAULT false,
    -- since when no artifact may be using it
    loose_at timestamptz DEFAULT now()
);
CREATE UNIQUE INDEX blobs_content ON blobs (owner, sha256) WHERE stored;
CREATE INDEX blobs_owner ON blobs (owner) INCLUDE (size);
CREATE INDEX blobs_loose ON blobs (loose_at) WHERE loose_at IS NOT NULL;

CREATE TABLE blob_chunks (
    blob uuid NOT NULL,
    seq integer NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (blob, seq)
);
-- Mostly compressed already, or asked for once.
ALTER TABLE blob_chunks ALTER data SET STORAGE EXTERNAL;

-- Objects outside of the database whose blob is gone: for whoever reaches that place.
CREATE TABLE blobs_doomed (
    id uuid PRIMARY KEY,
    sha256 text NOT NULL,
    place text NOT NULL,
    -- another keeper may be at it
    due_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX blobs_doomed_due ON blobs_doomed (place, due_at);

CREATE TABLE artifacts (
    key uuid NOT NULL,
    attempt integer NOT NULL,
    path text COLLATE "C" NOT NULL,
    size bigint NOT NULL,
    type text NOT NULL,
    blob uuid NOT NULL REFERENCES blobs,
    linked boolean NOT NULL DEFAULT false,
    PRIMARY KEY (key, attempt, path)
);
CREATE INDEX artifacts_blob ON artifacts (blob);
CREATE INDEX artifacts_unlinked ON artifacts (key, attempt) WHERE NOT linked;

-- ---- writing

-- For each content where it is to go: a blob that is there, or a new one to be filled. id NULL: the owner has no room for it.
CREATE FUNCTION blobs_reserve(whose text, digests text[], sizes bigint[], into_place text, most_bytes bigint)
RETURNS TABLE (id uuid, there boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    used bigint;
BEGIN
    SELECT coalesce(sum(b.size), 0) INTO used FROM blobs b WHERE b.owner = whose;
    FOR i IN 1 .. cardinality(digests) LOOP
        -- collected at this very moment: it is not there any more when its row can be had
        UPDATE blobs b SET loose_at = now() WHERE b.owner = whose AND b.sha256 = digests[i] AND b.stored RETURNING b.id INTO id;
        there := FOUND;
        IF NOT there AND most_bytes > 0 AND used + sizes[i] > most_bytes THEN
            id := NULL;
        ELSIF NOT there THEN
            used := used + sizes[i];
            INSERT INTO blobs (owner, sha256, size, place) VALUES (whose, digests[i], sizes[i], into_place) RETURNING blobs.id INTO id;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;

-- What an attempt leaves, from blobs that hold all of their content now. false: it is not the running one.
CREATE FUNCTION artifacts_keep(k uuid, fence integer, whose text, paths text[], sizes bigint[], types text[], ids uuid[])
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    -- of two attempts that stored the same content at once, the first one's is taken
    PERFORM pg_advisory_xact_lock(hashtextextended(whose, 23));
    PERFORM FROM trabajos t WHERE t.key = k AND t.attempt = fence AND t.status = 'Running';
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE blobs b SET stored = true WHERE b.id = ANY (ids) AND NOT b.stored
    AND NOT EXISTS (SELECT FROM blobs o WHERE o.owner = b.owner AND o.sha256 = b.sha256 AND o.stored);
    INSERT INTO artifacts (key, attempt, path, size, type, blob)
    SELECT k, fence, n.path, n.size, n.type, o.id
    FROM unnest(paths, sizes, types, ids) AS n (path, size, type, id) JOIN blobs b ON b.id = n.id
    JOIN blobs o ON o.owner = b.owner AND o.sha256 = b.sha256 AND o.stored
    ON CONFLICT DO NOTHING;
    RETURN true;
END $$;

CREATE FUNCTION artifacts_link() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE artifacts SET linked = true WHERE key = new.key AND attempt = new.attempt;
    RETURN NULL;
END $$;
CREATE TRIGGER artifacts_linked AFTER UPDATE OF detail ON attempts FOR EACH ROW
WHEN (new.detail ? 'artifacts') EXECUTE FUNCTION artifacts_link();

-- The job whose result can be had (reuse_find), and its artifacts, which this attempt has from now on too. A result whose artifacts
-- could not be stored is none to be had.
CREATE FUNCTION reuse_take(
    mine uuid, fence integer, whose text, what text, OUT earlier uuid, OUT files bigint, OUT bytes bigint
) LANGUAGE plpgsql AS $$
BEGIN
    earlier := reuse_find(mine, whose, what);
    IF earlier IS NULL THEN
        RETURN;
    END IF;
    PERFORM FROM trabajos t JOIN attempts a ON a.key = t.key AND a.attempt = t.attempt
    WHERE t.key = earlier AND a.detail #> '{artifacts,error}' IS NOT NULL;
    IF FOUND THEN
        earlier := NULL;
        RETURN;
    END IF;
    WITH had AS (
        INSERT INTO artifacts (key, attempt, path, size, type, blob)
        SELECT mine, fence, a.path, a.size, a.type, a.blob FROM trabajos t JOIN artifacts a ON a.key = t.key AND a.attempt = t.attempt
        WHERE t.key = earlier AND a.linked
        ON CONFLICT DO NOTHING RETURNING size
    ) SELECT count(*), coalesce(sum(h.size), 0) INTO files, bytes FROM had h;
END $$;

-- ---- the end of a row

CREATE FUNCTION artifacts_gone() RETURNS trigger LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
BEGIN
    UPDATE blobs b SET loose_at = now() FROM (SELECT DISTINCT g.blob FROM gone g ORDER BY g.blob) d
    WHERE b.id = d.blob AND b.loose_at IS NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER artifacts_gone AFTER DELETE ON artifacts REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT EXECUTE FUNCTION artifacts_gone();

CREATE FUNCTION artifacts_of_deleted() RETURNS trigger LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
BEGIN
    DELETE FROM artifacts a USING gone g WHERE a.key = g.key;
    RETURN NULL;
END $$;
CREATE TRIGGER artifacts_deleted AFTER DELETE ON trabajos REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT EXECUTE FUNCTION artifacts_of_deleted();

CREATE FUNCTION artifacts_of_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM artifacts;
    RETURN NULL;
END $$;
CREATE TRIGGER artifacts_truncated AFTER TRUNCATE ON trabajos FOR EACH STATEMENT EXECUTE FUNCTION artifacts_of_truncated();

-- A replay takes the visible result back, and with it what that left.
CREATE FUNCTION artifacts_of_replayed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM artifacts WHERE key = new.key;
    RETURN NULL;
END $$;
CREATE TRIGGER artifacts_replayed AFTER UPDATE OF status ON trabajos FOR EACH ROW
WHEN (new.status = 'Queued' AND old.status IN ('Finished', 'Failed', 'Cancelled')) EXECUTE FUNCTION artifacts_of_replayed();

-- Removes what was never linked and cannot be any more, and the content that nothing has used for a while; how much. The while is for
-- those who are writing: a blob is reserved before the row that uses it is there.
CREATE FUNCTION artifacts_collect(most integer, grace interval) RETURNS bigint LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
DECLARE
    loose uuid[];
    unused uuid[];
    removed bigint;
BEGIN
    DELETE FROM artifacts a USING (
        SELECT u.key, u.attempt, u.path FROM artifacts u WHERE NOT u.linked
        -- coalesce: by its key, whatever runs
        AND NOT EXISTS (SELECT FROM attempts r
            WHERE r.key = u.key AND r.attempt = u.attempt AND coalesce(r.finished_at, 'infinity') = 'infinity')
        ORDER BY u.key, u.attempt, u.path LIMIT most
    ) d WHERE a.key = d.key AND a.attempt = d.attempt AND a.path = d.path AND NOT a.linked;
    GET DIAGNOSTICS removed = ROW_COUNT;
    SELECT array_agg(l.id) INTO loose FROM (
        SELECT b.id FROM blobs b WHERE b.loose_at <= now() - grace ORDER BY b.loose_at LIMIT most FOR UPDATE SKIP LOCKED) l;
    -- a snapshot of its own: whoever used one of them before the lock has committed
    SELECT array_agg(n.id) INTO unused FROM unnest(loose) AS n (id)
    WHERE (SELECT true FROM artifacts a WHERE a.blob = n.id LIMIT 1) IS NULL;
    UPDATE blobs SET loose_at = NULL WHERE id = ANY (loose) AND NOT id = ANY (coalesce(unused, '{}'));
    IF unused IS NULL THEN
        RETURN removed;
    END IF;
    INSERT INTO blobs_doomed (id, sha256, place) SELECT b.id, b.sha256, b.place FROM blobs b
    WHERE b.id = ANY (unused) AND b.place <> 'ledger';
    DELETE FROM blob_chunks WHERE blob = ANY (unused);
    DELETE FROM blobs WHERE id = ANY (unused);
    RETURN removed + cardinality(unused);
END $$;

-- Objects to remove from a place; taken for a minute, so that another keeper leaves them alone.
CREATE FUNCTION blobs_doomed_take(from_place text, most integer) RETURNS TABLE (id uuid, sha256 text) LANGUAGE sql AS $$
    UPDATE blobs_doomed d SET due_at = now() + interval '1 minute' FROM (
        SELECT t.id FROM blobs_doomed t WHERE t.place = from_place AND t.due_at <= now()
        ORDER BY t.due_at LIMIT most FOR UPDATE SKIP LOCKED) n
    WHERE d.id = n.id RETURNING d.id, d.sha256
$$;

-- ---- what /api/v1 shows

-- Of the visible result, as JSON; NULL: there is no such job.
CREATE FUNCTION api_artifacts(k uuid, whose text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT '[' || coalesce((
        SELECT string_agg(jsonb_build_object('path', a.path, 'size', a.size, 'type', a.type, 'sha256', b.sha256)::text, ','
            ORDER BY a.path)
        FROM artifacts a JOIN blobs b ON b.id = a.blob
        WHERE a.key = t.key AND a.attempt = t.attempt AND a.linked AND t.status IN ('Finished', 'Failed', 'Cancelled')), '') || ']'
    FROM trabajos t WHERE t.key = k AND (whose IS NULL OR t.owner = whose)
$$;

-- One of them; known false: there is no such job; blob NULL: no such artifact.
CREATE FUNCTION api_artifact(
    k uuid, whose text, wanted text, OUT known boolean, OUT blob uuid, OUT size bigint, OUT type text, OUT sha256 text, OUT place text
) LANGUAGE sql STABLE AS $$
    SELECT true, a.blob, a.size, a.type, b.sha256, b.place
    FROM trabajos t LEFT JOIN artifacts a ON a.key = t.key AND a.attempt = t.attempt AND a.path = wanted AND a.linked
        AND t.status IN ('Finished', 'Failed', 'Cancelled')
    LEFT JOIN blobs b ON b.id = a.blob
    WHERE t.key = k AND (whose IS NULL OR t.owner = whose)
    UNION ALL SELECT false, NULL, NULL, NULL, NULL, NULL LIMIT 1
$$;

-- As before, and what became of its artifacts.
CREATE OR REPLACE FUNCTION api_figures(detail jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_object('plan', detail -> 'plan', 'limits', detail -> 'limits', 'isolation', detail -> 'isolation',
        'peak_memory_bytes', detail -> 'peak_memory_bytes', 'cpu_us', detail -> 'cpu_us', 'times_us', detail -> 'times_us',
        'output', detail -> 'output', 'reused_from', detail -> 'reused_from', 'artifacts', detail -> 'artifacts')
$$;
