// What people read, in their language.
#include "frontend/say.h"
#include "lib/json.h"
#include "lib/mem.h"

#include <string.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

static void assert_spanish(const char *english, const char *spanish) {
	AUTO_FREE char *said = text_translate(TEXT_ES, english);
	assert_string_equal(said, spanish);
}

static void what_the_table_has_is_said_with_its_gaps_filled(void **state) {
	(void)state;
	assert_spanish("Not Found", "No encontrado");
	assert_spanish("npm run main exited with 3", "npm run main terminó con 3");
	assert_spanish("The parameter limit must be a whole number from 1 to 1000.",
		"El parámetro limit debe ser un número entero de 1 a 1000.");
	assert_spanish("1 of 2 jobs with its concurrency key run; it is number 7 of those that wait for it.",
		"Se ejecutan 1 de 2 trabajos con su clave de concurrencia; es el número 7 de los que la esperan.");
}

static void a_sentence_in_a_sentence_is_said_too(void **state) {
	(void)state;
	assert_spanish("The parameter url was not accepted: the URL is empty.",
		"No se ha aceptado el parámetro url: la URL está vacía.");
	assert_spanish("The body was not accepted: timeout_s must be a whole number from 1 to 86400.",
		"No se ha aceptado el cuerpo: timeout_s debe ser un número entero de 1 a 86400.");
}

static void what_the_table_has_not_stays_english(void **state) {
	(void)state;
	assert_spanish("", "");
	assert_spanish("Nobody has ever said this", "Nobody has ever said this");
	assert_spanish("Not Found!", "Not Found!");
	AUTO_FREE char *same = text_translate(TEXT_EN, "Not Found");
	assert_string_equal(same, "Not Found");
	AUTO_FREE char *unknown = text_translate(TEXT_LANGUAGES, "Not Found");
	assert_string_equal(unknown, "Not Found");
}

// Somebody's command may be any text, also one that looks like ours.
static void hostile_text_ends(void **state) {
	(void)state;
	char *text = mem_strdup("x");
	for (int i = 0; i < 12; i++) {
		char *longer = mem_format("The body was not accepted: %s exited with {1}.", text);
		free(text);
		text = longer;
	}
	AUTO_FREE char *said = text_translate(TEXT_ES, text);
	assert_non_null(strstr(said, "No se ha aceptado el cuerpo: "));
	free(text);
}

static void every_gap_of_the_other_language_is_there(void **state) {
	(void)state;
	for (size_t i = 0; i < text_es_count; i++) {
		const struct text_pair *pair = &text_es[i];
		size_t gaps = 0;
		for (const char *at = pair->english; (at = strstr(at, "{}")); at += 2) gaps++;
		assert_true(gaps <= TEXT_PARTS);
		for (size_t gap = 1; gap <= TEXT_PARTS; gap++) {
			AUTO_FREE char *mark = mem_format("{%zu}", gap);
			if ((strstr(pair->other, mark) != NULL) != (gap <= gaps)) fail_msg("%s: %s", pair->english, mark);
		}
	}
}

static void no_sentence_hides_another(void **state) {
	(void)state;
	for (size_t i = 0; i < text_es_count; i++) {
		if (strchr(text_es[i].english, '{')) continue;
		AUTO_FREE char *said = text_translate(TEXT_ES, text_es[i].english);
		assert_string_equal(said, text_es[i].other);
	}
}

static json_t *parsed(const char *text) {
	json_t *json = NULL;
	if (json_read(text, strlen(text), strlen(text), &json, NULL)) fail_msg("no JSON: %s", text);
	return json;
}

static const char *const reasons[] = {"delayed", "backoff", "concurrency_key", "workers_starting", "no_worker", "user_limit",
	"own_jobs", "turn", "no_free_slot"};

static void every_reason_of_waiting_is_a_sentence_in_both_languages(void **state) {
	(void)state;
	for (size_t i = 0; i < COUNT_OF(reasons); i++) {
		AUTO_FREE char *job =
			mem_format("{\"waiting\": {\"reason\": \"%s\", \"until\": \"2026-11-21T18:21:14.007Z\", "
				   "\"position\": 3, \"holding\": 1, \"limit\": 2, \"running\": 4, \"workers_starting\": 5}}",
				reasons[i]);
		AUTO_FREE char *in_english = say_jobs(TEXT_EN, job), *in_spanish = say_jobs(TEXT_ES, job);
		AUTO_JSON json_t *english = parsed(in_english), *spanish = parsed(in_spanish);
		const char *here = json_text(json_object_get(english, "waiting"), "message");
		const char *there = json_text(json_object_get(spanish, "waiting"), "message");
		assert_non_null(here);
		assert_non_null(there);
		assert_string_not_equal(here, there);
	}
	AUTO_FREE char *unknown = say_jobs(TEXT_ES, "{\"waiting\": {\"reason\": \"new\"}}");
	assert_null(strstr(unknown, "message"));
}

static void outcomes_are_said_wherever_they_stand(void **state) {
	(void)state;
	static const char list[] =
		"[{\"outcome\": {\"message\": \"x exited with 0\"}, \"attempts\": [{\"outcome\": {\"message\": "
		"\"given up by its worker\"}}, {\"outcome\": null}]}, {\"outcome\": null}]";
	AUTO_FREE char *said = say_jobs(TEXT_ES, list), *same = say_jobs(TEXT_EN, list);
	assert_string_equal(same, list);
	assert_non_null(strstr(said, "\"x terminó con 0\""));
	assert_non_null(strstr(said, "\"su worker lo abandonó\""));
}

static void assert_reason(const char *english, const char *spanish) {
	AUTO_FREE char *answer = mem_format("{\"decisions\": [{\"reason\": \"%s\"}]}", english),
		       *said = say_scale(TEXT_ES, answer), *same = say_scale(TEXT_EN, answer);
	AUTO_JSON json_t *json = NULL;
	assert_int_equal(json_read(said, strlen(said), strlen(said), &json, NULL), 0);
	assert_string_equal(json_text(json_array_get(json_object_get(json, "decisions"), 0), "reason"), spanish);
	assert_string_equal(same, answer);
}

// As observer/rule_say.c makes them.
static void reasons_of_the_observer_are_said_phrase_by_phrase(void **state) {
	(void)state;
	assert_reason(
		"7 workers: 41 jobs wait, the oldest 38 s, median run 12 s; 5 would break the 60 s deadline for 9 of them",
		"7 workers: 41 trabajos esperan, el más antiguo 38 s, duración mediana 12 s; con 5 pasarían del plazo de 60 s 9 de ellos");
	assert_reason("1 worker: nothing waits, median run 0.05 s; 0 would do, an idle one is kept for 10 s",
		"1 worker: nada espera, duración mediana 0.05 s; bastaría con 0, uno ocioso se conserva 10 s");
	assert_reason(
		"3 workers: about 1000 jobs wait, the oldest 70 s and past the deadline of 60 s, 12 of them for a limit of their "
		"user, runs taken as 2.5 s; 2 of them start; 1 would do",
		"3 workers: unos 1000 trabajos esperan, el más antiguo 70 s y fuera del plazo de 60 s, 12 de ellos por un límite de su "
		"usuario, duración supuesta 2.5 s; 2 de ellos están arrancando; bastaría con 1");
	assert_reason("2 workers: 1 job waits, the oldest 0.1 s; 4.5 jobs/s of 0.3 s on average keep 2 workers",
		"2 workers: 1 trabajo espera, el más antiguo 0.1 s; 4.5 trabajos/s de 0.3 s de media ocupan 2 workers");
	assert_reason(
		"0 workers: nothing waits; a record waits in Kafka", "0 workers: nada espera; un registro espera en Kafka");
	assert_reason("9 workers: 5 jobs wait, the oldest 1.0 s; SCALE_MAX, 12 would be needed",
		"9 workers: 5 trabajos esperan, el más antiguo 1.0 s; SCALE_MAX, harían falta 12");
	assert_reason("", "");
	assert_reason("; :, x:", "; :, x:");
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_table_has_is_said_with_its_gaps_filled),
		cmocka_unit_test(a_sentence_in_a_sentence_is_said_too),
		cmocka_unit_test(what_the_table_has_not_stays_english),
		cmocka_unit_test(hostile_text_ends),
		cmocka_unit_test(every_gap_of_the_other_language_is_there),
		cmocka_unit_test(no_sentence_hides_another),
		cmocka_unit_test(every_reason_of_waiting_is_a_sentence_in_both_languages),
		cmocka_unit_test(outcomes_are_said_wherever_they_stand),
		cmocka_unit_test(reasons_of_the_observer_are_said_phrase_by_phrase),
	};
	return cmocka_run_group_tests_name("say", tests, NULL, NULL);
}
