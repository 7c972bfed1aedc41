// /api/v1/schedules: cron entries that put jobs into the ledger (sql/0003-schedules.sql).
//
//     POST   /api/v1/schedules              a new one: 201, Location
//     GET    /api/v1/schedules              the caller's, oldest first, without what their jobs ask for; limit=, after=<id>
//     GET    /api/v1/schedules/{id}         one, with all of it but the values of env
//     DELETE /api/v1/schedules/{id}         204; jobs that are in the ledger stay
//     POST   /api/v1/schedules/{id}/pause   no moment counts until
//     POST   /api/v1/schedules/{id}/resume
//
// Another's schedule is one that is not there, but for an admin.
#include "frontend/accept.h"
#include "frontend/api.h"
#include "lib/cron.h"
#include "lib/mem.h"
#include "lib/webhook.h"

#include <string.h>

#define PATH      "/api/v1/schedules" // as in routes.c
#define OWN_MOST  100                 // of a user; two that come at the same time to two frontends may exceed it
#define NAME_MOST 200                 // bytes

// ---- statements

#define SUMMARY                                                                                                                \
	"jsonb_build_object('id', s.id, 'name', s.name, 'usuario', s.usuario, 'cron', s.cron, 'zone', s.zone, 'url', s.url,"   \
	" 'missed', s.missed, 'paused', s.paused, 'next_at', api_moment(s.next_at), 'last_at', api_moment(s.last_at),"         \
	" 'last_key', s.last_key, 'skipped_at', api_moment(s.skipped_at), 'problem', s.problem,"                               \
	" 'created_at', api_moment(s.created_at))"
// Values of env are secrets, and that of a webhook: null stands for each.
#define ENV                                                                                                                    \
	"CASE WHEN s.spec ? 'env' THEN jsonb_build_object('env',"                                                              \
	" (SELECT coalesce(jsonb_object_agg(e.name, NULL), '{}') FROM jsonb_object_keys(s.spec -> 'env') e (name)))"           \
	" ELSE '{}' END || CASE WHEN s.spec ? 'on_done' THEN jsonb_build_object('on_done', api_on_done(s.spec)) ELSE '{}' END"
#define WHOLE "(s.spec || " ENV " || " SUMMARY ")::text"
#define MINE  "s.id = $1::uuid AND ($2::text IS NULL OR s.owner = $2::text)"

// $1 the schedule as JSON, $2 how many an owner may have → (whether its zone is known, how many the owner had, id of the one
// that has the name already, the new one)
static const struct db_statement statement_create = {.name = "schedules_create",
	.sql = "WITH given AS (SELECT g, schedules_zone_known(g.zone) AS known FROM jsonb_populate_record(NULL::schedules, $1::jsonb) g"
	       "), others AS (SELECT o.id, o.name FROM schedules o JOIN given ON o.owner = (given.g).owner"
	       "), s AS ("
	       " INSERT INTO schedules (id, owner, usuario, admin, name, cron, minutes, hours, days, months, weekdays, either_day, zone,"
	       "  url, spec, fingerprint, missed, next_at)"
	       " SELECT n.id, n.owner, n.usuario, n.admin, n.name, n.cron, n.minutes, n.hours, n.days, n.months, n.weekdays, n.either_day,"
	       "  n.zone, n.url, n.spec, n.fingerprint, n.missed, schedules_next(n, now())"
	       " FROM (SELECT (given.g).* FROM given WHERE given.known AND (SELECT count(*) FROM others) < $2::bigint) n"
	       " ON CONFLICT (owner, name) DO NOTHING RETURNING *"
	       ") SELECT given.known, (SELECT count(*) FROM others), (SELECT o.id FROM others o WHERE o.name = (given.g).name),"
	       " (SELECT " WHOLE " FROM s) FROM given"};

// $1 whose, $2 id behind which to go on (NULL: from the start), $3 most → api_page_answer's row
#define LIST(condition)                                                                                                        \
	"WITH looked AS MATERIALIZED ("                                                                                        \
	" SELECT row_number() OVER (ORDER BY s.id) AS n, s.id, " SUMMARY " AS item FROM schedules s WHERE " condition          \
	" AND ($2::uuid IS NULL OR s.id > $2::uuid) ORDER BY s.id LIMIT $3::bigint + 1"                                        \
	") SELECT coalesce(json_agg(l.item ORDER BY l.n) FILTER (WHERE l.n <= $3::bigint), '[]')::text,"                       \
	" CASE WHEN max(l.n) > $3::bigint THEN (SELECT m.id FROM looked m WHERE m.n = $3::bigint) END, 1 FROM looked l"
static const struct db_statement statement_list_owner = {.name = "schedules_list_owner", .sql = LIST("s.owner = $1::text")};
static const struct db_statement statement_list_usuario = {
	.name = "schedules_list_usuario", .sql = LIST("s.usuario = $1::text")};
static const struct db_statement statement_list_all = {.name = "schedules_list_all", .sql = LIST("$1::text IS NOT NULL")};

// Each: $1 id, $2 owner, NULL: anybody's → none, or one row (the schedule; "" where it is gone)
static const struct db_statement statement_get = {
	.name = "schedules_get", .sql = "SELECT " WHOLE " FROM schedules s WHERE " MINE};
static const struct db_statement statement_delete = {
	.name = "schedules_delete", .sql = "DELETE FROM schedules s WHERE " MINE " RETURNING ''"};
static const struct db_statement statement_pause = {.name = "schedules_pause",
	.sql = "UPDATE schedules s SET paused = true, next_at = NULL WHERE " MINE " RETURNING " WHOLE};
static const struct db_statement statement_resume = {.name = "schedules_resume",
	.sql = "UPDATE schedules s SET paused = false, problem = CASE WHEN NOT schedules_zone_known(zone) THEN problem END,"
	       " next_at = coalesce(next_at, CASE WHEN schedules_zone_known(zone) THEN schedules_next(s, now()) END)"
	       " WHERE " MINE " RETURNING " WHOLE};

// ---- POST: a new one

struct wanted {
	const char *name, *cron_text, *zone, *missed, *url; // of the body
	struct cron cron;
	struct trabajo trabajo;
};

// Takes a string out of what will be the spec. fallback NULL: it must be there. NULL: error.
static const char *text_take(const json_t *body, json_t *spec, const char *member, const char *fallback, struct error *error) {
	const char *text = json_object_get(body, member) ? json_text(body, member) : fallback;
	json_object_del(spec, member);
	if (!text) error_set(error, ERROR_INPUT, "The member %s must be %sa string.", member, fallback ? "" : "there, and be ");
	return text;
}

static int name_check(const char *name, struct error *error) {
	size_t length = strlen(name);
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)name[i] < ' ' || name[i] == 0x7f) length = 0;
	if (length >= 1 && length <= NAME_MOST) return 0;
	return error_set(error, ERROR_INPUT, "The member name must have 1 to %d bytes and no control characters.", NAME_MOST);
}

static int refuse_member(struct error *error, const char *member) {
	AUTO_FREE char *why = mem_strdup(error_text(error));
	return error_set(error, ERROR_INPUT, "The member %s was not accepted: %s.", member, why);
}

static int spec_read(const json_t *rest, struct trabajo_spec *spec, struct error *error) {
	if (trabajo_spec_read(json_object_size(rest) ? rest : NULL, spec, error)) {
		AUTO_FREE char *why = mem_strdup(error_text(error));
		return error_set(error, ERROR_INPUT, "What the jobs ask for was not accepted: %s.", why);
	}
	if (!json_object_get(spec->json, "run_after")) return 0;
	return error_set(error, ERROR_INPUT, "The member run_after does not go together with a schedule.");
}

// All but the URL. body must outlive wanted.
static int wanted_read(const json_t *body, struct wanted *wanted, struct error *error) {
	AUTO_JSON json_t *rest = json_copy((json_t *)(uintptr_t)body);
	if (!(wanted->name = text_take(body, rest, "name", NULL, error)) || name_check(wanted->name, error) ||
		!(wanted->cron_text = text_take(body, rest, "cron", NULL, error)) ||
		!(wanted->zone = text_take(body, rest, "zone", "UTC", error)) ||
		!(wanted->missed = text_take(body, rest, "missed", "skip", error)) ||
		!(wanted->url = text_take(body, rest, "url", NULL, error)))
		return -1;
	if (cron_parse(wanted->cron_text, &wanted->cron, error)) return refuse_member(error, "cron");
	if (cron_zone_check(wanted->zone, error)) return refuse_member(error, "zone");
	if (strcmp(wanted->missed, "skip") != 0 && strcmp(wanted->missed, "once") != 0)
		return error_set(error, ERROR_INPUT, "The member missed must be \"skip\" or \"once\".");
	return spec_read(rest, &wanted->trabajo.spec, error);
}

static json_t *set_json(uint64_t set) {
	int64_t numbers[64];
	size_t count = cron_numbers(set, numbers);
	json_t *array = json_array();
	for (size_t i = 0; i < count; i++) json_array_append_new(array, json_integer(numbers[i]));
	return array;
}

// Members are the columns' names.
static char *wanted_row(const struct wanted *wanted, const struct token_claims *claims) {
	char id[UUID_TEXT], fingerprint[65];
	uuid_v7(id);
	trabajo_fingerprint(&wanted->trabajo, fingerprint);
	const struct cron *cron = &wanted->cron;
	AUTO_JSON json_t *spec = wanted->trabajo.spec.json ? json_incref(wanted->trabajo.spec.json) : json_object();
	AUTO_JSON json_t *row = json_pack("{s:s, s:s, s:s, s:b, s:s, s:s, s:s, s:s, s:O, s:s, s:s}", "id", id, "owner",
		claims->sub, "usuario", claims->usuario, "admin", !!(claims->roles & TOKEN_ROLE_ADMIN), "name", wanted->name,
		"cron", wanted->cron_text, "zone", wanted->zone, "url", wanted->trabajo.url, "spec", spec, "fingerprint",
		fingerprint, "missed", wanted->missed);
	if (!row) mem_die("schedules: text that is no UTF-8");
	json_object_set_new(row, "minutes", set_json(cron->minutes));
	json_object_set_new(row, "hours", set_json(cron->hours));
	json_object_set_new(row, "days", set_json(cron->days));
	json_object_set_new(row, "months", set_json(cron->months));
	json_object_set_new(row, "weekdays", set_json(cron->weekdays));
	json_object_set_new(row, "either_day", json_boolean(cron->either_day));
	return json_write(row);
}

static void answer_new(struct http_request *request, const char *text) {
	AUTO_JSON json_t *json = NULL;
	if (json_read(text, strlen(text), strlen(text), &json, NULL)) json = NULL;
	AUTO_FREE char *location = mem_format(PATH "/%s", json_text(json, "id"));
	http_answer_header(request, "Location", location);
	answer_json(request, 201, text);
}

static void answer_created(struct http_request *request, const struct db_result *result, void *arg) {
	(void)arg;
	const char *namesake = db_get(result, 0, 2), *text = db_get(result, 0, 3);
	if (text)
		answer_new(request, text);
	else if (!db_get_int(result, 0, 0))
		answer_problem(request, 400, 0, "The member zone was not accepted: PostgreSQL knows no such time zone.");
	else if (namesake || db_get_int(result, 0, 1) < OWN_MOST) // the latter: made at the same time
		answer_problem(request, 409, 0, "There is a schedule of yours with this name already%s%s.",
			namesake ? ": " : "", namesake ? namesake : "");
	else
		answer_problem(request, 409, 0, "You have %d schedules already; delete one first.", OWN_MOST);
}

static void store(const struct frontend *frontend, struct http_request *request, const struct token_claims *claims,
	const struct wanted *wanted) {
	AUTO_FREE char *row = wanted_row(wanted, claims), *most = mem_format("%d", OWN_MOST);
	api_query(frontend, request,
		&(struct api_query){.statement = &statement_create,
			.writes = true,
			.params = {row, most},
			.count = 2,
			.answer = answer_created});
}

static void create(struct http_request *request, struct token_claims *claims, void *arg) {
	const struct frontend *frontend = arg;
	struct error error AUTO_ERROR = {0};
	AUTO_JSON json_t *body = NULL;
	struct wanted wanted = {0};
	if (accept_rate(frontend, request, claims) || http_json(request, &body)) return;
	if (wanted_read(body, &wanted, &error) || webhook_allowed(wanted.trabajo.spec.json, frontend->webhook_allow, &error))
		answer_problem(request, 400, 0, "%s", error_text(&error));
	else if (accept_url(frontend, request, "member", wanted.url, &wanted.trabajo.url) == 0)
		store(frontend, request, claims, &wanted);
	trabajo_clear(&wanted.trabajo);
}

// ---- GET: the list

static const char *const kept[] = {"limit", "usuario"};

static void answer_list(struct http_request *request, const struct db_result *result, void *arg) {
	(void)arg;
	api_page_answer(request, result, kept, COUNT_OF(kept));
}

static void list(struct http_request *request, struct token_claims *claims, void *arg) {
	struct api_page page;
	if (api_page_read(request, claims, kept, COUNT_OF(kept), &page)) return;
	const struct db_statement *of_name = page.usuario ? &statement_list_usuario : &statement_list_all;
	api_query(arg, request,
		&(struct api_query){.statement = page.owner ? &statement_list_owner : of_name,
			.params = {page.owner     ? page.owner
				   : page.usuario ? page.usuario
						  : "",
				page.behind, page.most},
			.count = 3,
			.answer = answer_list});
}

// ---- one of them

static void answer_none(struct http_request *request) {
	answer_problem(request, 404, 0, "You have no such schedule.");
}

static void answer_one(struct http_request *request, const struct db_result *result, void *arg) {
	(void)arg;
	const char *text = db_rows(result) ? db_get(result, 0, 0) : NULL;
	if (!text)
		answer_none(request);
	else if (!*text)
		http_answer(request, 204, NULL, NULL, 0);
	else
		answer_json(request, 200, text);
}

static void ask_one(struct http_request *request, const struct token_claims *claims, const struct frontend *frontend,
	const struct db_statement *statement) {
	char id[UUID_TEXT];
	if (uuid_parse_text(http_path_param(request, "id"), id)) {
		answer_none(request);
		return;
	}
	api_query(frontend, request,
		&(struct api_query){.statement = statement,
			.writes = statement != &statement_get,
			.params = {id, api_whose(claims)},
			.count = 2,
			.answer = answer_one});
}

static void one(struct http_request *request, struct token_claims *claims, void *arg) {
	bool removes = strcmp(http_method(request), "DELETE") == 0;
	ask_one(request, claims, arg, removes ? &statement_delete : &statement_get);
}

static void pause_one(struct http_request *request, struct token_claims *claims, void *arg) {
	ask_one(request, claims, arg, &statement_pause);
}

static void resume_one(struct http_request *request, struct token_claims *claims, void *arg) {
	ask_one(request, claims, arg, &statement_resume);
}

// ---- routes

void schedules_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	auth_request(frontend->auth, request, strcmp(http_method(request), "POST") == 0 ? create : list, arg);
}

void schedule_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	auth_request(frontend->auth, request, one, arg);
}

void schedule_pause_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	auth_request(frontend->auth, request, pause_one, arg);
}

void schedule_resume_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	auth_request(frontend->auth, request, resume_one, arg);
}
