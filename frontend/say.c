#include "frontend/say.h"

#include "lib/json.h"
#include "lib/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int64_t number(const json_t *waiting, const char *name) {
	return json_integer_value(json_object_get(waiting, name));
}

// In English; to be freed. NULL: a reason that has no sentence.
static char *waiting_text(const json_t *waiting) {
	const char *reason = json_text(waiting, "reason"), *until = json_text(waiting, "until");
	int64_t position = number(waiting, "position");
	if (!reason) return NULL;
	if (strcmp(reason, "delayed") == 0) return mem_format("It was asked not to run before %s.", until ? until : "");
	if (strcmp(reason, "backoff") == 0)
		return mem_format("An attempt failed; it is tried again after %s.", until ? until : "");
	if (strcmp(reason, "concurrency_key") == 0)
		return mem_format("%" PRId64 " of %" PRId64 " jobs with its concurrency key run; it is number %" PRId64
				  " of those that wait for it.",
			number(waiting, "holding"), number(waiting, "limit"), position);
	if (strcmp(reason, "workers_starting") == 0)
		return mem_format("No worker is there yet; %" PRId64 " start.", number(waiting, "workers_starting"));
	if (strcmp(reason, "no_worker") == 0) return mem_strdup("No worker is there.");
	if (strcmp(reason, "user_limit") == 0)
		return mem_format("%" PRId64 " jobs of the user run, as many as may at once.", number(waiting, "running"));
	if (strcmp(reason, "own_jobs") == 0)
		return mem_format("Jobs of the same user go first; it is number %" PRId64 " in line.", position);
	if (strcmp(reason, "turn") == 0)
		return mem_format("Other users' jobs go first, by fair share; it is number %" PRId64 " in line.", position);
	if (strcmp(reason, "no_free_slot") == 0) return mem_strdup("It is next, as soon as a slot is free.");
	return NULL;
}

static void say(size_t language, json_t *object, const char *english) {
	AUTO_FREE char *text = english ? text_translate(language, english) : NULL;
	if (text) json_object_set_new(object, "message", json_string(text));
}

static void say_outcome(size_t language, json_t *holder) {
	json_t *outcome = json_object_get(holder, "outcome");
	if (language != TEXT_EN && json_is_object(outcome)) say(language, outcome, json_text(outcome, "message"));
}

static void say_job(size_t language, json_t *job) {
	json_t *waiting = json_object_get(job, "waiting"), *attempt;
	say_outcome(language, job);
	size_t i;
	json_array_foreach(json_object_get(job, "attempts"), i, attempt) say_outcome(language, attempt);
	if (!json_is_object(waiting)) return;
	AUTO_FREE char *text = waiting_text(waiting);
	say(language, waiting, text);
}

// The observer's reasons are a row of phrases, each of which may stand or not.
static char *say_phrases(size_t language, const char *reason) {
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	if (!out) mem_die("open_memstream");
	while (*reason) {
		size_t length = 0;
		while (reason[length] && !(strchr(":;,", reason[length]) && reason[length + 1] == ' ')) length++;
		AUTO_FREE char *phrase = mem_strndup(reason, length), *said = text_translate(language, phrase);
		fputs(said, out);
		reason += length;
		for (; *reason && strchr(":;, ", *reason); reason++) putc(*reason, out);
	}
	if (fclose(out)) mem_die("open_memstream");
	return text;
}

char *say_scale(size_t language, const char *text) {
	AUTO_JSON json_t *scale = NULL;
	size_t length = strlen(text), i;
	if (language == TEXT_EN || json_read(text, length, length, &scale, NULL)) return mem_strdup(text);
	json_t *decision;
	json_array_foreach(json_object_get(scale, "decisions"), i, decision) {
		const char *reason = json_text(decision, "reason");
		AUTO_FREE char *said = say_phrases(language, reason ? reason : "");
		json_object_set_new(decision, "reason", json_string(said));
	}
	return json_write(scale);
}

// A list is in English already.
char *say_jobs(size_t language, const char *text) {
	AUTO_JSON json_t *json = NULL;
	size_t length = strlen(text), i;
	if (language == TEXT_EN && !strstr(text, "\"waiting\": {")) return mem_strdup(text);
	if (json_read(text, length, length, &json, NULL)) return mem_strdup(text);
	json_t *job;
	json_array_foreach(json, i, job) say_job(language, job);
	if (json_is_object(json)) say_job(language, json);
	return json_write(json);
}
