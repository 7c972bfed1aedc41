#include "lib/check.h"

#include "lib/lifecycle.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define TIMEOUT_MS 5000

int check_report(const char *name, int reached, const struct error *error, int code) {
	size_t length = strlen(name);
	bool named = !reached && strncmp(error_text(error), name, length) == 0; // the message names the service by itself
	printf("%s%s%s\n", named ? "" : name, named ? "" : ": ", reached ? "fine" : error_text(error));
	if (reached || code != EXIT_FINE) return code;
	return error->kind == ERROR_INPUT ? EXIT_BAD_CONFIG : EXIT_NO_SERVICE;
}

int check_kafka(const struct kafka_config *config, int code) {
	AUTO_ERROR struct error error = {0};
	return check_report("Kafka", kafka_reach(config, TIMEOUT_MS, &error) == 0, &error, code);
}

int check_postgres(const struct db_config *config, int code) {
	AUTO_ERROR struct error error = {0};
	struct db *db = NULL;
	int reached = db_open(config, &error, &db) == 0;
	db_close(db);
	return check_report("PostgreSQL", reached, &error, code);
}
