// How a repository is run: the first of trabajo.yaml, package.json, Makefile, main.py, main.sh, main that applies. Pure, but
// for reading the few files it names from a tree; used by trabajos-fetch (it reads hostile bytes), sent as JSON to the worker.
#pragma once

#include "lib/error.h"
#include "lib/json.h"

#include <stdint.h>

struct plan {
	char *kind;                   // "trabajo.yaml", "package.json", "Makefile", "main.py", "main.sh", "main"
	char *command;                // for people: "npm run main"
	char **argv;                  // NULL-terminated; run: becomes {"/bin/sh", "-c", run}
	int64_t timeout_s, memory_mb; // what trabajo.yaml asks for; -1: nothing. The worker's limits cap them.
	char **env;                   // NULL-terminated "NAME=value"; never CI, HOME, PATH, LANG or TRABAJO_*
	char **artifacts;             // NULL-terminated globs
};

void plan_clear(struct plan *plan);
// tree_fd: the repository's root; symbolic links are not followed out of it (openat2 RESOLVE_BENEATH). 0: found; 1: none, and
// *looked_for (owned) says what was looked for; -1: a file that is broken (trabajo.yaml that is no YAML, unknown member,
// package.json too large): ERROR_INPUT, the message says what and where.
int plan_detect(int tree_fd, struct plan *plan, char **looked_for, struct error *error) MUST_USE;
json_t *plan_json(const struct plan *plan) MUST_USE;
int plan_read(const json_t *json, struct plan *plan,
	struct error *error) MUST_USE; // strict: the text comes from a child that read hostile bytes
