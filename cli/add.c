// trabajos add: a job. It carries an Idempotency-Key in any case, so that asking again after a lost answer makes no second job.
#include "cli/call.h"
#include "cli/follow.h"
#include "cli/submission.h"
#include "cli/text.h"
#include "cli/view.h"
#include "cli/words.h"
#include "lib/lifecycle.h"
#include "lib/mem.h"
#include "lib/uuid.h"

#include <string.h>

static struct submission submission = SUBMISSION_NONE;
static const char *run_after, *idempotency_key;
static bool follow, wait;

static const struct args_option options[] = {
	CLI_FLAG("follow", 'f', follow, "wait for its end, show what it prints, and exit as it does"),
	CLI_FLAG("wait", 'w', wait, "wait for its end, and exit as it does"),
	SUBMISSION_OPTIONS(submission),
	CLI_TEXT("run-after", "WHEN", run_after, "not before that moment (RFC 3339), or so many seconds from now"),
	CLI_TEXT("idempotency-key", "KEY", idempotency_key, "the same key gives the same job, once"),
};

static void put_run_after(json_t *body) {
	if (!run_after) return;
	bool delay = *run_after && strspn(run_after, "0123456789") == strlen(run_after) && strlen(run_after) < 18;
	json_object_set_new(body, "run_after", delay ? json_integer(strtoll(run_after, NULL, 10)) : json_string(run_after));
}

static int check_idempotency_key(struct error *error) {
	for (const char *at = cli_or_nothing(idempotency_key); *at; at++)
		if (*at < ' ' || *at > '~') return error_set(error, ERROR_USAGE, _("--idempotency-key: printable ASCII only"));
	return 0;
}

static int submit(const json_t *body, json_t **job, struct error *error) {
	char random[UUID_TEXT];
	uuid_v7(random);
	AUTO_FREE char *header = mem_format("Idempotency-Key: %s", idempotency_key ? idempotency_key : random);
	struct client_reply reply;
	int result = call_send(
		&(struct call){.path = "/api/v1/trabajos", .body = body, .headers = {header}, .patient = true}, &reply, error);
	if (result == 0) result = json_read(reply.body, reply.length, CALL_MOST, job, error);
	AUTO_FREE char *ledger = result == 0 ? client_reply_header(&reply, "Trabajos-Ledger") : NULL;
	if (ledger) cli_warn(_("the job is safe, but the ledger is away: it will be seen a little later"));
	client_reply_clear(&reply);
	return result;
}

static int run(size_t count, const char *const *operands, struct error *error) {
	(void)count;
	AUTO_JSON json_t *body = NULL, *job = NULL;
	if (check_idempotency_key(error) || submission_body(operands[0], &submission, &body, error)) return -1;
	put_run_after(body);
	if (submit(body, &job, error)) return -1;
	const char *key = json_text(job, "key");
	char normal[UUID_TEXT];
	if (!key || uuid_parse_text(key, normal)) return error_set(error, ERROR_INTERNAL, _("the server's answer has no key"));
	if (!follow && !wait) {
		if (cli.json)
			view_print(job);
		else
			puts(normal);
		return EXIT_FINE;
	}
	if (!cli.json) fprintf(stderr, _("Job %s\n"), normal);
	return follow_job(&(struct follow){.key = normal, .prints = follow, .goes_on = true}, error);
}

static int failure(int code) {
	return follow || wait ? FOLLOW_FAILED : code;
}

const struct cli_verb cli_add = {.name = "add",
	.operands = "URL",
	.least = 1,
	.most = 1,
	.help = "run a repository as a job",
	.more = "Prints the job's key. With --follow or --wait the exit status is the job's own, or 125 if this program failed; Ctrl-C leaves\n"
		"the job running.",
	CLI_OPTIONS(options),
	.run = run,
	.failure = failure};
