#include "tests/fuzz/plan_promises.h"

#include "lib/mem.h"
#include "tests/fuzz/fuzz.h"
#include "worker/environment.h"
#include "worker/plan_part.h"

#include <string.h>

static void lists_hold(const struct plan *plan) {
	HOLDS(plan->argv && plan->argv[0] && plan->argv[0][0]);
	for (char **env = plan->env; env && *env; env++) {
		size_t length = strcspn(*env, "=");
		HOLDS((*env)[length] == '=' && !plan_env_fault(*env, length));
	}
	for (char **glob = plan->artifacts; glob && *glob; glob++) HOLDS(!plan_glob_fault(*glob) && (*glob)[0] != '/');
}

// Between the child and the worker it is JSON.
static void survives_the_pipe(const struct plan *plan) {
	AUTO_JSON json_t *json = plan_json(plan);
	if (!json) return; // what is no UTF-8: plan_detect refuses it
	AUTO_FREE char *text = json_write(json);
	AUTO_JSON json_t *read = NULL;
	struct plan again;
	AUTO_ERROR struct error error = {0};
	HOLDS(json_read(text, strlen(text), 1 << 20, &read, NULL) == 0);
	HOLDS(plan_read(read, &again, &error) == 0);
	AUTO_JSON json_t *twice = plan_json(&again);
	HOLDS(json_equal(json, twice));
	plan_clear(&again);
}

static size_t times_set(char *const *environment, const char *assignment) {
	size_t length = strcspn(assignment, "="), times = 0;
	for (; *environment; environment++)
		times += strncmp(*environment, assignment, length) == 0 && (*environment)[length] == '=';
	return times;
}

static void sets_nothing_of_ours(const struct plan *plan) {
	char **environment = environment_new("KEY", 1, "COMMIT", plan->env, NULL);
	size_t ours = 0;
	for (char **at = environment; *at; at++) {
		HOLDS(times_set(environment, *at) == 1);
		HOLDS(strncmp(*at, "HOME=", 5) != 0 && strncmp(*at, "PATH=", 5) != 0);
		ours += strcmp(*at, "LANG=C.UTF-8") == 0 || strcmp(*at, "CI=true") == 0 ||
			strcmp(*at, "TRABAJO_KEY=KEY") == 0 || strcmp(*at, "TRABAJO_ATTEMPT=1") == 0 ||
			strcmp(*at, "TRABAJO_COMMIT=COMMIT") == 0;
	}
	HOLDS(ours == 5);
	environment_free(environment);
}

void plan_promises(const struct plan *plan) {
	HOLDS(plan->kind && plan->command && *plan->command);
	HOLDS(fuzz_is_printable(plan->command));
	HOLDS(plan->timeout_s == -1 || (plan->timeout_s >= 1 && plan->timeout_s <= PLAN_TIMEOUT_S_MAX));
	HOLDS(plan->memory_mb == -1 || (plan->memory_mb >= 1 && plan->memory_mb <= PLAN_MEMORY_MB_MAX));
	lists_hold(plan);
	sets_nothing_of_ours(plan);
	survives_the_pipe(plan);
}
