// trabajos schedules: cron entries that put jobs into the queue. A schedule is named by its id or by its name.
#include "cli/call.h"
#include "cli/submission.h"
#include "cli/view.h"
#include "cli/words.h"
#include "lib/lifecycle.h"
#include "lib/mem.h"
#include "lib/uuid.h"

#include <inttypes.h>
#include <string.h>

#define PATH "/api/v1/schedules"

static struct submission submission = SUBMISSION_NONE;
static const char *zone, *missed, *usuario;
static const char *const misses[] = {"skip", "once", NULL};

static const struct args_option list_options[] = {
	CLI_TEXT("usuario", "NAME", usuario, "an administrator: that user's; *: everybody's"),
};

static const struct args_option add_options[] = {
	CLI_TEXT("zone", "ZONE", zone, "time zone such as Europe/Madrid, by default UTC"),
	{.name = "missed",
		.type = ARGS_CHOICE,
		.value = &missed,
		.form = "WHAT",
		.choices = misses,
		.help = "what becomes of moments at which nothing was up: skipped (the default), or one job for all"},
	SUBMISSION_OPTIONS(submission),
};

static const char *state_of(const json_t *schedule, enum term_colour *colour) {
	const char *problem = json_text(schedule, "problem");
	bool paused = json_is_true(json_object_get(schedule, "paused"));
	*colour = problem ? TERM_RED : paused ? TERM_YELLOW : TERM_GREEN;
	return problem ? problem : paused ? _("paused") : _("goes on");
}

static void print(const json_t *schedules) {
	const char *const headings[] = {_("NAME"), _("CRON"), _("ZONE"), _("NEXT"), _("LAST"), _("STATE"), "URL", NULL};
	struct table *table = table_new(headings);
	for (size_t i = 0; i < json_array_size(schedules); i++) {
		const json_t *schedule = json_array_get(schedules, i);
		enum term_colour colour;
		const char *state = state_of(schedule, &colour);
		AUTO_FREE char *next = view_moment(json_text(schedule, "next_at"));
		AUTO_FREE char *last = view_moment(json_text(schedule, "last_at"));
		table_cell(table, TERM_PLAIN, json_text(schedule, "name"));
		table_cell(table, TERM_PLAIN, json_text(schedule, "cron"));
		table_cell(table, TERM_PLAIN, json_text(schedule, "zone"));
		table_cell(table, TERM_PLAIN, next);
		table_cell(table, TERM_PLAIN, last);
		table_cell(table, colour, state);
		table_cell(table, TERM_PLAIN, json_text(schedule, "url"));
	}
	table_print(table, stdout);
	table_free(table);
}

// All of them: nobody has more than a hundred, an administrator sees several users' by pages.
static int fetch(const char *whose, json_t *schedules, struct error *error) {
	AUTO_FREE char *path = mem_strdup(PATH "?limit=1000");
	call_query(&path, "usuario", whose);
	while (path) {
		struct client_reply reply;
		AUTO_JSON json_t *page = NULL;
		int result = call_send(&(struct call){.path = path}, &reply, error);
		if (result == 0) result = json_read(reply.body, reply.length, CALL_MOST, &page, error);
		free(STEAL(path));
		if (result == 0) {
			json_array_extend(schedules, page);
			path = call_next(&reply);
		}
		client_reply_clear(&reply);
		if (result) return -1;
	}
	return 0;
}

// NULL: error. Owned by the caller.
static char *id_of(const char *operand, struct error *error) {
	char id[UUID_TEXT];
	if (uuid_parse_text(operand, id) == 0) return mem_strdup(id);
	AUTO_JSON json_t *schedules = json_array();
	if (fetch(NULL, schedules, error)) return NULL;
	for (size_t i = 0; i < json_array_size(schedules); i++) {
		const json_t *schedule = json_array_get(schedules, i);
		const char *name = json_text(schedule, "name"), *found = json_text(schedule, "id");
		if (name && found && strcmp(name, operand) == 0 && uuid_parse_text(found, id) == 0) return mem_strdup(id);
	}
	error_set(error, ERROR_INPUT, _("you have no schedule \"%s\"; trabajos schedules lists them"), operand);
	return NULL;
}

static int list(size_t count, const char *const *operands, struct error *error) {
	(void)count, (void)operands;
	AUTO_JSON json_t *schedules = json_array();
	if (fetch(usuario, schedules, error)) return -1;
	if (cli.json)
		view_print(schedules);
	else if (json_array_size(schedules))
		print(schedules);
	else
		fputs(_("No schedules. trabajos schedules add makes one.\n"), stderr);
	return EXIT_FINE;
}

static int add(size_t count, const char *const *operands, struct error *error) {
	(void)count;
	AUTO_JSON json_t *body = NULL, *made = NULL;
	if (submission_body(operands[2], &submission, &body, error)) return -1;
	if (json_object_set_new(body, "name", json_string(operands[0])) ||
		json_object_set_new(body, "cron", json_string(operands[1])))
		return error_set(error, ERROR_USAGE, _("what was given is no UTF-8"));
	if (zone) json_object_set_new(body, "zone", json_string(zone));
	if (missed) json_object_set_new(body, "missed", json_string(missed));
	if (call_json(&(struct call){.path = PATH, .body = body}, &made, error)) return -1;
	AUTO_FREE char *next = view_moment(json_text(made, "next_at"));
	if (cli.json)
		view_print(made);
	else
		printf(_("%s: next at %s\n"), json_text(made, "id"), next);
	return EXIT_FINE;
}

static int change(const char *operand, const char *method, const char *what, const char *said, struct error *error) {
	AUTO_FREE char *id = id_of(operand, error);
	if (!id) return -1;
	AUTO_FREE char *path = mem_format(PATH "/%s%s", id, what);
	struct client_reply reply;
	int result = call_send(&(struct call){.method = method, .path = path, .patient = true}, &reply, error);
	if (result == 0 && cli.json && reply.length)
		puts(reply.body);
	else if (result == 0)
		printf("%s: %s\n", id, said);
	client_reply_clear(&reply);
	return result ? -1 : EXIT_FINE;
}

static int stop(size_t count, const char *const *operands, struct error *error) {
	(void)count;
	return change(operands[0], "POST", "/pause", _("paused"), error);
}

static int go_on(size_t count, const char *const *operands, struct error *error) {
	(void)count;
	return change(operands[0], "POST", "/resume", _("goes on"), error);
}

static int drop(size_t count, const char *const *operands, struct error *error) {
	(void)count;
	return change(operands[0], "DELETE", "", _("removed; its jobs stay"), error);
}

const struct cli_verb cli_schedules = {
	.name = "schedules", .operands = "", .help = "list your schedules", CLI_OPTIONS(list_options), .run = list};

const struct cli_verb cli_schedules_add = {.name = "schedules add",
	.operands = "NAME CRON URL",
	.least = 3,
	.most = 3,
	.help = "run a repository whenever a cron entry's moment comes",
	.more = "trabajos schedules add nightly '30 2 * * *' https://example.org/x.git --zone=Europe/Madrid",
	CLI_OPTIONS(add_options),
	.run = add};

#define ONE(word, text, function)                                                                                              \
	{                                                                                                                      \
		.name = "schedules " word, .operands = "NAME", .offers = CLI_SCHEDULE, .least = 1, .most = 1, .help = (text),  \
		.run = (function)                                                                                              \
	}
const struct cli_verb cli_schedules_pause = ONE("pause", "let no moment of a schedule count until it is resumed", stop);
const struct cli_verb cli_schedules_resume = ONE("resume", "let a paused schedule go on", go_on);
const struct cli_verb cli_schedules_remove = ONE("remove", "delete a schedule; its jobs stay", drop);
