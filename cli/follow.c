// The log is a stream of events (docs/INTERFACES.md). A connection that breaks, or ends because the token did, is made again behind
// the last event that was seen, so nothing is missing and nothing comes twice. While the job waits in the queue, why is asked now and
// then beside the stream.
#include "cli/follow.h"

#include "cli/base64.h"
#include "cli/call.h"
#include "cli/cli.h"
#include "cli/sse.h"
#include "cli/text.h"
#include "cli/view.h"
#include "cli/words.h"
#include "lib/lifecycle.h"
#include "lib/mem.h"

#include <inttypes.h>
#include <string.h>

#define TICK_MS      1000
#define TRIES        40 // connections in a row that bring nothing: some minutes, in which a server comes back
#define PAUSE_MS     200
#define PAUSE_CAP_MS 8000
#define RED          "\033[31m"

struct run {
	const struct follow *wanted;
	struct sse sse;
	struct text_filter filters[2]; // stdout, stderr
	char *status;
	int64_t attempt;             // that the last status named
	int64_t seen_attempt, seen;  // the last output
	int64_t enough, taken;       // bytes: what there is now, where it does not go on; -1: to the end
	json_t *end;                 // what the end event said
	char *progress;              // what was said last of how it waits
	bool line, done, alive, cut; // line: the progress stands there, and may be overwritten; cut: our own output has broken
};

// ---- how it stands, on stderr

static bool tells(const struct run *run) {
	return !run->wanted->quiet && !cli.json;
}

static void clear_line(struct run *run) {
	if (run->line) fputs("\r\033[K", stderr);
	run->line = false;
}

// On a terminal the line is overwritten; elsewhere a line is said when the reason has changed, not for each place in line.
static void say_progress(struct run *run, const char *text) {
	if (term_is(stderr)) {
		clear_line(run);
		size_t columns = term_width(stderr);
		AUTO_FREE char *safe = text_safe(text);
		fprintf(stderr, "%.*s", (int)text_fit(safe, columns - 1), safe);
		run->line = true;
		return;
	}
	size_t reason = strcspn(text, ";");
	if (run->progress && strcspn(run->progress, ";") == reason && strncmp(run->progress, text, reason) == 0) return;
	AUTO_FREE char *safe = text_safe(text);
	fprintf(stderr, "%s\n", safe);
	free(run->progress);
	run->progress = mem_strdup(text);
}

static void say_waiting(struct run *run, const json_t *job) {
	AUTO_FREE char *why = view_waiting(json_object_get(job, "waiting"));
	AUTO_FREE char *text = mem_format(_("Queued: %s"), why);
	if (tells(run) && *why) say_progress(run, text);
}

static void tick(void *arg) {
	struct run *run = arg;
	AUTO_JSON json_t *job = NULL;
	if (!tells(run) || !run->status || strcmp(run->status, "Queued") != 0) return;
	if (call_get(&job, NULL, "/api/v1/trabajos/%s", run->wanted->key) == 0) say_waiting(run, job);
}

static void say_end(const struct run *run) {
	AUTO_JSON json_t *job = NULL;
	if (!tells(run) || call_get(&job, NULL, "/api/v1/trabajos/%s", run->wanted->key)) return;
	AUTO_FREE char *message = text_safe(json_text(json_object_get(job, "outcome"), "message"));
	AUTO_FREE char *status = text_safe(cli_or_nothing(json_text(job, "status")));
	AUTO_FREE char *ran = view_duration(view_run_ms(job) < 0 ? 0 : view_run_ms(job));
	AUTO_FREE char *waited = view_duration(view_int(job, "wait_ms"));
	bool colours = term_colours(stderr);
	fprintf(stderr, _("%s%s%s%s%s, after a wait of %s and a run of %s\n"), colours ? term_sgr(term_status(status)) : "",
		status, colours ? term_sgr(TERM_PLAIN) : "", message ? ": " : "", message ? message : "", waited, ran);
}

// ---- events

static void print_bytes(struct run *run, bool error_stream, const char *bytes, size_t length) {
	FILE *out = error_stream ? stderr : stdout;
	struct text_filter *filter = &run->filters[error_stream];
	clear_line(run);
	if (filter->out) {
		text_filter_take(filter, bytes, length);
	} else {
		fwrite(bytes, 1, length, out);
		fflush(out);
	}
	if (ferror(stdout)) run->cut = run->done = true;
}

static void take_output(struct run *run, const json_t *event) {
	const char *stream = json_text(event, "stream"), *coded = json_text(event, "base64");
	const json_t *text = json_object_get(event, "text");
	int64_t attempt = view_int(event, "attempt"), seq = view_int(event, "seq");
	if (attempt < run->seen_attempt || (attempt == run->seen_attempt && seq <= run->seen)) return;
	run->seen_attempt = attempt;
	run->seen = seq;
	size_t length = json_string_length(text);
	AUTO_FREE char *decoded = coded ? base64_decode(coded, strlen(coded), &length) : NULL;
	const char *bytes = decoded ? decoded : json_string_value(text);
	if (!bytes) return;
	if (run->wanted->prints && !cli.json) print_bytes(run, stream && strcmp(stream, "stderr") == 0, bytes, length);
	run->taken += (int64_t)length;
	if (run->enough >= 0 && run->taken >= run->enough) run->done = true;
}

static void take_status(struct run *run, const json_t *event) {
	const char *status = json_text(event, "status");
	int64_t attempt = view_int(event, "attempt");
	if (!status) return;
	bool anew = run->attempt > 0 && attempt > run->attempt && strcmp(status, "Running") == 0;
	if (anew && tells(run)) {
		clear_line(run);
		fprintf(stderr, _("It is tried again: attempt %" PRId64 "\n"), attempt);
	}
	if (strcmp(status, "Queued") != 0) clear_line(run);
	free(run->status);
	run->status = mem_strdup(status);
	if (strcmp(status, "Running") == 0) run->attempt = attempt;
}

static void take_truncated(struct run *run, const json_t *event) {
	if (!run->wanted->prints || cli.json) return;
	clear_line(run);
	cli_warn(_("%" PRId64 " bytes more were printed, and not kept"), view_int(event, "bytes"));
}

static void print_event(const char *name, json_t *event) {
	json_object_set_new(event, "event", json_string(name));
	view_print(event);
	fflush(stdout);
}

static void take_event(const char *name, const char *data, size_t length, void *arg) {
	struct run *run = arg;
	// output may have NULs in it
	AUTO_JSON json_t *event = json_loadb(data, length, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(event) || run->done) return;
	run->alive = true;
	if (strcmp(name, "output") == 0) take_output(run, event);
	if (strcmp(name, "status") == 0) take_status(run, event);
	if (strcmp(name, "truncated") == 0) take_truncated(run, event);
	if (strcmp(name, "end") == 0) {
		run->done = true;
		run->end = json_incref(event);
	}
	if (cli.json && run->wanted->prints && strcmp(name, "expired") != 0) print_event(name, event);
	if (ferror(stdout)) run->cut = run->done = true;
}

static int sink(const char *bytes, size_t length, void *arg) {
	struct run *run = arg;
	sse_take(&run->sse, bytes, length);
	return run->done;
}

// ---- connections

static char *log_path(const struct follow *wanted) {
	char *path = mem_format("/api/v1/trabajos/%s/log", wanted->key);
	AUTO_FREE char *attempt = wanted->attempt ? mem_format("%" PRId64, wanted->attempt) : NULL;
	call_query(&path, "attempt", attempt);
	call_query(&path, "stream", wanted->stream);
	return path;
}

static int connect_once(struct run *run, struct error *error) {
	AUTO_FREE char *path = log_path(run->wanted);
	AUTO_FREE char *last = run->sse.id ? mem_format("Last-Event-ID: %s", run->sse.id) : NULL;
	struct client_reply reply;
	sse_restart(&run->sse);
	const struct call call = {.path = path,
		.headers = {"Accept: text/event-stream", last},
		.stream = true,
		.sink = sink,
		.tick = tick,
		.tick_ms = TICK_MS,
		.arg = run};
	int result = call_send(&call, &reply, error);
	client_reply_clear(&reply);
	return result;
}

static int connect_again(struct run *run, struct error *error) {
	for (unsigned failures = 0; !run->done;) {
		run->alive = false;
		error_clear(error);
		int result = connect_once(run, error);
		if (result && error->kind != ERROR_UNAVAILABLE) return -1;
		if (run->done) break;
		failures = run->alive ? 0 : failures + 1;
		if (failures == TRIES)
			return result ? -1
				      : error_set(error, ERROR_UNAVAILABLE, _("%s: the log breaks off again and again"),
						cli.server);
		if (result && failures < 2 && tells(run)) {
			clear_line(run);
			cli_warn(_("the connection broke; connecting again"));
		}
		if (cli_pause(lifecycle_backoff_ms(failures, PAUSE_MS, PAUSE_CAP_MS)))
			return error_set(error, ERROR_CONFLICT, _("interrupted"));
	}
	error_clear(error);
	return 0;
}

// ---- from the begin to the end

static int count_bytes(const char *bytes, size_t length, void *arg) {
	(void)bytes;
	*(int64_t *)arg += (int64_t)length;
	return 0;
}

// How much there is now of a log that goes on.
static int measure(struct run *run, const json_t *job, struct error *error) {
	const char *status = cli_or_nothing(json_text(job, "status"));
	bool ended = view_member(job, "finished_at") && strcmp(status, "Running") != 0 && strcmp(status, "Queued") != 0;
	run->enough = -1;
	if (run->wanted->goes_on || ended) return 0;
	if (view_int(job, "attempt") == 0) {
		run->done = true;
		if (!cli.json) say_waiting(run, job);
		return 0;
	}
	AUTO_FREE char *path = log_path(run->wanted);
	struct client_reply reply;
	run->enough = 0;
	int result = call_send(&(struct call){.path = path, .sink = count_bytes, .arg = &run->enough}, &reply, error);
	client_reply_clear(&reply);
	run->done = run->enough == 0;
	return result;
}

static void choose_filters(struct run *run) {
	bool out = term_is(stdout), errors = term_is(stderr);
	if (out) run->filters[0] = (struct text_filter){.out = stdout, .colours = term_colours(stdout)};
	if (errors) run->filters[1] = (struct text_filter){.out = stderr, .colours = term_colours(stderr)};
	if (errors && term_colours(stderr)) run->filters[1].mark = RED;
}

static void say_interrupted(struct run *run) {
	clear_line(run);
	if (!run->wanted->goes_on) return;
	cli_warn(_("the job goes on; trabajos log -f %s follows it, trabajos cancel %s ends it"), run->wanted->key,
		run->wanted->key);
}

static void run_clear(struct run *run) {
	clear_line(run);
	for (size_t i = 0; i < COUNT_OF(run->filters); i++)
		if (run->filters[i].out) text_filter_end(&run->filters[i]);
	sse_clear(&run->sse);
	free(run->status);
	free(run->progress);
}

static int follow(struct run *run, struct error *error) {
	AUTO_JSON json_t *job = NULL;
	AUTO_FREE char *path = mem_format("/api/v1/trabajos/%s", run->wanted->key);
	if (call_json(&(struct call){.path = path, .patient = true}, &job, error)) return -1;
	run->status = mem_strdup(json_text(job, "status"));
	if (measure(run, job, error)) return -1;
	if (run->wanted->goes_on && run->status && strcmp(run->status, "Queued") == 0) say_waiting(run, job);
	return connect_again(run, error);
}

int follow_job(const struct follow *wanted, struct error *error) {
	struct run run = {.wanted = wanted, .sse = {.event = take_event}};
	run.sse.arg = &run;
	cli_catch_signals();
	choose_filters(&run);
	int result = follow(&run, error);
	run_clear(&run);
	if (result && cli_stopped()) say_interrupted(&run);
	int code = run.cut ? EXIT_FAILED : EXIT_FINE;
	if (result == 0 && wanted->goes_on && run.end) {
		code = view_exit(run.end);
		say_end(&run);
	}
	json_decref(run.end);
	return result ? -1 : code;
}
