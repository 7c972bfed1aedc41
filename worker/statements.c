#include "worker/statements.h"

// The rule of fair share is in the function (sql/0022-lanes.sql). Parameters: worker, how many, lease in seconds, running jobs of a
// user at the most (0: no limit), weights (NULL: all 1). The last column: whether its worker was lost when it ran last.
const struct db_statement worker_claim = {"worker_claim",
	"SELECT c.*, CASE WHEN c.platform_failures > 0 THEN EXISTS ("
	" SELECT FROM trabajos t WHERE t.key = c.key AND t.outcome ->> 'code' = 'lost') END"
	" FROM trabajos_take($1, $2::int, $3::int, $4::int, $5::jsonb) c"};

// A takeover sets attempts.finished_at: then the row is not ours any more, and is not answered. (coalesce, because IS NULL would let
// the planner walk all that run instead of looking up the key.)
const struct db_statement worker_heartbeat = {"worker_heartbeat",
	"WITH alive AS ("
	" UPDATE workers SET seen_at = now(), running = $5::int WHERE worker = $1 RETURNING draining"
	"), held AS ("
	" SELECT a.key, a.attempt FROM unnest($2::uuid[], $3::int[]) AS mine (key, attempt) JOIN attempts a"
	" ON a.key = mine.key AND a.attempt = mine.attempt AND coalesce(a.finished_at, 'infinity') = 'infinity'"
	" ORDER BY a.key FOR UPDATE OF a"
	"), renewed AS ("
	" UPDATE attempts a SET lease_until = now() + make_interval(secs => $4::int) FROM held h"
	" WHERE a.key = h.key AND a.attempt = h.attempt RETURNING a.key, a.attempt"
	")"
	" SELECT NULL::uuid, coalesce(bool_or(draining), false)::int, count(*) FROM alive"
	" UNION ALL SELECT r.key, (t.cancel_requested_at IS NOT NULL)::int, r.attempt FROM renewed r JOIN trabajos t ON t.key = r.key"};

// In sql/0022-lanes.sql too. Parameters, each an array: key, attempt, status ('Queued': again), delay in ms, dead (0, 1), outcome,
// detail, execution in ms, commit, user's and platform's failures; then of the chunks of output: whose (from 1), seq, stream,
// moment in ms, data. Answered are those that were ours.
const struct db_statement worker_finish = {"worker_finish",
	"SELECT * FROM trabajos_finish($1::uuid[], $2::int[], $3::text[], $4::bigint[], $5::int[], $6::jsonb[], $7::jsonb[],"
	" $8::bigint[], $9::text[], $10::int[], $11::int[],"
	" $12::int[], $13::int[], $14::smallint[], $15::bigint[], $16::bytea[])"};

// What was to be cancelled ends so: nobody else would come to it before a worker is free. Attempts are locked in the order of a
// heartbeat that may be under way.
const struct db_statement worker_give_back = {"worker_give_back",
	"WITH held AS ("
	" SELECT t.key, t.owner, t.concurrency_key, CASE WHEN t.cancel_requested_at IS NULL THEN 'Queued' ELSE 'Cancelled' END AS status"
	" FROM attempts a JOIN trabajos t ON t.key = a.key AND t.attempt = a.attempt"
	" WHERE a.finished_at IS NULL AND a.worker = $1 AND t.status = 'Running' AND NOT (a.key = ANY ($2::uuid[]))"
	" ORDER BY t.key FOR UPDATE OF t"
	"), done AS ("
	" UPDATE trabajos t SET status = h.status, worker = CASE WHEN h.status = 'Queued' THEN NULL ELSE t.worker END,"
	" finished_at = CASE WHEN h.status = 'Queued' THEN NULL ELSE now() END,"
	" execution_ms = CASE WHEN h.status = 'Queued' THEN t.execution_ms"
	"  ELSE coalesce(extract(epoch FROM now() - t.claimed_at) * 1000, 0)::bigint END,"
	" outcome = CASE WHEN h.status = 'Queued' THEN t.outcome ELSE '{\"code\": \"cancelled\", \"blame\": \"user\", \"exit_code\": null,"
	"  \"signal\": null, \"message\": \"cancelled; its worker stopped\"}' END"
	" FROM (SELECT * FROM held ORDER BY owner COLLATE \"C\", concurrency_key COLLATE \"C\", key) h WHERE t.key = h.key"
	" RETURNING t.key, t.attempt, t.owner, t.usuario, t.admin, t.priority, t.status, t.eligible_at, t.concurrency_key"
	"), history AS ("
	" UPDATE attempts a SET finished_at = now(), outcome = '{\"code\": \"lost\", \"blame\": \"platform\", \"exit_code\": null,"
	" \"signal\": null, \"message\": \"given back to the queue by its worker\"}' FROM (SELECT key, attempt FROM done ORDER BY key) d"
	" WHERE a.key = d.key AND a.attempt = d.attempt"
	"), visible AS ("
	" INSERT INTO resultados (usuario, key, status) SELECT usuario, key::text, status FROM done WHERE status = 'Cancelled'"
	" ON CONFLICT (usuario, key) DO UPDATE SET status = excluded.status"
	"), unpublished AS ("
	" INSERT INTO outbox (key, attempt, publish_after) SELECT key, attempt, now() FROM done WHERE status = 'Cancelled'"
	"), queued AS ("
	" INSERT INTO queue (rank, owner, place, eligible_at, key, attempt)"
	" SELECT CASE WHEN admin THEN -priority ELSE 0 END, owner, -priority, eligible_at, key, attempt FROM done"
	" WHERE status = 'Queued' AND concurrency_key IS NULL"
	") SELECT key FROM done WHERE status = 'Queued'"};

const struct db_statement worker_output = {"worker_output",
	"WITH mine AS MATERIALIZED ("
	" SELECT m.n, t.key, t.attempt FROM unnest($1::uuid[], $2::int[]) WITH ORDINALITY AS m (key, attempt, n) CROSS JOIN LATERAL ("
	" SELECT u.key, u.attempt FROM trabajos u WHERE u.key = m.key AND u.attempt = m.attempt AND u.status = 'Running') t"
	")"
	" INSERT INTO logs (key, attempt, seq, stream, at, data)"
	" SELECT m.key, m.attempt, o.seq, o.stream, to_timestamp(o.at_ms / 1000.0), o.data"
	" FROM unnest($3::int[], $4::int[], $5::smallint[], $6::bigint[], $7::bytea[]) AS o (n, seq, stream, at_ms, data)"
	" JOIN mine m ON m.n = o.n"
	" ON CONFLICT DO NOTHING"};

// As the heartbeat: who is fenced finds no row. The end of an attempt overwrites it.
const struct db_statement worker_note = {"worker_note",
	"WITH held AS ("
	" SELECT a.key, a.attempt, mine.detail FROM unnest($1::uuid[], $2::int[], $3::jsonb[]) AS mine (key, attempt, detail)"
	" JOIN attempts a ON a.key = mine.key AND a.attempt = mine.attempt AND coalesce(a.finished_at, 'infinity') = 'infinity'"
	" ORDER BY a.key FOR UPDATE OF a"
	")"
	" UPDATE attempts a SET detail = h.detail FROM held h WHERE a.key = h.key AND a.attempt = h.attempt"};

const struct db_statement worker_reuse = {
	"worker_reuse", "SELECT earlier, files, bytes FROM reuse_take($1::uuid, $2::int, $3, $4)"};

const struct db_statement worker_register = {"worker_register",
	"INSERT INTO workers (worker, host, pid, version, slots, isolation) VALUES ($1, $2, $3::int, $4, $5::int, $6)"
	" ON CONFLICT (worker) DO UPDATE SET seen_at = now(), slots = excluded.slots, isolation = excluded.isolation"};

const struct db_statement worker_unregister = {"worker_unregister", "DELETE FROM workers WHERE worker = $1"};
