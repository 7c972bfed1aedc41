// GET /api/v1/trabajos/{key}/log: what a job has printed; followed, as events or as text, until it has ended.
#include "frontend/api.h"
#include "frontend/follower.h"
#include "frontend/log_file.h"
#include "frontend/param.h"
#include "lib/mem.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define RETRY_AFTER_S 10

struct log_asking {
	const struct frontend *frontend;
	struct token_claims *claims;
	char key[UUID_TEXT];
	bool events, follow, resumed;
	int stream;           // 0: both
	int64_t attempt;      // 0: the newest
	int64_t last_attempt; // with last_seq, behind which to go on
	int64_t last_seq;
};

static void asking_free(void *arg) {
	struct log_asking *asking = arg;
	token_claims_drop(asking->claims);
	free(asking);
}

// ---- once the job is known

static bool refused_room(const struct log_asking *asking, struct http_request *request) {
	switch (follow_room(asking->frontend->follow, asking->claims)) {
	case FOLLOW_ROOM:
		return false;
	case FOLLOW_USER_FULL:
		answer_problem(request, 429, RETRY_AFTER_S, "You follow as many logs at the same time as one user may.");
		return true;
	case FOLLOW_FULL:
		answer_problem(request, 503, RETRY_AFTER_S, "As many logs as possible are followed here already.");
		return true;
	case FOLLOW_STOPS:
		answer_problem(request, 503, 1, "This server is stopping; ask again.");
		return true;
	}
	return false;
}

static void start_follower(const struct log_asking *asking, struct http_request *request, const struct db_result *look) {
	int64_t newest = db_get_int(look, 0, 1);
	struct follower_wish wish = {.key = asking->key,
		.events = asking->events,
		.stream = asking->stream,
		.attempt = db_get_int(look, 0, 3),
		.only = asking->attempt != 0};
	if (asking->resumed && asking->last_attempt > newest) {
		answer_problem(request, 400, 0, "Last-Event-ID names an attempt that this job has not had.");
		return;
	}
	if (asking->resumed && (!wish.only || asking->last_attempt == wish.attempt)) {
		wish.attempt = asking->last_attempt;
		wish.seq = asking->last_seq + 1;
	}
	if (!refused_room(asking, request))
		follower_start(asking->frontend->follow, request, asking->claims, &wish, db_get(look, 0, 0), newest,
			db_get(look, 0, 2), db_get_int(look, 0, 5));
}

static void looked(struct http_request *request, const struct db_result *look, void *arg) {
	const struct log_asking *asking = arg;
	if (!db_rows(look)) {
		api_no_job(request);
		return;
	}
	if (asking->attempt > db_get_int(look, 0, 1)) {
		answer_problem(request, 404, 0, "The job has had no such attempt.");
		return;
	}
	if (asking->events || asking->follow) {
		start_follower(asking, request, look);
		return;
	}
	struct log_file_wish wish = {
		.attempt = db_get_int(look, 0, 3), .stream = asking->stream, .over = db_get_int(look, 0, 4) != 0};
	memcpy(wish.key, asking->key, UUID_TEXT);
	log_file_answer(asking->frontend, request, &wish);
}

// ---- parameters

static bool read_number(const char **text, int64_t *number) {
	if (**text < '0' || **text > '9') return false;
	char *end = NULL;
	errno = 0;
	*number = strtoll(*text, &end, 10);
	*text = end;
	return !errno && *number < INT32_MAX;
}

static int read_attempt(struct http_request *request, struct log_asking *asking) {
	const char *text;
	int given = param_read(request, "attempt", &text);
	if (given <= 0 || (read_number(&text, &asking->attempt) && !*text && asking->attempt > 0)) return given;
	answer_problem(request, 400, 0, "The parameter attempt must be a whole number from 1 on.");
	return -1;
}

static int read_stream(struct http_request *request, struct log_asking *asking) {
	const char *text;
	int given = param_read(request, "stream", &text);
	if (given <= 0) return given;
	asking->stream = strcmp(text, "stdout") == 0 ? 1 : strcmp(text, "stderr") == 0 ? 2 : 0;
	if (asking->stream) return given;
	answer_problem(request, 400, 0, "The parameter stream must be stdout or stderr.");
	return -1;
}

static int read_follow(struct http_request *request, struct log_asking *asking) {
	const char *text;
	int given = param_read(request, "follow", &text);
	if (given <= 0) return given;
	asking->follow = strcmp(text, "1") == 0 || strcmp(text, "true") == 0;
	if (asking->follow || strcmp(text, "0") == 0 || strcmp(text, "false") == 0) return given;
	answer_problem(request, 400, 0, "The parameter follow must be 1 or 0.");
	return -1;
}

static int read_last_id(struct http_request *request, struct log_asking *asking) {
	const char *text = http_header(request, "Last-Event-ID");
	if (!asking->events || !text || !*text) return 0;
	asking->resumed = true;
	if (read_number(&text, &asking->last_attempt) && *text++ == '.' && read_number(&text, &asking->last_seq) && !*text)
		return 1;
	answer_problem(request, 400, 0, "Last-Event-ID must be the id of an event of this log, ATTEMPT.SEQ.");
	return -1;
}

// Whoever asks for it by name gets it; a weight of 0 (RFC 9110 section 12.4.2) is not looked for.
static bool wants_events(struct http_request *request) {
	const char *accept = http_header(request, "Accept");
	return accept && strcasestr(accept, "text/event-stream");
}

static void authorised(struct http_request *request, struct token_claims *claims, void *arg) {
	static const char *const known[] = {"attempt", "stream", "follow"};
	const struct frontend *frontend = arg;
	if (param_only(request, known, COUNT_OF(known))) return;
	struct log_asking *asking = mem_zalloc(sizeof *asking);
	*asking =
		(struct log_asking){.frontend = frontend, .claims = token_claims_hold(claims), .events = wants_events(request)};
	if (api_key(request, asking->key) || read_attempt(request, asking) < 0 || read_stream(request, asking) < 0 ||
		read_follow(request, asking) < 0 || read_last_id(request, asking) < 0) {
		asking_free(asking);
		return;
	}
	char attempt[24];
	snprintf(attempt, sizeof attempt, "%lld", (long long)asking->attempt);
	const struct api_query query = {.statement = &log_read_look,
		.params = {asking->key, api_whose(claims), attempt},
		.count = 3,
		.answer = looked,
		.drop = asking_free,
		.arg = asking};
	api_query(frontend, request, &query);
}

bool api_log_followed(const struct http_request *request) {
	const char *end = strrchr(http_path(request), '/');
	return http_streams(request) && end && strcmp(end, "/log") == 0;
}

void api_log_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	auth_request(frontend->auth, request, authorised, arg);
}
