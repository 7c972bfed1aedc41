-- Lists of jobs: by a text, by a status that few jobs have, and with filters that cost less for each job that they look at.

-- What ended otherwise than well, in the order of lists. A job that Finished has no row, and costs nothing by it.
CREATE TABLE unsuccessful (
    owner text NOT NULL,
    status text NOT NULL,
    posted_at timestamptz NOT NULL,
    key uuid NOT NULL,
    usuario text NOT NULL,
    PRIMARY KEY (status, posted_at, key)
);
CREATE INDEX unsuccessful_owner ON unsuccessful (owner, status, posted_at, key);
CREATE INDEX unsuccessful_usuario ON unsuccessful (usuario, status, posted_at, key);

CREATE FUNCTION unsuccessful_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tg_op = 'UPDATE' THEN
        DELETE FROM unsuccessful u
        WHERE u.status = old.status AND u.posted_at = old.posted_at AND u.key = old.key;
    END IF;
    IF new.status IN ('Failed', 'Cancelled') THEN
        INSERT INTO unsuccessful (owner, status, posted_at, key, usuario)
        VALUES (new.owner, new.status, new.posted_at, new.key, new.usuario) ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER unsuccessful_inserted AFTER INSERT ON trabajos FOR EACH ROW
WHEN (new.status IN ('Failed', 'Cancelled')) EXECUTE FUNCTION unsuccessful_moved();
CREATE TRIGGER unsuccessful_updated AFTER UPDATE OF status, posted_at ON trabajos FOR EACH ROW
WHEN (new.status IN ('Failed', 'Cancelled') OR old.status IN ('Failed', 'Cancelled')) EXECUTE FUNCTION unsuccessful_moved();

CREATE FUNCTION unsuccessful_of_deleted() RETURNS trigger LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
BEGIN
    DELETE FROM unsuccessful u USING gone g
    WHERE u.status = g.status AND u.posted_at = g.posted_at AND u.key = g.key;
    RETURN NULL;
END $$;
CREATE TRIGGER unsuccessful_deleted AFTER DELETE ON trabajos REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT EXECUTE FUNCTION unsuccessful_of_deleted();

CREATE FUNCTION unsuccessful_of_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM unsuccessful;
    RETURN NULL;
END $$;
CREATE TRIGGER unsuccessful_truncated AFTER TRUNCATE ON trabajos FOR EACH STATEMENT EXECUTE FUNCTION unsuccessful_of_truncated();

INSERT INTO unsuccessful (owner, status, posted_at, key, usuario)
SELECT owner, status, posted_at, key, usuario FROM trabajos WHERE status IN ('Failed', 'Cancelled');

-- ---- lists

DROP FUNCTION api_list(text, text, uuid, bigint, integer, integer, text[], text, text, boolean, timestamptz, timestamptz);

CREATE FUNCTION api_label_has(labels jsonb, needle text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT EXISTS (
        SELECT FROM jsonb_each_text(labels) l
        WHERE strpos(lower(l.key COLLATE "und-x-icu"), needle) > 0 OR strpos(lower(l.value COLLATE "und-x-icu"), needle) > 0)
$$;

-- Whether a job passes a list's filters, each NULL: any. needle: in small letters; quoted: the same as it stands in JSON, since what is
-- not in a label's JSON cannot be in the label.
CREATE FUNCTION api_listed(
    t trabajos, statuses text[], label text, label_value text, needle text, quoted text
) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT (statuses IS NULL OR t.status = ANY (statuses)) AND (label IS NULL
            OR CASE WHEN label_value IS NULL THEN t.spec -> 'labels' ? label ELSE t.spec -> 'labels' ->> label = label_value END)
        AND (needle IS NULL OR strpos(lower(t.url COLLATE "und-x-icu"), needle) > 0 OR strpos(t.key::text, needle) > 0
            OR CASE WHEN strpos(lower((t.spec ->> 'labels') COLLATE "und-x-icu"), quoted) > 0
                THEN api_label_has(t.spec -> 'labels', needle) END)
$$;

-- The jobs that have not ended: an owner's, or everybody's, and of others' a few; NULL: there are more than `most`. Each stands in
-- one of the narrow tables of sql/0002-states.sql.
CREATE FUNCTION api_live(owned_by text, most integer, queued boolean, running boolean) RETURNS uuid[] LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    keys uuid[];
BEGIN
    SELECT array_agg(DISTINCT l.key) INTO keys FROM (
        (WITH RECURSIVE ranks AS (
            SELECT (SELECT min(q.rank) FROM queue q) AS rank
            UNION ALL SELECT (SELECT min(q.rank) FROM queue q WHERE q.rank > r.rank) FROM ranks r WHERE r.rank IS NOT NULL
        ) SELECT n.key FROM ranks r CROSS JOIN LATERAL (
            SELECT q.key FROM queue q WHERE q.rank = r.rank AND (owned_by IS NULL OR q.owner = owned_by) LIMIT most + 1) n
        WHERE queued)
        UNION ALL (SELECT d.key FROM delayed d WHERE queued ORDER BY d.eligible_at LIMIT most + 1)
        UNION ALL (SELECT c.key FROM concurrency c
            WHERE queued AND NOT c.holds AND (owned_by IS NULL OR c.owner = owned_by) AND c.replaced_by IS NULL LIMIT most + 1)
        UNION ALL (SELECT c.key FROM concurrency c WHERE queued AND c.replaced_by IS NOT NULL LIMIT most + 1)
        UNION ALL (SELECT a.key FROM attempts a
            WHERE running AND a.finished_at IS NULL AND (owned_by IS NULL OR a.owner = owned_by) LIMIT most + 1)
        LIMIT most + 1) l;
    RETURN CASE WHEN cardinality(keys) > most THEN NULL ELSE coalesce(keys, '{}') END;
END $$;

-- A page of an owner's jobs, of those shown under a name (both NULL: of all), oldest first or newest first, posted from `since` to
-- before `until`, behind a position (behind_us NULL: that of a job of the same list). `next` is where it goes on. A filter that few
-- jobs pass does not make a page as expensive as the list: after `look_at` jobs it ends, and goes on although it is not full.
-- `contains` is a part of the key, the URL, or a label's name or value; large and small letters are the same to it.
--
-- Jobs are walked in the order of the list; where none that Finished is wanted, those alone that have not ended, or ended otherwise.
-- The statement is made for the question, so that what is not asked for costs nothing for each job.
CREATE FUNCTION api_list(
    owned_by text, shown_as text, behind uuid, behind_us bigint, most integer, look_at integer, statuses text[], label text,
    label_value text, newest_first boolean, since timestamptz, until timestamptz, contains text DEFAULT NULL,
    OUT items text, OUT next text, OUT known boolean
) LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    first_key constant uuid := '00000000-0000-0000-0000-000000000000';
    last_key constant uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    needle constant text := lower(contains COLLATE "und-x-icu");
    quoted constant text := substr(to_jsonb(needle)::text, 2, length(to_jsonb(needle)::text) - 2);
    whose constant text := coalesce(owned_by, shown_as);
    column_of constant text := CASE WHEN owned_by IS NOT NULL THEN 'j.owner' WHEN shown_as IS NOT NULL THEN 'j.usuario' END;
    direction constant text := CASE WHEN newest_first THEN ' DESC' ELSE '' END;
    found_items text[] := '{}';
    behind_at timestamptz := api_cursor_moment(behind_us);
    low timestamptz := coalesce(since - interval '1 microsecond', '-infinity');
    low_key uuid := last_key;
    high timestamptz := coalesce(until, 'infinity');
    high_key uuid := first_key;
    live uuid[];
    walked text;
    last text;
    seen record;
BEGIN
    known := true;
    IF behind IS NOT NULL AND behind_at IS NULL THEN
        SELECT p.posted_at INTO behind_at FROM trabajos p
        WHERE p.key = behind AND (owned_by IS NULL OR p.owner = owned_by) AND (shown_as IS NULL OR p.usuario = shown_as);
        known := FOUND;
    END IF;
    IF NOT known THEN
        RETURN;
    ELSIF newest_first AND (behind_at, behind) < (high, high_key) THEN
        high := behind_at;
        high_key := behind;
    ELSIF NOT newest_first AND (behind_at, behind) > (low, low_key) THEN
        low := behind_at;
        low_key := behind;
    END IF;
    IF NOT 'Finished' = ANY (statuses) THEN
        live := api_live(owned_by, look_at, 'Queued' = ANY (statuses), 'Running' = ANY (statuses));
    END IF;
    IF live IS NOT NULL THEN
        -- where nothing else is asked for, each of them is one for the page
        IF label IS NULL AND contains IS NULL THEN
            look_at := least(look_at, most);
        END IF;
        walked := format($q$
            SELECT p.posted_at, p.key, t.place, t.listed, p.n FROM (
                SELECT j.posted_at, j.key, row_number() OVER (ORDER BY %2$s) AS n FROM (
                    SELECT l.posted_at, l.key FROM unnest($13) u (key) CROSS JOIN LATERAL (
                        SELECT j.posted_at, j.key FROM trabajos j WHERE j.key = u.key AND %1$s OFFSET 0) l
                    UNION ALL (SELECT j.posted_at, j.key FROM unsuccessful j
                        WHERE 'Failed' = ANY ($6) AND j.status = 'Failed' AND %1$s ORDER BY %2$s LIMIT $11 + 1)
                    UNION ALL (SELECT j.posted_at, j.key FROM unsuccessful j
                        WHERE 'Cancelled' = ANY ($6) AND j.status = 'Cancelled' AND %1$s ORDER BY %2$s LIMIT $11 + 1)
                ) j ORDER BY %2$s LIMIT $11 + 1
            ) p CROSS JOIN LATERAL (
                SELECT j.ctid AS place, api_listed(j, $6, $7, $8, $9, $10) AS listed FROM trabajos j WHERE j.key = p.key OFFSET 0) t
        $q$, coalesce(column_of || ' = $1 AND ', '') || '(j.posted_at, j.key) > ($2, $3) AND (j.posted_at, j.key) < ($4, $5)',
            format('j.posted_at%1$s, j.key%1$s', direction));
    ELSE
        -- both bounds begin with the owner, so that the index is entered at the page and left at its end
        walked := format($q$
            SELECT j.posted_at, j.key, j.ctid AS place, api_listed(j, $6, $7, $8, $9, $10) AS listed,
                row_number() OVER (ORDER BY %3$s) AS n
            FROM trabajos j
            WHERE (%1$sj.posted_at, j.key) > (%2$s$2, $3) AND (%1$sj.posted_at, j.key) < (%2$s$4, $5)
            ORDER BY %3$s LIMIT $11 + 1
        $q$, coalesce(column_of || ', ', ''), CASE WHEN whose IS NULL THEN '' ELSE '$1, ' END,
            coalesce(column_of || direction || ', ', '') || format('j.posted_at%1$s, j.key%1$s', direction));
    END IF;
    FOR seen IN EXECUTE format($q$
        SELECT w.posted_at, w.key, w.listed, w.n, api_summary(t.job)::text AS item
        FROM (SELECT * FROM (%s) i WHERE i.listed OR i.n >= $11 LIMIT $12 + 2) w
        CROSS JOIN LATERAL (SELECT j AS job FROM trabajos j WHERE j.ctid = w.place OFFSET 0) t
    $q$, walked) USING whose, low, low_key, high, high_key, statuses, label, label_value, needle, quoted, look_at, most, live
    LOOP
        IF seen.n > look_at OR (seen.listed AND cardinality(found_items) = most) THEN
            next := last;
            EXIT;
        END IF;
        IF seen.listed THEN
            found_items := found_items || seen.item;
        END IF;
        last := api_cursor(seen.posted_at, seen.key);
    END LOOP;
    items := '[' || array_to_string(found_items, ',') || ']';
END $$;
