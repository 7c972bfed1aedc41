// The statements of /api/v1. JSON is written by PostgreSQL; moments are RFC 3339 in UTC, and an environment's values stay there.
#pragma once

#include "lib/db.h"

// $1 key, $2 owner, NULL: anybody's, $3 most running jobs of a user, 0: no limit → none, or (the whole job, its key, attempt,
// the moment in ms since the epoch, and from then on the range for its start in ms, NULL where there is none)
extern const struct db_statement api_statement_job;
// Both: $1 owner, $2 usuario (both NULL: of all), $3 key behind which to go on (NULL: from the start), $4 its position in
// microseconds (NULL: it is looked for), $5 most → (a JSON array, cursor behind which it goes on or NULL, 0 where there is no such key
// as $3). The list also: $6 statuses separated by commas (NULL: all), $7 a label's name (NULL: all), $8 its value (NULL: any),
// $9 'asc' or 'desc', $10 and $11 ms from and before which they were posted (NULL: any), $12 a part of URL,
// label or key (NULL: any).
extern const struct db_statement api_statement_list, api_statement_dead;
// $1 key, $2 owner, NULL: anybody's, $3 why → (answer, state) of trabajos_cancel
extern const struct db_statement api_statement_cancel;
// $1 key, $2 owner, NULL: anybody's → (answer, state) of trabajos_replay
extern const struct db_statement api_statement_replay;
// $1 owner, NULL: anybody's, $2 usuario, $3 keys as an array's text, $4 outcome's code, $5 blame, $6 and $7 ms between which they
// died, each NULL: all; $8 most, $9 and $10 key and position in microseconds behind which to go on (NULL: from the start) →
// (replayed, whether there are more, cursor behind which it goes on)
extern const struct db_statement api_statement_dead_replay;
// $1 key, $2 owner, NULL: anybody's → (the artifacts as a JSON array, NULL: there is no such job)
extern const struct db_statement api_statement_artifacts;
// As before, and $3 path → (whether there is such a job, blob or NULL, size, type, SHA-256, place)
extern const struct db_statement api_statement_artifact;
// $1 key, $2 owner, NULL: anybody's → (the tries of its webhooks as a JSON array, NULL: there is no such job)
extern const struct db_statement api_statement_deliveries;
// → (the workers as a JSON array)
extern const struct db_statement api_statement_workers;
// $1 worker → (it, whether it drains); no row: there is none
extern const struct db_statement api_statement_worker_drain, api_statement_worker_resume;
// $1 most decisions and actions → (both, the forecast and its score, as JSON)
extern const struct db_statement api_statement_scale;
