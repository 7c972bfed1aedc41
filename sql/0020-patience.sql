-- A receiver of webhooks that asks for more time than the next try leaves it has it, up to half a day.
DROP FUNCTION webhooks_done(text, integer, integer, text, text);

-- What came of a try: 'delivered'; 'again', later and later up to about a day after the first, then given up; 'given_up' at once.
-- Of a try whose lease has passed to another one, only that it was. asked_s: not before so many seconds, by the receiver's wish.
CREATE FUNCTION webhooks_done(which text, nth integer, code integer, why text, verdict text, asked_s bigint DEFAULT 0)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    delays constant interval[] := ARRAY['5 seconds', '30 seconds', '2 minutes', '10 minutes', '30 minutes', '1 hour', '3 hours',
        '6 hours', '12 hours'];
    fate text := CASE WHEN verdict = 'again' AND nth > cardinality(delays) THEN 'given_up' ELSE verdict END;
    asked constant interval := least(asked_s, 43200) * interval '1 second';
    later timestamptz := CASE WHEN fate = 'again' THEN now() + greatest(delays[nth] * (0.8 + random() * 0.4), asked) END;
BEGIN
    UPDATE webhooks w SET state = CASE WHEN fate = 'again' THEN 'waiting' ELSE fate END, leased = false,
        next_at = coalesce(later, w.next_at)
    WHERE w.id = which AND (w.tries = nth OR fate = 'delivered') AND w.state = 'waiting';
    IF NOT FOUND THEN
        later := NULL;
    END IF;
    INSERT INTO webhook_tries (id, try, status_code, error, next_at)
    SELECT which, nth, code, why, later FROM webhooks w WHERE w.id = which
    ON CONFLICT DO NOTHING;
    RETURN fate;
END $$;
