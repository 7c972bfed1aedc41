#include "frontend/statements.h"

const struct db_statement statement_fingerprint = {
	.name = "frontend_fingerprint", .sql = "SELECT fingerprint FROM trabajos WHERE key = $1::uuid"};

const struct db_statement statement_status = {.name = "frontend_status",
	.sql = "SELECT to_json(usuario)::text, key::text, status FROM trabajos "
	       "WHERE key = $1::uuid AND ($2::text IS NULL OR owner = $2::text)"};

// As in api_cursor.
#define US(moment) "(extract(epoch FROM " moment ") * 1000000)::bigint::text"

const struct db_statement statement_position = {.name = "frontend_position",
	.sql = "SELECT " US("posted_at") " FROM trabajos WHERE key = $1::uuid AND ($2::text IS NULL OR owner = $2::text)"};

// Keyset pages: a page costs the same wherever it is, and what is inserted meanwhile shifts nothing. The columns are named
// with their table, because an unqualified ORDER BY key would mean the text of the output.
#define LIST(condition, order)                                                                                                 \
	"SELECT to_json(t.usuario)::text, t.key::text, t.status, " US(                                                         \
		"t.posted_at") " FROM trabajos t WHERE " condition " ORDER BY " order "t.posted_at, t.key LIMIT $4::bigint"
// An equality on the index's first column would make PostgreSQL begin at that column's first row and walk to the page; so it is
// taken apart into two bounds, and repeated in a form that no index knows.
#define LIST_OF(column)                                                                                                        \
	LIST(column " || '' = $1::text AND " column " <= $1::text AND (" column                                                \
		    ", t.posted_at, t.key) > ($1::text, api_cursor_moment($2::bigint), $3::uuid)",                             \
		column ", ")

const struct db_statement statement_list_owner = {.name = "frontend_list_owner", .sql = LIST_OF("t.owner")};
const struct db_statement statement_list_usuario = {.name = "frontend_list_usuario", .sql = LIST_OF("t.usuario")};
const struct db_statement statement_list_all = {.name = "frontend_list_all",
	.sql = LIST("$1::text IS NOT NULL AND (t.posted_at, t.key) > (api_cursor_moment($2::bigint), $3::uuid)", "")};
