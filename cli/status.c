// trabajos status: all about one job.
#include "cli/call.h"
#include "cli/cli.h"
#include "cli/view.h"
#include "cli/words.h"
#include "lib/lifecycle.h"
#include "lib/mem.h"

#include <inttypes.h>
#include <string.h>

static void line(struct table *table, const char *name, const char *value) {
	if (!value || !*value) return;
	table_cell(table, TERM_BOLD, name);
	table_cell(table, TERM_PLAIN, value);
}

static void say_times(struct table *table, const json_t *job) {
	AUTO_FREE char *posted = view_moment(json_text(job, "posted_at")), *begun = view_moment(json_text(job, "claimed_at"));
	AUTO_FREE char *ended = view_moment(json_text(job, "finished_at")), *waited = view_duration(view_int(job, "wait_ms"));
	line(table, _("Posted"), posted);
	line(table, _("Begun"), view_member(job, "claimed_at") ? begun : NULL);
	line(table, _("Ended"), view_member(job, "finished_at") ? ended : NULL);
	line(table, _("Waited"), view_member(job, "wait_ms") ? waited : NULL);
	int64_t ran_ms = view_run_ms(job);
	AUTO_FREE char *ran = ran_ms < 0 ? NULL : view_duration(ran_ms);
	line(table, _("Ran"), ran);
}

static void say_asked(struct table *table, const json_t *job) {
	const char *name;
	json_t *value;
	json_object_foreach(json_object_get(job, "labels"), name, value) {
		AUTO_FREE char *text = mem_format("%s=%s", name, cli_or_nothing(json_string_value(value)));
		line(table, _("Label"), text);
	}
	json_object_foreach(json_object_get(job, "env"), name, value) line(table, _("Variable"), name);
	AUTO_FREE char *priority = mem_format("%" PRId64, view_int(job, "priority"));
	line(table, _("Priority"), view_int(job, "priority") ? priority : NULL);
	line(table, _("Key of its own"), json_text(job, "concurrency_key"));
}

static void say_figures(struct table *table, const json_t *job) {
	AUTO_FREE char *memory = view_bytes(view_int(job, "peak_memory_bytes")),
		       *cpu = view_duration(view_int(job, "cpu_us") / 1000);
	line(table, _("Run as"), json_text(json_object_get(job, "plan"), "command"));
	line(table, _("Memory"), view_member(job, "peak_memory_bytes") ? memory : NULL);
	line(table, _("Processor"), view_member(job, "cpu_us") ? cpu : NULL);
	line(table, _("Isolation"), json_text(json_object_get(job, "isolation"), "level"));
	line(table, _("Result of"), json_text(job, "reused_from"));
}

static void say_attempts(const json_t *attempts) {
	const char *const headings[] = {_("ATTEMPT"), _("WORKER"), _("BEGUN"), _("OUTCOME"), _("WHY"), NULL};
	if (json_array_size(attempts) < 2) return;
	struct table *table = table_new(headings);
	for (size_t i = 0; i < json_array_size(attempts); i++) {
		const json_t *attempt = json_array_get(attempts, i);
		AUTO_FREE char *begun = view_moment(json_text(attempt, "started_at")), *outcome = view_outcome(attempt);
		table_format(table, TERM_PLAIN, "%" PRId64, view_int(attempt, "attempt"));
		table_cell(table, TERM_PLAIN, json_text(attempt, "worker"));
		table_cell(table, TERM_PLAIN, begun);
		table_cell(table, TERM_PLAIN, *outcome ? outcome : NULL);
		table_cell(table, TERM_PLAIN, json_text(json_object_get(attempt, "outcome"), "message"));
	}
	putchar('\n');
	table_print(table, stdout);
	table_free(table);
}

static void say(const json_t *job) {
	const char *const headings[] = {"", "", NULL}, *status = json_text(job, "status");
	struct table *table = table_new(headings);
	AUTO_FREE char *outcome = view_outcome(job), *waiting = view_waiting(json_object_get(job, "waiting"));
	line(table, _("Job"), json_text(job, "key"));
	table_cell(table, TERM_BOLD, _("Status"));
	table_format(table, term_status(status), "%s%s%s", cli_or_nothing(status), *outcome ? ": " : "", outcome);
	line(table, _("Why"), json_text(json_object_get(job, "outcome"), "message"));
	line(table, _("Waits"), waiting);
	line(table, _("Cancelled"),
		view_member(job, "cancel_requested_at") && !view_member(job, "finished_at") ? _("asked for; its worker ends it")
											    : NULL);
	line(table, "URL", json_text(job, "url"));
	line(table, _("Ref"), json_text(job, "ref"));
	line(table, _("Commit"), json_text(job, "commit"));
	line(table, _("User"), json_text(job, "usuario"));
	say_times(table, job);
	say_asked(table, job);
	say_figures(table, job);
	if (json_is_true(json_object_get(job, "dead")))
		line(table, _("Dead letter"), _("its attempts are used up; trabajos replay runs it again"));
	table_print(table, stdout);
	table_free(table);
	say_attempts(json_object_get(job, "attempts"));
}

static int run(size_t count, const char *const *operands, struct error *error) {
	AUTO_FREE char *key = call_key(count, operands, error);
	AUTO_JSON json_t *job = NULL;
	if (!key || call_get(&job, error, "/api/v1/trabajos/%s", key)) return -1;
	if (cli.json)
		view_print(job);
	else
		say(job);
	return EXIT_FINE;
}

const struct cli_verb cli_status = {.name = "status",
	.operands = "[KEY]",
	.offers = CLI_KEY,
	.most = 1,
	.help = "show all about a job; without KEY about your newest",
	.run = run};
