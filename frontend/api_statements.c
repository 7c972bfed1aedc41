#include "frontend/api_statements.h"

const struct db_statement api_statement_job = {.name = "api_job",
	.sql = "SELECT a.job::text, a.job ->> 'key', a.job ->> 'attempt', (extract(epoch FROM now()) * 1000)::bigint,"
	       " ((a.job #>> '{waiting,eta_s,low}')::numeric * 1000)::bigint, ((a.job #>> '{waiting,eta_s,high}')::numeric * 1000)::bigint"
	       " FROM (SELECT api_job(t, $3::integer) AS job FROM trabajos t"
	       "  WHERE t.key = $1::uuid AND ($2::text IS NULL OR t.owner = $2::text) OFFSET 0) a"};

// ---- pages

const struct db_statement api_statement_list = {.name = "api_list",
	.sql = "SELECT items, next, known::integer FROM api_list($1::text, $2::text, $3::uuid, $4::bigint, $5::integer, 10000,"
	       " string_to_array($6::text, ','), $7::text, $8::text, $9::text = 'desc', api_cursor_moment($10::bigint * 1000),"
	       " api_cursor_moment($11::bigint * 1000), $12::text)"};
const struct db_statement api_statement_dead = {.name = "api_dead",
	.sql = "SELECT items, next, known::integer FROM api_dead($1::text, $2::text, $3::uuid, $4::bigint, $5::integer)"};

// ---- changes

const struct db_statement api_statement_cancel = {
	.name = "api_cancel", .sql = "SELECT answer, state FROM trabajos_cancel($1::uuid, $2::text, $3::text)"};
const struct db_statement api_statement_replay = {
	.name = "api_replay", .sql = "SELECT answer, state FROM trabajos_replay($1::uuid, $2::text)"};
const struct db_statement api_statement_dead_replay = {.name = "api_dead_replay",
	.sql = "SELECT replayed, more::integer, next FROM dead_letters_replay($1::text, $2::text, $3::uuid[], $4::text, $5::text,"
	       " to_timestamp($6::bigint / 1000.0), to_timestamp($7::bigint / 1000.0), $8::integer, $9::uuid, $10::bigint, 10000)"};

// ---- workers

const struct db_statement api_statement_workers = {.name = "api_workers",
	.sql = "SELECT coalesce(jsonb_agg(jsonb_build_object('worker', w.worker, 'host', w.host, 'pid', w.pid, 'version', w.version,"
	       " 'slots', w.slots, 'running', w.running, 'isolation', w.isolation, 'draining', w.draining,"
	       " 'started_at', api_moment(w.started_at), 'seen_at', api_moment(w.seen_at), 'jobs', coalesce(r.jobs, '[]'))"
	       " ORDER BY w.started_at, w.worker), '[]')::text FROM workers w LEFT JOIN ("
	       "SELECT a.worker, jsonb_agg(jsonb_build_object('key', a.key, 'attempt', a.attempt, 'usuario', t.usuario, 'url', t.url,"
	       " 'started_at', api_moment(a.started_at)) ORDER BY a.started_at, a.key) AS jobs"
	       " FROM attempts a JOIN trabajos t ON t.key = a.key WHERE a.finished_at IS NULL GROUP BY a.worker) r ON r.worker = w.worker"};

const struct db_statement api_statement_worker_drain = {.name = "api_worker_drain",
	.sql = "UPDATE workers SET draining = true WHERE worker = $1::text RETURNING worker, draining::integer"};
// What an observer has marked is the observer's to take back.
const struct db_statement api_statement_worker_resume = {.name = "api_worker_resume",
	.sql = "UPDATE workers SET draining = draining AND retire_asked_at IS NOT NULL WHERE worker = $1::text"
	       " RETURNING worker, draining::integer"};

// ---- scale

const struct db_statement api_statement_scale = {.name = "api_scale",
	.sql = "SELECT (api_scale($1::integer) || jsonb_build_object('starts', (SELECT coalesce(jsonb_agg(jsonb_build_object("
	       "'key', p.key, 'at', api_moment(p.made_at), 'position', p.position, 'low_ms', p.low_ms, 'high_ms', p.high_ms,"
	       " 'started_ms', p.started_ms) ORDER BY p.made_at), '[]') FROM (SELECT * FROM predictions q"
	       " WHERE q.made_at > now() - interval '1 day' AND q.started_ms IS NOT NULL ORDER BY q.made_at DESC LIMIT 100) p)))::text"};

const struct db_statement api_statement_artifacts = {"api_artifacts", "SELECT api_artifacts($1::uuid, $2)"};

const struct db_statement api_statement_artifact = {
	"api_artifact", "SELECT known::int, blob, size, type, sha256, place FROM api_artifact($1::uuid, $2, $3)"};

const struct db_statement api_statement_deliveries = {"api_deliveries", "SELECT api_deliveries($1::uuid, $2)"};
