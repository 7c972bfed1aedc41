-- Schedules: a cron entry that puts a job into the ledger whenever its moment comes. Whoever keeps house (lib/housekeeping_schedule.h)
-- asks schedules_fire every few seconds; a moment gives one job, whoever comes first, because the row moves on in the job's own
-- transaction, and because the job's key is made from the schedule and the moment.
--
-- The entry is kept as it was given, and as the sets that lib/cron.c made of it. What the local clocks show comes from
-- PostgreSQL's time-zone database.
--
-- Daylight saving. An entry whose hours are all 24 follows the clock: it comes each time that the clock shows one of its minutes.
-- Every other entry comes once for each local time that it names: where that time comes twice, the first time; where the clock
-- jumps over it, at the moment of the jump (several such times are one moment).

CREATE TABLE schedules (
    -- a UUIDv7: their order is that of their making
    id uuid PRIMARY KEY,
    owner text NOT NULL,
    usuario text NOT NULL,
    admin boolean NOT NULL,
    name text NOT NULL,
    cron text NOT NULL,
    minutes smallint[] NOT NULL,
    hours smallint[] NOT NULL,
    days smallint[] NOT NULL,
    months smallint[] NOT NULL,
    -- 0 is Sunday
    weekdays smallint[] NOT NULL,
    -- day of month OR day of week, because both are restricted
    either_day boolean NOT NULL,
    zone text NOT NULL,
    url text NOT NULL,
    spec jsonb NOT NULL,
    fingerprint text NOT NULL,
    missed text NOT NULL CHECK (missed IN ('skip', 'once')),
    paused boolean NOT NULL DEFAULT false,
    -- NULL: paused, or it cannot go on and problem says why
    next_at timestamptz,
    -- the moment of the newest job, and its key
    last_at timestamptz,
    last_key uuid,
    -- the first moment of the last gap that was skipped
    skipped_at timestamptz,
    problem text,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (owner, name)
);
CREATE INDEX schedules_due ON schedules (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX schedules_owner ON schedules (owner, id);
CREATE INDEX schedules_usuario ON schedules (usuario, id);

-- ---- when

CREATE FUNCTION schedules_zone_known(zone text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN now() AT TIME ZONE zone IS NOT NULL;
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN false;
END $$;

-- The first day from `first` on that the sets allow; NULL: none in 41 years (29 February on a given weekday can be 40 away).
CREATE FUNCTION schedules_day(days smallint[], months smallint[], weekdays smallint[], either_day boolean, first date)
RETURNS date LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    day date := first;
    in_days boolean;
    in_weekdays boolean;
BEGIN
    WHILE day < first + 366 * 41 LOOP
        IF extract(month FROM day)::smallint <> ALL (months) THEN
            day := date_trunc('month', day::timestamp) + interval '1 month';
            CONTINUE;
        END IF;
        in_days := extract(day FROM day)::smallint = ANY (days);
        in_weekdays := extract(dow FROM day)::smallint = ANY (weekdays);
        IF (in_days AND in_weekdays) OR (either_day AND (in_days OR in_weekdays)) THEN
            RETURN day;
        END IF;
        day := day + 1;
    END LOOP;
    RETURN NULL;
END $$;

-- The first moment at which the zone's clocks show `clock`; where they jump over it, that of the jump.
-- With the offsets of the day before and of the day after there are two candidates: both are right where the clocks go back over
-- `clock`, and none where they jump over it; then the jump is between them.
CREATE FUNCTION schedules_moment(clock timestamp, zone text) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
DECLARE
    as_utc constant timestamptz := clock AT TIME ZONE 'UTC';
    by_former timestamptz := as_utc - ((as_utc - interval '26 hours') AT TIME ZONE zone - (clock - interval '26 hours'));
    by_latter timestamptz := as_utc - ((as_utc + interval '26 hours') AT TIME ZONE zone - (clock + interval '26 hours'));
    middle timestamptz;
BEGIN
    IF by_former AT TIME ZONE zone = clock THEN
        RETURN by_former;
    END IF;
    IF by_latter AT TIME ZONE zone = clock THEN
        RETURN by_latter;
    END IF;
    -- by_latter is before the jump, by_former behind it
    WHILE by_former - by_latter > interval '1 second' LOOP
        middle := date_trunc('second', by_latter + (by_former - by_latter) / 2, 'UTC');
        IF middle AT TIME ZONE zone < clock THEN
            by_latter := middle;
        ELSE
            by_former := middle;
        END IF;
    END LOOP;
    RETURN by_former;
END $$;

-- By the clock: the next minute that it shows and the sets allow.
CREATE FUNCTION schedules_next_minute(
    minutes smallint[], days smallint[], months smallint[], weekdays smallint[], either_day boolean, zone text, after timestamptz
) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
DECLARE
    moment timestamptz := date_trunc('minute', after, 'UTC');
    clock timestamp;
    day date;
BEGIN
    LOOP
        moment := moment + interval '1 minute';
        clock := moment AT TIME ZONE zone;
        day := schedules_day(days, months, weekdays, either_day, clock::date);
        IF day IS NULL THEN
            RETURN NULL;
        ELSIF day > clock::date THEN
            -- the minute before that day begins
            moment := greatest(schedules_moment(day::timestamp, zone) - interval '1 minute', moment);
        ELSIF extract(minute FROM clock)::smallint = ANY (minutes) THEN
            RETURN moment;
        END IF;
    END LOOP;
END $$;

-- The first moment after `after` for an entry's sets (in ascending order); NULL: none. 22023 where the zone is not known.
CREATE FUNCTION schedules_next(
    minutes smallint[], hours smallint[], days smallint[], months smallint[], weekdays smallint[], either_day boolean,
    zone text, after timestamptz
) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
DECLARE
    shown constant timestamp := after AT TIME ZONE zone;
    day date := shown::date;
    hour smallint;
    minute smallint;
    clock timestamp;
    moment timestamptz;
BEGIN
    IF cardinality(hours) = 24 THEN
        RETURN schedules_next_minute(minutes, days, months, weekdays, either_day, zone, after);
    END IF;
    LOOP
        day := schedules_day(days, months, weekdays, either_day, day);
        EXIT WHEN day IS NULL;
        FOREACH hour IN ARRAY hours LOOP
            FOREACH minute IN ARRAY minutes LOOP
                -- a time that the clock has shown, or jumped over, has had its moment
                clock := day + make_time(hour, minute, 0);
                CONTINUE WHEN clock <= shown;
                moment := schedules_moment(clock, zone);
                IF moment > after THEN
                    RETURN moment;
                END IF;
            END LOOP;
        END LOOP;
        day := day + 1;
    END LOOP;
    RETURN NULL;
END $$;

CREATE FUNCTION schedules_next(s schedules, after timestamptz) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT schedules_next(s.minutes, s.hours, s.days, s.months, s.weekdays, s.either_day, s.zone, after)
$$;

-- ---- firing

-- The key of the job of a schedule's moment: a UUIDv8 made from their SHA-256 as RFC 9562 appendix B.2 does, because the server
-- has no SHA-1 for a UUIDv5.
CREATE FUNCTION schedules_key(id uuid, moment timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT encode(set_byte(set_byte(h.digest, 6, get_byte(h.digest, 6) & 15 | 128), 8, get_byte(h.digest, 8) & 63 | 128), 'hex')::uuid
    FROM (SELECT substr(sha256(uuid_send(id) || int8send(extract(epoch FROM moment)::bigint)), 1, 16) AS digest) h
$$;

-- Puts the job of a schedule's moment into the ledger; posted now, so that its wait is counted from when it could be known.
CREATE FUNCTION schedules_add(s schedules, new_key uuid) RETURNS boolean LANGUAGE sql AS $$
    SELECT trabajos_add(new_key, s.owner, s.usuario, s.admin, s.url, s.spec, s.fingerprint, s.spec ->> 'ref',
        coalesce((s.spec ->> 'priority')::smallint, 0::smallint), (s.spec ->> 'timeout_s')::integer,
        coalesce((s.spec ->> 'retries')::integer, 0), s.spec ->> 'concurrency_key',
        coalesce((s.spec ->> 'concurrency_limit')::integer, 1), coalesce(s.spec ->> 'concurrency_policy' = 'replace', false),
        now(), now())
$$;

-- Fires up to `most` schedules whose moment has come. What was done with each: 'fired', 'skipped' (the moment is older than
-- `grace_s` and the schedule skips what it missed), or 'broken' (it cannot go on: its problem says why).
-- 'skip' runs every moment that is not older than that; 'once' runs the oldest one for all that have passed.
CREATE FUNCTION schedules_fire(most integer, grace_s integer)
RETURNS TABLE (answer text, schedule uuid, moment timestamptz, job uuid) LANGUAGE plpgsql AS $$
DECLARE
    s schedules;
    grace constant interval := make_interval(secs => grace_s);
    following timestamptz;
    any_fired boolean := false;
BEGIN
    -- sorted once more: the locks of concurrency keys are taken in the order that all keep
    FOR s IN
        SELECT l.* FROM (SELECT * FROM schedules WHERE next_at <= now() ORDER BY next_at LIMIT most FOR UPDATE SKIP LOCKED) l
        ORDER BY l.owner COLLATE "C", l.spec ->> 'concurrency_key' COLLATE "C" NULLS FIRST, l.next_at, l.id
    LOOP
        schedule := s.id;
        moment := s.next_at;
        job := NULL;
        BEGIN
            following := schedules_next(s, CASE WHEN s.missed = 'once' THEN now() ELSE greatest(s.next_at, now() - grace) END);
            answer := CASE WHEN s.missed = 'skip' AND s.next_at < now() - grace THEN 'skipped' ELSE 'fired' END;
            IF answer = 'fired' THEN
                job := schedules_key(s.id, s.next_at);
                PERFORM schedules_add(s, job);
            END IF;
            UPDATE schedules u SET next_at = following, last_at = CASE WHEN answer = 'fired' THEN moment ELSE u.last_at END,
                last_key = coalesce(job, u.last_key), skipped_at = CASE WHEN answer = 'skipped' THEN moment ELSE u.skipped_at END
            WHERE u.id = s.id;
        -- by its values, such as a zone that is gone: one schedule must not keep the others
        EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
            answer := 'broken';
            job := NULL;
            UPDATE schedules u SET next_at = NULL, problem = left(sqlerrm, 200) WHERE u.id = s.id;
        END;
        any_fired := any_fired OR answer = 'fired';
        RETURN NEXT;
    END LOOP;
    IF any_fired THEN
        -- lib/ledger.h's channel: idle workers
        NOTIFY trabajos;
    END IF;
END $$;
