-- Pages of jobs in either order and between two moments, by cursors that hold their position: they go on although the job that they
-- name was removed meanwhile.
DROP FUNCTION api_list(text, text, uuid, integer, integer, text[], text, text);
DROP FUNCTION api_dead(text, text, uuid, integer);

-- Of jobs whose position is a moment and a key.
CREATE FUNCTION api_cursor(moment timestamptz, key uuid) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT (extract(epoch FROM moment) * 1000000)::bigint || '.' || key
$$;

-- A cursor's microseconds since the epoch; NULL of NULL.
CREATE FUNCTION api_cursor_moment(us bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
    SELECT timestamptz '1970-01-01 00:00:00+00' + us * interval '1 microsecond'
$$;

-- A page of an owner's jobs, of those shown under a name (both NULL: of all), oldest first or newest first, posted from `since` to
-- before `until`, behind a position (behind_us NULL: that of a job of the same list). `next` is where it goes on. A filter that few
-- jobs pass does not make a page as expensive as the list: after `look_at` jobs it ends, and goes on although it is not full.
-- Both bounds begin with the owner, so that the index is entered at the page and left at its end.
CREATE FUNCTION api_list(
    owned_by text, shown_as text, behind uuid, behind_us bigint, most integer, look_at integer, statuses text[], label text,
    label_value text, newest_first boolean, since timestamptz, until timestamptz,
    OUT items text, OUT next text, OUT known boolean
) LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off AS $$
DECLARE
    first_key constant uuid := '00000000-0000-0000-0000-000000000000';
    last_key constant uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    found_items text[] := '{}';
    looked integer := 0;
    last text;
    behind_at timestamptz := api_cursor_moment(behind_us);
    low timestamptz := coalesce(since - interval '1 microsecond', '-infinity');
    low_key uuid := last_key;
    high timestamptz := coalesce(until, 'infinity');
    high_key uuid := first_key;
    jobs refcursor;
    t trabajos;
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
    IF owned_by IS NOT NULL AND newest_first THEN
        OPEN jobs FOR SELECT j.* FROM trabajos j
        WHERE (j.owner, j.posted_at, j.key) > (owned_by, low, low_key) AND (j.owner, j.posted_at, j.key) < (owned_by, high, high_key)
        ORDER BY j.owner DESC, j.posted_at DESC, j.key DESC;
    ELSIF owned_by IS NOT NULL THEN
        OPEN jobs FOR SELECT j.* FROM trabajos j
        WHERE (j.owner, j.posted_at, j.key) > (owned_by, low, low_key) AND (j.owner, j.posted_at, j.key) < (owned_by, high, high_key)
        ORDER BY j.owner, j.posted_at, j.key;
    ELSIF shown_as IS NOT NULL AND newest_first THEN
        OPEN jobs FOR SELECT j.* FROM trabajos j
        WHERE (j.usuario, j.posted_at, j.key) > (shown_as, low, low_key) AND (j.usuario, j.posted_at, j.key) < (shown_as, high, high_key)
        ORDER BY j.usuario DESC, j.posted_at DESC, j.key DESC;
    ELSIF shown_as IS NOT NULL THEN
        OPEN jobs FOR SELECT j.* FROM trabajos j
        WHERE (j.usuario, j.posted_at, j.key) > (shown_as, low, low_key) AND (j.usuario, j.posted_at, j.key) < (shown_as, high, high_key)
        ORDER BY j.usuario, j.posted_at, j.key;
    ELSIF newest_first THEN
        OPEN jobs FOR SELECT j.* FROM trabajos j WHERE (j.posted_at, j.key) > (low, low_key) AND (j.posted_at, j.key) < (high, high_key)
        ORDER BY j.posted_at DESC, j.key DESC;
    ELSE
        OPEN jobs FOR SELECT j.* FROM trabajos j WHERE (j.posted_at, j.key) > (low, low_key) AND (j.posted_at, j.key) < (high, high_key)
        ORDER BY j.posted_at, j.key;
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
        last := api_cursor(t.posted_at, t.key);
    END LOOP;
    CLOSE jobs;
    items := '[' || array_to_string(found_items, ',') || ']';
END $$;

-- As api_list: a page of dead letters, those first that died first.
CREATE FUNCTION api_dead(
    owned_by text, shown_as text, behind uuid, behind_us bigint, most integer, OUT items text, OUT next text, OUT known boolean
) LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    found_items text[];
    since timestamptz := '-infinity';
    since_key uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    keys uuid[];
BEGIN
    known := true;
    IF behind IS NOT NULL AND behind_us IS NULL THEN
        SELECT d.died_at, d.key INTO since, since_key FROM dead_letters d JOIN trabajos t ON t.key = d.key
        WHERE d.key = behind AND (owned_by IS NULL OR d.owner = owned_by) AND (shown_as IS NULL OR t.usuario = shown_as);
        known := FOUND;
    ELSIF behind IS NOT NULL THEN
        since := api_cursor_moment(behind_us);
        since_key := behind;
    END IF;
    IF NOT known THEN
        RETURN;
    ELSIF owned_by IS NOT NULL THEN
        SELECT array_agg(p.key ORDER BY p.died_at, p.key) INTO keys FROM (
            SELECT d.died_at, d.key FROM dead_letters d
            WHERE (d.owner, d.died_at, d.key) > (owned_by, since, since_key) AND d.owner <= owned_by
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
        SELECT api_cursor(d.died_at, d.key) INTO next FROM dead_letters d WHERE d.key = keys[most];
    END IF;
    items := '[' || coalesce(array_to_string(found_items, ','), '') || ']';
END $$;
