#include "cli/view.h"

#include "cli/cli.h"
#include "cli/words.h"
#include "lib/loop.h"
#include "lib/mem.h"
#include "lib/moment.h"

#include <inttypes.h>
#include <string.h>

// ---- figures

char *view_duration(int64_t ms) {
	int64_t s = ms / 1000;
	if (ms < 60000) return mem_format("%" PRId64 ".%" PRId64 " s", s, ms % 1000 / 100);
	if (s < 3600) return mem_format("%" PRId64 " min %" PRId64 " s", s / 60, s % 60);
	if (s < 86400) return mem_format("%" PRId64 " h %" PRId64 " min", s / 3600, s % 3600 / 60);
	return mem_format("%" PRId64 " d %" PRId64 " h", s / 86400, s % 86400 / 3600);
}

char *view_ago(const char *moment) {
	int64_t ms;
	if (!moment || moment_read(moment, &ms)) return mem_strdup("-");
	int64_t s = (loop_wall_ms() - ms) / 1000;
	if (s < 0) s = 0;
	if (s < 60) return mem_format("%" PRId64 " s", s);
	if (s < 3600) return mem_format("%" PRId64 " min", s / 60);
	if (s < 86400) return mem_format("%" PRId64 " h", s / 3600);
	return mem_format("%" PRId64 " d", s / 86400);
}

char *view_moment(const char *moment) {
	int64_t ms;
	struct tm tm;
	char text[64];
	if (!moment || moment_read(moment, &ms)) return mem_strdup("-");
	time_t s = (time_t)(ms / 1000);
	if (!localtime_r(&s, &tm) || !strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm)) return mem_strdup("-");
	return mem_strdup(text);
}

char *view_bytes(int64_t bytes) {
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
	if (bytes < 1024) return mem_format("%" PRId64 " B", bytes);
	double value = (double)bytes / 1024;
	size_t unit = 0;
	for (; value >= 1023.95 && unit + 1 < COUNT_OF(units); unit++) value /= 1024;
	return mem_format("%.1f %s", value, units[unit]);
}

// ---- JSON

void view_print(const json_t *json) {
	AUTO_FREE char *text = json_write(json);
	puts(text);
}

const json_t *view_member(const json_t *object, const char *name) {
	const json_t *member = json_object_get(object, name);
	return json_is_null(member) ? NULL : member;
}

int64_t view_int(const json_t *object, const char *name) {
	return json_integer_value(json_object_get(object, name));
}

// ---- jobs

int64_t view_run_ms(const json_t *job) {
	const json_t *took = view_member(job, "execution_ms");
	const char *began = json_text(job, "claimed_at"), *status = json_text(job, "status");
	int64_t since_ms;
	if (took) return json_integer_value(took);
	if (!status || strcmp(status, "Running") != 0 || !began || moment_read(began, &since_ms)) return -1;
	int64_t ms = loop_wall_ms() - since_ms;
	return ms < 0 ? 0 : ms;
}

char *view_outcome(const json_t *job) {
	const json_t *outcome = json_object_get(job, "outcome");
	const char *code = json_text(outcome, "code");
	if (!code) return mem_strdup("");
	if (strcmp(code, "exit") == 0) return mem_format("exit %" PRId64, view_int(outcome, "exit_code"));
	if (strcmp(code, "signal") == 0) return mem_format("signal %" PRId64, view_int(outcome, "signal"));
	return mem_strdup(code);
}

int view_exit(const json_t *job) {
	static const struct {
		const char *code;
		int exit;
	} known[] = {{"ok", 0}, {"timeout", 124}, {"memory", 137}, {"processes", 137}, {"disk", 137}, {"output", 137},
		{"cancelled", 143}};
	const json_t *outcome = json_object_get(job, "outcome");
	const char *code = cli_or_nothing(json_text(outcome, "code"));
	if (strcmp(code, "exit") == 0 && view_member(outcome, "exit_code")) return (int)(view_int(outcome, "exit_code") & 0xff);
	if (strcmp(code, "signal") == 0) return 128 + (int)(view_int(outcome, "signal") & 0x7f);
	for (size_t i = 0; i < COUNT_OF(known); i++)
		if (strcmp(known[i].code, code) == 0) return known[i].exit;
	return 125;
}

struct table *view_jobs(const json_t *jobs, int usuario) {
	const char *headings[] = {
		_("KEY"), _("STATUS"), _("OUTCOME"), _("POSTED"), _("RAN"), usuario ? _("USER") : "URL", "URL", NULL};
	if (!usuario) headings[6] = NULL;
	struct table *table = table_new(headings);
	for (size_t i = 0; i < json_array_size(jobs); i++) {
		const json_t *job = json_array_get(jobs, i);
		const char *status = json_text(job, "status"), *ref = json_text(job, "ref");
		AUTO_FREE char *outcome = view_outcome(job), *posted = view_ago(json_text(job, "posted_at"));
		int64_t ran_ms = view_run_ms(job);
		AUTO_FREE char *ran = ran_ms < 0 ? mem_strdup("-") : view_duration(ran_ms);
		table_cell(table, TERM_PLAIN, json_text(job, "key"));
		table_cell(table, term_status(status), status);
		table_cell(table, TERM_PLAIN, outcome);
		table_cell(table, TERM_PLAIN, posted);
		table_cell(table, TERM_PLAIN, ran);
		if (usuario) table_cell(table, TERM_PLAIN, json_text(job, "usuario"));
		table_format(table, TERM_PLAIN, "%s%s%s", cli_or_nothing(json_text(job, "url")), ref ? " @" : "",
			cli_or_nothing(ref));
	}
	return table;
}

// ---- waiting

static char *reason_text(const json_t *waiting, const char *reason) {
	AUTO_FREE char *until = view_moment(json_text(waiting, "until"));
	if (strcmp(reason, "delayed") == 0) return mem_format(_("not before %s, as was asked"), until);
	if (strcmp(reason, "backoff") == 0) return mem_format(_("it is tried again at %s"), until);
	if (strcmp(reason, "concurrency_key") == 0)
		return mem_format(_("%" PRId64 " of at most %" PRId64 " jobs with its key run"), view_int(waiting, "holding"),
			view_int(waiting, "limit"));
	if (strcmp(reason, "workers_starting") == 0) return mem_strdup(_("workers are being started"));
	if (strcmp(reason, "no_worker") == 0) return mem_strdup(_("no worker is up"));
	if (strcmp(reason, "user_limit") == 0)
		return mem_format(_("%" PRId64 " jobs of yours run, which is the limit"), view_int(waiting, "running"));
	if (strcmp(reason, "own_jobs") == 0) return mem_strdup(_("jobs of yours go first"));
	if (strcmp(reason, "turn") == 0) return mem_strdup(_("jobs of others go first"));
	if (strcmp(reason, "no_free_slot") == 0) return mem_strdup(_("it is the next one"));
	return mem_strdup(reason);
}

char *view_waiting(const json_t *waiting) {
	const char *reason = json_text(waiting, "reason");
	const json_t *eta = view_member(waiting, "eta_s");
	if (!reason) return mem_strdup("");
	AUTO_FREE char *why = reason_text(waiting, reason);
	AUTO_FREE char *place = view_member(waiting, "position")
					? mem_format(_("; position %" PRId64), view_int(waiting, "position"))
					: mem_strdup("");
	AUTO_FREE char *when = eta ? mem_format(_("; starts in %.0f to %.0f s"), json_number_value(json_object_get(eta, "low")),
					     json_number_value(json_object_get(eta, "high")))
				   : mem_strdup("");
	return mem_format("%s%s%s", why, place, when);
}

// ---- workers

struct table *view_workers(const json_t *workers) {
	const char *const headings[] = {
		_("WORKER"), _("HOST"), _("RUNNING"), _("ISOLATION"), _("UP"), _("SEEN"), _("STATE"), _("VERSION"), NULL};
	struct table *table = table_new(headings);
	for (size_t i = 0; i < json_array_size(workers); i++) {
		const json_t *worker = json_array_get(workers, i);
		bool draining = json_is_true(json_object_get(worker, "draining"));
		AUTO_FREE char *up = view_ago(json_text(worker, "started_at")), *seen = view_ago(json_text(worker, "seen_at"));
		table_cell(table, TERM_PLAIN, json_text(worker, "worker"));
		table_cell(table, TERM_PLAIN, json_text(worker, "host"));
		table_format(table, TERM_PLAIN, "%" PRId64 "/%" PRId64, view_int(worker, "running"), view_int(worker, "slots"));
		table_cell(table, TERM_PLAIN, json_text(worker, "isolation"));
		table_cell(table, TERM_PLAIN, up);
		table_cell(table, TERM_PLAIN, seen);
		table_cell(table, draining ? TERM_YELLOW : TERM_GREEN, draining ? _("retiring") : _("works"));
		table_cell(table, TERM_PLAIN, json_text(worker, "version"));
	}
	return table;
}
