// What a job may ask for, as options: of add, and of a schedule's jobs.
#pragma once

#include "cli/cli.h"
#include "lib/json.h"

struct submission {
	const char *ref, *concurrency_key, *policy, *on_done, *on_done_secret_file;
	int64_t priority, timeout_s, retries, concurrency_limit;
	struct args_list labels, variables;
	bool reuse;
};
#define SUBMISSION_UNSET INT64_MIN
#define SUBMISSION_NONE                                                                                                        \
	{                                                                                                                      \
		.priority = SUBMISSION_UNSET, .timeout_s = SUBMISSION_UNSET, .retries = SUBMISSION_UNSET,                      \
		.concurrency_limit = SUBMISSION_UNSET                                                                          \
	}

extern const char *const submission_policies[];

#define SUBMISSION_OPTIONS(place)                                                                                              \
	CLI_TEXT("ref", "REF", (place).ref, "branch, tag or commit; by default the repository's own branch"),                  \
		{.name = "env",                                                                                                \
			.letter = 'e',                                                                                         \
			.type = ARGS_LIST,                                                                                     \
			.value = &(place).variables,                                                                           \
			.form = "NAME[=VALUE]",                                                                                \
			.help = "a variable of the job's; without a value, as it is here; it is never shown again"},           \
		{.name = "label",                                                                                              \
			.letter = 'l',                                                                                         \
			.type = ARGS_LIST,                                                                                     \
			.value = &(place).labels,                                                                              \
			.form = "NAME=VALUE",                                                                                  \
			.help = "to find it by"},                                                                              \
		CLI_INT("timeout", (place).timeout_s, 1, INT32_MAX, "seconds that it may take"),                               \
		CLI_INT("retries", (place).retries, 0, 100, "how often it is tried again when it fails by itself"),            \
		CLI_INT("priority", (place).priority, -100, 100, "it goes before others of yours with a lower one"),           \
		CLI_TEXT("concurrency-key", "KEY", (place).concurrency_key,                                                    \
			"of your jobs with that key only some run at a time"),                                                 \
		CLI_INT("concurrency-limit", (place).concurrency_limit, 1, 1000, "how many, by default 1"),                    \
		{.name = "concurrency-policy",                                                                                 \
			.type = ARGS_CHOICE,                                                                                   \
			.value = &(place).policy,                                                                              \
			.form = "POLICY",                                                                                      \
			.choices = submission_policies,                                                                        \
			.help = "it waits for older ones, or has them cancelled"},                                             \
		CLI_FLAG("reuse", 0, (place).reuse, "an earlier result of the same commit will do"),                           \
		CLI_TEXT("on-done", "URL", (place).on_done, "it is called when the job has ended"), {                          \
		.name = "on-done-secret-file", .type = ARGS_FILE, .value = &(place).on_done_secret_file, .form = "FILE",       \
		.help = "holds the secret (whsec_…) by which these calls are signed"                                         \
	}

// The body of POST /api/v1/trabajos.
int submission_body(const char *url, const struct submission *submission, json_t **body, struct error *error) MUST_USE;
