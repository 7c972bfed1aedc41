-- Commit and figures of an attempt while it runs: its worker notes them in attempts.detail. Those of an earlier attempt are not shown as
-- the running one's.
CREATE FUNCTION api_running_commit(k uuid, fence integer) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT a.detail ->> 'commit' FROM attempts a WHERE a.key = k AND a.attempt = fence
$$;

-- What a list shows of a job. (Without a subquery of its own, so that it is no call of a function for each row.)
CREATE OR REPLACE FUNCTION api_summary(t trabajos) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('key', t.key, 'usuario', t.usuario, 'url', t.url, 'ref', t.ref, 'status', t.status,
        'commit', CASE WHEN t.status = 'Running' THEN api_running_commit(t.key, t.attempt) ELSE t.commit_id END,
        'priority', t.priority, 'labels', coalesce(t.spec -> 'labels', '{}'), 'attempt', t.attempt,
        'failures', jsonb_build_object('platform', t.platform_failures, 'user', t.user_failures),
        'posted_at', api_moment(t.posted_at), 'eligible_at', api_moment(t.eligible_at), 'claimed_at', api_moment(t.claimed_at),
        'finished_at', api_moment(t.finished_at), 'execution_ms', t.execution_ms,
        'outcome', CASE WHEN t.status IN ('Finished', 'Failed', 'Cancelled') THEN t.outcome END)
$$;

-- The whole job. It waits from when it may run to when it last began to.
CREATE OR REPLACE FUNCTION api_job(t trabajos, user_limit integer) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT api_summary(t) || api_asked(t) || api_figures((
            SELECT a.detail FROM attempts a
            WHERE a.key = t.key AND CASE WHEN t.status = 'Running' THEN a.attempt = t.attempt ELSE a.detail IS NOT NULL END
            ORDER BY a.attempt DESC LIMIT 1))
        || jsonb_build_object('cancel_requested_at', api_moment(t.cancel_requested_at), 'wait_ms', greatest(0, (extract(epoch FROM
            coalesce(CASE WHEN t.status <> 'Queued' AND t.claimed_at >= t.eligible_at THEN t.claimed_at END, t.finished_at, now())
            - t.eligible_at) * 1000)::bigint),
        'dead', EXISTS (SELECT FROM dead_letters d WHERE d.key = t.key), 'waiting', api_waiting(t, user_limit),
        'attempts', api_attempts(t.key, 100))
$$;
