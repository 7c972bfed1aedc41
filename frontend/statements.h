// Every statement of the frontend's but the ledger's insert (lib/ledger.h).
#pragma once

#include "lib/db.h"

// $1 key → (fingerprint)
extern const struct db_statement statement_fingerprint;
// $1 key, $2 owner, NULL: anybody's → (usuario as JSON, key, status)
extern const struct db_statement statement_status;
// $1 key, $2 owner, NULL: anybody's → (posted_at in microseconds)
extern const struct db_statement statement_position;
// $1 whose, $2 posted_at in microseconds and $3 key behind which to go on, $4 most → (usuario as JSON, key, status, posted_at in microseconds), oldest first
extern const struct db_statement statement_list_owner, statement_list_usuario;
extern const struct db_statement statement_list_all; // $1 is not looked at
