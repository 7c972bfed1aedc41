// trabajos list: the caller's jobs, the newest first.
#include "cli/call.h"
#include "cli/cli.h"
#include "cli/view.h"
#include "cli/words.h"
#include "lib/lifecycle.h"
#include "lib/mem.h"

#include <inttypes.h>
#include <string.h>

#define PAGE "1000"

static bool all, oldest;
static const char *status, *label, *text, *since, *until, *usuario, *after;
static int64_t limit = 20;

static const struct args_option options[] = {
	CLI_TEXT("status", "STATUS", status,
		"only those: Queued, Running, Finished, Failed, Cancelled; several with commas between"),
	CLI_TEXT("label", "NAME[=VALUE]", label, "only those with the label"),
	CLI_TEXT("text", "TEXT", text, "only those with that in their URL, a label or the key, in large or small letters"),
	CLI_TEXT("since", "WHEN", since, "posted at that moment or later: 2026-11-21T12:00:00Z, or 90s, 30m, 2h, 7d ago"),
	CLI_TEXT("until", "WHEN", until, "posted before that moment"),
	CLI_TEXT("usuario", "NAME", usuario, "an administrator: that user's; *: everybody's"),
	CLI_INT("limit", limit, 1, 1000, "so many at most, by default 20"),
	CLI_TEXT("after", "KEY", after, "go on behind that job"),
	CLI_FLAG("oldest", 0, oldest, "the oldest first"),
	CLI_FLAG("all", 'a', all, "all of them, however many pages that takes"),
};

// "2h" as the moment two hours ago, anything else as it is. Owned by the caller.
static char *moment_of(const char *when) {
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
	char *end, moment[32];
	if (!when) return NULL;
	long long number = strtoll(when, &end, 10);
	for (size_t i = 0; i < COUNT_OF(units); i++) {
		if (end == when || end[0] != units[i].unit || end[1] || number < 0 || number > 1000000) continue;
		time_t at = time(NULL) - (time_t)(number * units[i].seconds);
		struct tm tm;
		if (gmtime_r(&at, &tm) && strftime(moment, sizeof moment, "%Y-%m-%dT%H:%M:%SZ", &tm)) return mem_strdup(moment);
	}
	return mem_strdup(when);
}

static char *first_path(void) {
	AUTO_FREE char *from = moment_of(since), *to = moment_of(until), *most = mem_format("%" PRId64, limit);
	char *path = mem_strdup("/api/v1/trabajos");
	call_query(&path, "limit", all ? PAGE : most);
	call_query(&path, "order", oldest ? "asc" : "desc");
	call_query(&path, "status", status);
	call_query(&path, "label", label);
	call_query(&path, "text", text);
	call_query(&path, "since", from);
	call_query(&path, "until", to);
	call_query(&path, "usuario", usuario);
	call_query(&path, "after", after);
	return path;
}

// One page is appended; *path becomes that of the next, NULL at the end.
static int page(char **path, json_t *jobs, struct error *error) {
	struct client_reply reply;
	AUTO_JSON json_t *json = NULL;
	int result = call_send(&(struct call){.path = *path}, &reply, error);
	if (result == 0) result = json_read(reply.body, reply.length, CALL_MOST, &json, error);
	free(*path);
	*path = result == 0 ? call_next(&reply) : NULL;
	if (result == 0) json_array_extend(jobs, json);
	client_reply_clear(&reply);
	return result;
}

// A page can be short, even empty, and go on nevertheless: a filter looks at a bounded number of jobs.
static int run(size_t count, const char *const *operands, struct error *error) {
	(void)count, (void)operands;
	AUTO_FREE char *path = first_path();
	AUTO_JSON json_t *jobs = json_array();
	do
		if (page(&path, jobs, error)) return -1;
	while (path && (all || json_array_size(jobs) < (size_t)limit));
	while (!all && json_array_size(jobs) > (size_t)limit) json_array_remove(jobs, json_array_size(jobs) - 1);
	if (cli.json) {
		view_print(jobs);
		return EXIT_FINE;
	}
	struct table *table = view_jobs(jobs, usuario != NULL);
	if (json_array_size(jobs)) table_print(table, stdout);
	table_free(table);
	if (!json_array_size(jobs))
		fputs(_("No jobs. trabajos add URL runs one.\n"), stderr);
	else if (path && term_is(stdout))
		fprintf(stderr, _("There are more: --limit, --all, or --after=%s.\n"),
			json_text(json_array_get(jobs, json_array_size(jobs) - 1), "key"));
	return EXIT_FINE;
}

const struct cli_verb cli_list = {
	.name = "list", .operands = "", .help = "list your jobs, the newest first", CLI_OPTIONS(options), .run = run};
