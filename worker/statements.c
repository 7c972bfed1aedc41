#include "worker/statements.h"

// Fair share: an owner's n-th candidate has turn n + the owner's running jobs, and the lowest turn goes first; priority orders an
// owner's own jobs; then age. The owners with queued jobs are found by skipping along the index trabajos_queued, so that the
// cost grows with the number of owners and of asked jobs, never with the backlog. Candidates are chosen without locks and more
// of them than asked for; the ones that another worker is claiming are skipped.
const struct db_statement worker_claim = {"worker_claim",
	"WITH RECURSIVE owners AS ("
	" (SELECT owner FROM trabajos WHERE status = 'Queued' ORDER BY owner LIMIT 1)"
	" UNION ALL"
	" SELECT (SELECT t.owner FROM trabajos t WHERE t.status = 'Queued' AND t.owner > o.owner ORDER BY t.owner LIMIT 1)"
	" FROM owners o WHERE o.owner IS NOT NULL"
	"), running AS ("
	" SELECT owner, count(*) AS jobs FROM trabajos WHERE status = 'Running' GROUP BY owner"
	"), candidate AS ("
	" SELECT j.key, coalesce(r.jobs, 0) + j.place AS turn, j.eligible_at"
	" FROM owners o LEFT JOIN running r ON r.owner = o.owner CROSS JOIN LATERAL ("
	"  SELECT q.key, q.eligible_at, row_number() OVER (ORDER BY q.priority DESC, q.eligible_at, q.key) AS place FROM ("
	"   SELECT t.key, t.priority, t.eligible_at FROM trabajos t"
	"   WHERE t.status = 'Queued' AND t.owner = o.owner AND t.eligible_at <= now()"
	"   ORDER BY t.priority DESC, t.eligible_at, t.key LIMIT $2::int * 2 + 8) q) j"
	" WHERE o.owner IS NOT NULL AND NOT EXISTS (SELECT FROM workers w WHERE w.worker = $1 AND w.draining)"
	" ORDER BY turn, j.eligible_at, j.key LIMIT $2::int * 2 + 8"
	"), locked AS ("
	" SELECT t.key FROM candidate c JOIN trabajos t ON t.key = c.key WHERE t.status = 'Queued'"
	" ORDER BY c.turn, c.eligible_at, c.key LIMIT $2::int FOR UPDATE OF t SKIP LOCKED"
	"), claimed AS ("
	" UPDATE trabajos t SET status = 'Running', attempt = t.attempt + 1, worker = $1, claimed_at = now(),"
	" lease_until = now() + make_interval(secs => $3::int)"
	" FROM locked l WHERE t.key = l.key"
	" RETURNING t.key, t.attempt, t.owner, t.usuario, t.url, t.ref, t.timeout_s, t.retries, t.spec, t.posted_at,"
	" t.platform_failures, t.user_failures, t.cancel_requested_at"
	"), history AS ("
	" INSERT INTO attempts (key, attempt, worker) SELECT c.key, c.attempt, $1 FROM claimed c"
	")"
	" SELECT n.candidates, c.key, c.attempt, c.owner, c.usuario, c.url, c.ref, c.timeout_s, c.retries, c.spec,"
	" (extract(epoch FROM c.posted_at) * 1000)::bigint, c.platform_failures, c.user_failures,"
	" (c.cancel_requested_at IS NOT NULL)::int"
	" FROM (SELECT count(*) AS candidates FROM candidate) n LEFT JOIN claimed c ON true"};

const struct db_statement worker_heartbeat = {"worker_heartbeat",
	"WITH alive AS ("
	" UPDATE workers SET seen_at = now(), running = $5::int WHERE worker = $1 RETURNING draining"
	"), held AS ("
	" SELECT t.key FROM unnest($2::uuid[], $3::int[]) AS mine (key, attempt) JOIN trabajos t"
	" ON t.key = mine.key AND t.attempt = mine.attempt AND t.status = 'Running' ORDER BY t.key FOR UPDATE OF t"
	"), renewed AS ("
	" UPDATE trabajos t SET lease_until = now() + make_interval(secs => $4::int) FROM held h WHERE t.key = h.key"
	" RETURNING t.key, t.attempt, t.cancel_requested_at IS NOT NULL AS cancel"
	")"
	" SELECT NULL::uuid, coalesce(bool_or(draining), false)::int, count(*) FROM alive"
	" UNION ALL SELECT key, cancel::int, attempt FROM renewed"};

#define HISTORY_AND_OUTPUT                                                                                                     \
	"history AS ("                                                                                                         \
	" UPDATE attempts a SET finished_at = now(), outcome = $4::jsonb, detail = $5::jsonb FROM done d"                      \
	" WHERE a.key = d.key AND a.attempt = d.attempt"                                                                       \
	"), output AS ("                                                                                                       \
	" INSERT INTO logs (key, attempt, seq, stream, at, data)"                                                              \
	" SELECT d.key, d.attempt, o.seq, o.stream, to_timestamp(o.at_ms / 1000.0), o.data"                                    \
	" FROM done d, unnest($10::int[], $11::smallint[], $12::bigint[], $13::bytea[]) AS o (seq, stream, at_ms, data)"       \
	" ON CONFLICT DO NOTHING"                                                                                              \
	")"

const struct db_statement worker_finish = {"worker_finish",
	"WITH done AS ("
	" UPDATE trabajos SET status = $3, outcome = $4::jsonb, execution_ms = $6::bigint, commit_id = $7, user_failures = $8::int,"
	" platform_failures = $9::int, finished_at = now(), lease_until = NULL, published = false, publish_after = NULL"
	" WHERE key = $1::uuid AND attempt = $2::int AND status = 'Running'"
	" RETURNING key, attempt, usuario, posted_at"
	"), visible AS ("
	" INSERT INTO resultados (usuario, key, status) SELECT usuario, key::text, $3 FROM done"
	" ON CONFLICT (usuario, key) DO UPDATE SET status = excluded.status"
	"), " HISTORY_AND_OUTPUT " SELECT usuario, (extract(epoch FROM posted_at) * 1000)::bigint FROM done"};

const struct db_statement worker_retry = {"worker_retry",
	"WITH done AS ("
	" UPDATE trabajos SET status = 'Queued', outcome = $4::jsonb, execution_ms = $6::bigint, commit_id = $7, user_failures = $8::int,"
	" platform_failures = $9::int, eligible_at = now() + make_interval(secs => $3::bigint / 1000.0), lease_until = NULL, worker = NULL"
	" WHERE key = $1::uuid AND attempt = $2::int AND status = 'Running'"
	" RETURNING key, attempt"
	"), " HISTORY_AND_OUTPUT " SELECT key FROM done"};

const struct db_statement worker_give_back = {"worker_give_back",
	"WITH held AS ("
	" SELECT key FROM trabajos WHERE status = 'Running' AND worker = $1 AND NOT (key = ANY ($2::uuid[])) ORDER BY key FOR UPDATE"
	"), done AS ("
	" UPDATE trabajos t SET status = 'Queued', lease_until = NULL, worker = NULL FROM held h WHERE t.key = h.key"
	" RETURNING t.key, t.attempt"
	"), history AS ("
	" UPDATE attempts a SET finished_at = now(), outcome = '{\"code\": \"lost\", \"blame\": \"platform\", \"exit_code\": null,"
	" \"signal\": null, \"message\": \"given back to the queue by its worker\"}' FROM done d"
	" WHERE a.key = d.key AND a.attempt = d.attempt"
	") SELECT key FROM done"};

const struct db_statement worker_output = {"worker_output",
	"INSERT INTO logs (key, attempt, seq, stream, at, data)"
	" SELECT t.key, t.attempt, o.seq, o.stream, to_timestamp(o.at_ms / 1000.0), o.data"
	" FROM trabajos t, unnest($3::int[], $4::smallint[], $5::bigint[], $6::bytea[]) AS o (seq, stream, at_ms, data)"
	" WHERE t.key = $1::uuid AND t.attempt = $2::int AND t.status = 'Running'"
	" ON CONFLICT DO NOTHING"};

const struct db_statement worker_register = {"worker_register",
	"INSERT INTO workers (worker, host, pid, version, slots, isolation) VALUES ($1, $2, $3::int, $4, $5::int, $6)"
	" ON CONFLICT (worker) DO UPDATE SET seen_at = now(), slots = excluded.slots, isolation = excluded.isolation"};

const struct db_statement worker_unregister = {"worker_unregister", "DELETE FROM workers WHERE worker = $1"};
