// trabajos dead, dead replay: jobs that failed although they had more than one attempt.
#include "cli/call.h"
#include "cli/cli.h"
#include "cli/view.h"
#include "cli/words.h"
#include "lib/lifecycle.h"
#include "lib/mem.h"

#include <inttypes.h>

static const char *usuario, *after, *before, *code, *blame;
static int64_t limit = 100;
static bool everything;
static const char *const blames[] = {"user", "limit", "platform", NULL};

#define USUARIO CLI_TEXT("usuario", "NAME", usuario, "an administrator: that user's; *: everybody's")

static const struct args_option options[] = {
	CLI_INT("limit", limit, 1, 1000, "so many at most, by default 100"),
	CLI_TEXT("after", "KEY", after, "go on behind that job"),
	USUARIO,
};

static const struct args_option replay_options[] = {
	CLI_FLAG("all", 'a', everything, "all that the other options leave"),
	CLI_TEXT("code", "CODE", code, "whose outcome is that, such as exit, timeout or lost"),
	{.name = "blame",
		.type = ARGS_CHOICE,
		.value = &blame,
		.form = "WHOSE",
		.choices = blames,
		.help = "whose fault it was"},
	CLI_TEXT("after", "MOMENT", after, "that died at that moment or later (RFC 3339)"),
	CLI_TEXT("before", "MOMENT", before, "that died before that moment"),
	USUARIO,
};

static void print(const json_t *letters) {
	const char *const headings[] = {_("KEY"), _("DIED"), _("OUTCOME"), _("ATTEMPTS"), "URL", _("WHY"), NULL};
	struct table *table = table_new(headings);
	for (size_t i = 0; i < json_array_size(letters); i++) {
		const json_t *letter = json_array_get(letters, i);
		AUTO_FREE char *died = view_ago(json_text(letter, "died_at")), *outcome = view_outcome(letter);
		table_cell(table, TERM_PLAIN, json_text(letter, "key"));
		table_cell(table, TERM_PLAIN, died);
		table_cell(table, TERM_RED, outcome);
		table_format(table, TERM_PLAIN, "%" PRId64, view_int(letter, "attempt"));
		table_cell(table, TERM_PLAIN, json_text(letter, "url"));
		table_cell(table, TERM_PLAIN, json_text(json_object_get(letter, "outcome"), "message"));
	}
	if (table_rows(table))
		table_print(table, stdout);
	else
		fputs(_("No dead letters.\n"), stderr);
	table_free(table);
}

static int list(size_t count, const char *const *operands, struct error *error) {
	(void)count, (void)operands;
	AUTO_FREE char *path = mem_format("/api/v1/dead?limit=%" PRId64, limit);
	AUTO_JSON json_t *letters = NULL;
	call_query(&path, "after", after);
	call_query(&path, "usuario", usuario);
	if (call_get(&letters, error, "%s", path)) return -1;
	if (cli.json)
		view_print(letters);
	else
		print(letters);
	return EXIT_FINE;
}

static int body_of(size_t count, const char *const *operands, json_t **body, struct error *error) {
	bool filtered = everything || code || blame || after || before || usuario;
	*body = NULL;
	if ((count > 0) == filtered)
		return error_set(error, ERROR_USAGE,
			_("either keys, or which of them: --all, --code, --blame, --after, --before, --usuario"));
	if (filtered) {
		// those that die again meanwhile are not played for ever
		static char soon[32];
		time_t at = time(NULL) + 1;
		struct tm tm;
		if (!before && gmtime_r(&at, &tm) && strftime(soon, sizeof soon, "%Y-%m-%dT%H:%M:%SZ", &tm)) before = soon;
		*body = json_pack("{s:{s:s*, s:s*, s:s*, s:s*, s:s*}}", "filter", "code", code, "blame", blame, "after", after,
			"before", before, "usuario", usuario);
	} else {
		json_t *keys = json_array();
		for (size_t i = 0; i < count; i++) json_array_append_new(keys, json_string(operands[i]));
		*body = json_pack("{s:o}", "keys", keys);
	}
	return *body ? 0 : error_set(error, ERROR_USAGE, _("what was given is no UTF-8"));
}

static int replay(size_t count, const char *const *operands, struct error *error) {
	AUTO_JSON json_t *body = NULL;
	int64_t replayed = 0;
	bool more = true;
	const char *next;
	if (body_of(count, operands, &body, error)) return -1;
	while (more) {
		AUTO_JSON json_t *answer = NULL;
		if (call_json(&(struct call){.path = "/api/v1/dead/replay", .body = body}, &answer, error)) return -1;
		replayed += view_int(answer, "replayed");
		next = json_text(answer, "next");
		more = json_is_true(json_object_get(answer, "more")) && (next || view_int(answer, "replayed") > 0);
		if (next) json_object_set_new(body, "after", json_string(next));
	}
	printf(cli.json ? "{\"replayed\":%" PRId64 "}\n" : _("%" PRId64 " queued again\n"), replayed);
	return count && (size_t)replayed < count ? EXIT_FAILED : EXIT_FINE;
}

const struct cli_verb cli_dead = {.name = "dead",
	.operands = "",
	.help = "list dead letters: jobs whose attempts are used up",
	CLI_OPTIONS(options),
	.run = list};

const struct cli_verb cli_dead_replay = {.name = "dead replay",
	.operands = "[KEY]…",
	.most = SIZE_MAX,
	.help = "run dead letters again",
	CLI_OPTIONS(replay_options),
	.run = replay};
