-- Content is stored once for an owner and a place: what is in a store that a later configuration does not reach any more must not be
-- taken for what is there.
DROP INDEX blobs_content;
CREATE UNIQUE INDEX blobs_content ON blobs (owner, sha256, place) WHERE stored;

-- For each content where it is to go: a blob that is there, or a new one to be filled. id NULL: the owner has no room for it.
CREATE OR REPLACE FUNCTION blobs_reserve(whose text, digests text[], sizes bigint[], into_place text, most_bytes bigint)
RETURNS TABLE (id uuid, there boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    used bigint;
BEGIN
    SELECT coalesce(sum(b.size), 0) INTO used FROM blobs b WHERE b.owner = whose;
    FOR i IN 1 .. cardinality(digests) LOOP
        -- collected at this very moment: it is not there any more when its row can be had
        UPDATE blobs b SET loose_at = now()
        WHERE b.owner = whose AND b.sha256 = digests[i] AND b.place = into_place AND b.stored RETURNING b.id INTO id;
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
CREATE OR REPLACE FUNCTION artifacts_keep(
    k uuid, fence integer, whose text, paths text[], sizes bigint[], types text[], ids uuid[]
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    -- of two attempts that stored the same content at once, the first one's is taken
    PERFORM pg_advisory_xact_lock(hashtextextended(whose, 23));
    PERFORM FROM trabajos t WHERE t.key = k AND t.attempt = fence AND t.status = 'Running';
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE blobs b SET stored = true WHERE b.id = ANY (ids) AND NOT b.stored
    AND NOT EXISTS (
        SELECT FROM blobs o WHERE o.owner = b.owner AND o.sha256 = b.sha256 AND o.place = b.place AND o.stored);
    INSERT INTO artifacts (key, attempt, path, size, type, blob)
    SELECT k, fence, n.path, n.size, n.type, o.id
    FROM unnest(paths, sizes, types, ids) AS n (path, size, type, id) JOIN blobs b ON b.id = n.id
    JOIN blobs o ON o.owner = b.owner AND o.sha256 = b.sha256 AND o.place = b.place AND o.stored
    ON CONFLICT DO NOTHING;
    RETURN true;
END $$;
