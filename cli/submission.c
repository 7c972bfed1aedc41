#include "cli/submission.h"

#include "cli/words.h"
#include "lib/mem.h"

#include <errno.h>
#include <string.h>

#define SECRET_MOST 1024

const char *const submission_policies[] = {"queue", "replace", NULL};

static int put(json_t *object, const char *name, const char *text, struct error *error) {
	if (!text || json_object_set_new(object, name, json_string(text)) == 0) return 0;
	return error_set(error, ERROR_USAGE, _("%s: it is no UTF-8"), name);
}

static void put_number(json_t *object, const char *name, int64_t number) {
	if (number != SUBMISSION_UNSET) json_object_set_new(object, name, json_integer(number));
}

static int put_pair(json_t *object, const char *pair, const char *option, bool inherits, struct error *error) {
	const char *equals = strchr(pair, '=');
	AUTO_FREE char *name = mem_strndup(pair, equals ? (size_t)(equals - pair) : strlen(pair));
	const char *value = equals ? equals + 1 : inherits ? getenv(name) : NULL;
	if (!value && inherits)
		return error_set(error, ERROR_USAGE, _("--%s=%s: there is no such variable here"), option, name);
	if (!value || !*name) return error_set(error, ERROR_USAGE, _("--%s: \"%s\" is not NAME=VALUE"), option, pair);
	return put(object, name, value, error);
}

static int put_pairs(json_t *body, const char *member, const struct args_list *pairs, const char *option, bool inherits,
	struct error *error) {
	if (!pairs->count) return 0;
	json_t *object = json_object();
	json_object_set_new(body, member, object);
	for (size_t i = 0; i < pairs->count; i++)
		if (put_pair(object, pairs->items[i], option, inherits, error)) return -1;
	return 0;
}

static int put_on_done(json_t *body, const struct submission *submission, struct error *error) {
	if (!submission->on_done_secret_file) return put(body, "on_done", submission->on_done, error);
	if (!submission->on_done) return error_set(error, ERROR_USAGE, _("--on-done-secret-file goes with --on-done"));
	AUTO_FCLOSE FILE *file = fopen(submission->on_done_secret_file, "re");
	char secret[SECRET_MOST];
	if (!file || !fgets(secret, sizeof secret, file))
		return error_set_errno(error, ERROR_USAGE, errno, "--on-done-secret-file");
	secret[strcspn(secret, "\r\n")] = '\0';
	json_t *on_done = json_object();
	json_object_set_new(body, "on_done", on_done);
	int result = put(on_done, "url", submission->on_done, error) || put(on_done, "secret", secret, error) ? -1 : 0;
	explicit_bzero(secret, sizeof secret);
	return result;
}

int submission_body(const char *url, const struct submission *submission, json_t **body, struct error *error) {
	*body = json_object();
	put_number(*body, "priority", submission->priority);
	put_number(*body, "timeout_s", submission->timeout_s);
	put_number(*body, "retries", submission->retries);
	put_number(*body, "concurrency_limit", submission->concurrency_limit);
	if (submission->reuse) json_object_set_new(*body, "reuse", json_true());
	bool fine = put(*body, "url", url, error) == 0 && put(*body, "ref", submission->ref, error) == 0 &&
		    put(*body, "concurrency_key", submission->concurrency_key, error) == 0 &&
		    put(*body, "concurrency_policy", submission->policy, error) == 0 &&
		    put_pairs(*body, "labels", &submission->labels, "label", false, error) == 0 &&
		    put_pairs(*body, "env", &submission->variables, "env", true, error) == 0 &&
		    put_on_done(*body, submission, error) == 0;
	return fine ? 0 : -1;
}
