#include "observer/actuator.h"

#include "lib/mem.h"

#include <string.h>

struct actuator {
	const struct actuator_kind *kind;
	void *self;
};

static const struct actuator_kind *const kinds[] = {&actuator_advise};

static char *known_names(void) {
	char *names = mem_strdup("");
	for (size_t i = 0; i < COUNT_OF(kinds); i++) {
		char *longer = mem_format("%s%s%s", names, i ? ", " : "", kinds[i]->name);
		free(names);
		names = longer;
	}
	return names;
}

int actuator_open(const char *name, struct actuator **actuator, struct error *error) {
	for (size_t i = 0; i < COUNT_OF(kinds); i++) {
		if (strcmp(kinds[i]->name, name) != 0) continue;
		*actuator = mem_zalloc(sizeof **actuator);
		**actuator = (struct actuator){.kind = kinds[i], .self = kinds[i]->open()};
		return 0;
	}
	AUTO_FREE char *names = known_names();
	return error_set(error, ERROR_INPUT, "SCALE_ACTUATOR: this version has no actuator \"%s\", only: %s", name, names);
}

const char *actuator_name(const struct actuator *actuator) {
	return actuator->kind->name;
}

void actuator_ask(struct actuator *actuator, const struct rule_decision *decision) {
	actuator->kind->ask(actuator->self, decision);
}

void actuator_close(struct actuator *actuator) {
	if (!actuator) return;
	actuator->kind->close(actuator->self);
	free(actuator);
}
