// What --check of every daemon does after the configuration was found fine: asks each service, one line on stdout a service.
#pragma once

#include "lib/db.h"
#include "lib/kafka.h"

// Prints "NAME: fine" or why not. Returns `code`, the exit code so far, or the failure's where it is worse than none.
int check_report(const char *name, int reached, const struct error *error, int code);
// Both as check_report, within 5 s.
int check_kafka(const struct kafka_config *config, int code);
int check_postgres(const struct db_config *config, int code);
