#include "worker/environment.h"

#include "lib/mem.h"

#include <string.h>

struct list {
	char **values;
	size_t count;
};

static size_t name_length(const char *assignment) {
	return strcspn(assignment, "=");
}

// Takes the assignment; one of the same name is replaced.
static void put(struct list *list, char *assignment) {
	size_t length = name_length(assignment);
	for (size_t i = 0; i < list->count; i++) {
		if (name_length(list->values[i]) != length || strncmp(list->values[i], assignment, length) != 0) continue;
		free(list->values[i]);
		list->values[i] = assignment;
		return;
	}
	list->values = mem_resize(list->values, list->count + 2, sizeof(*list->values));
	list->values[list->count++] = assignment;
	list->values[list->count] = NULL;
}

static void put_user(struct list *list, const json_t *env) {
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)env, name, value) {
		if (json_is_string(value)) put(list, mem_format("%s=%s", name, json_string_value(value)));
	}
}

char **environment_new(const char *key, int64_t attempt, const char *commit, char *const *plan_env, const json_t *spec) {
	struct list list = {0};
	for (size_t i = 0; plan_env && plan_env[i]; i++) put(&list, mem_strdup(plan_env[i]));
	put_user(&list, json_object_get(spec, "env"));
	put(&list, mem_strdup("LANG=C.UTF-8"));
	put(&list, mem_strdup("CI=true"));
	put(&list, mem_format("TRABAJO_KEY=%s", key));
	put(&list, mem_format("TRABAJO_ATTEMPT=%lld", (long long)attempt));
	put(&list, mem_format("TRABAJO_COMMIT=%s", commit));
	return list.values;
}

void environment_free(char **environment) {
	for (size_t i = 0; environment && environment[i]; i++) free(environment[i]);
	free(environment);
}
