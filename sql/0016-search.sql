-- A text to be sought in a list of jobs.
DROP FUNCTION api_list(text, text, uuid, bigint, integer, integer, text[], text, text, boolean, timestamptz, timestamptz);

CREATE FUNCTION api_label_has(labels jsonb, needle text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT EXISTS (
        SELECT FROM jsonb_each_text(labels) l
        WHERE strpos(lower(l.key COLLATE "und-x-icu"), needle) > 0 OR strpos(lower(l.value COLLATE "und-x-icu"), needle) > 0)
$$;

-- A page of an owner's jobs, of those shown under a name (both NULL: of all), oldest first or newest first, posted from `since` to
-- before `until`, behind a position (behind_us NULL: that of a job of the same list). `next` is where it goes on. A filter that few
-- jobs pass does not make a page as expensive as the list: after `look_at` jobs it ends, and goes on although it is not full.
-- `contains` is a part of the key, the URL, or a label's name or value; large and small letters are the same to it.
-- Both bounds begin with the owner, so that the index is entered at the page and left at its end.
CREATE FUNCTION api_list(
    owned_by text, shown_as text, behind uuid, behind_us bigint, most integer, look_at integer, statuses text[], label text,
    label_value text, newest_first boolean, since timestamptz, until timestamptz, contains text DEFAULT NULL,
    OUT items text, OUT next text, OUT known boolean
) LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off AS $$
DECLARE
    first_key constant uuid := '00000000-0000-0000-0000-000000000000';
    last_key constant uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    found_items text[] := '{}';
    needle constant text := lower(contains COLLATE "und-x-icu");
    -- as it stands in a label's JSON: what is not in that cannot be in a label
    quoted constant text := substr(to_jsonb(needle)::text, 2, length(to_jsonb(needle)::text) - 2);
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
            OR CASE WHEN label_value IS NULL THEN t.spec -> 'labels' ? label ELSE t.spec -> 'labels' ->> label = label_value END)
            AND (needle IS NULL OR strpos(lower(t.url COLLATE "und-x-icu"), needle) > 0 OR strpos(t.key::text, needle) > 0
                OR CASE WHEN strpos(lower((t.spec ->> 'labels') COLLATE "und-x-icu"), quoted) > 0
                    THEN api_label_has(t.spec -> 'labels', needle) END) THEN
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
