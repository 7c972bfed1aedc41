// What plan.c is made of: the readers of the three files whose content decides. Pure; the text comes from strangers.
#pragma once

#include "lib/error.h"
#include "worker/plan.h"

#include <stdbool.h>
#include <stddef.h>

// Most that a plan may hold, so that it fits into the child's answer.
#define PLAN_RUN_MAX       16384
#define PLAN_ENV_MAX       100
#define PLAN_ARTIFACTS_MAX 100
#define PLAN_GLOB_MAX      500
#define PLAN_TIMEOUT_S_MAX 86400
#define PLAN_MEMORY_MB_MAX 1048576
#define PLAN_TEXT_MAX      40000 // the whole of it, as JSON

// Fills kind, command, argv and what the file asks for. ERROR_INPUT: "trabajo.yaml: line N: …"; the plan is then for plan_clear.
int plan_yaml_read(const char *text, size_t length, struct plan *plan, struct error *error) MUST_USE;
// 1: there is a non-empty script main; 0: none; -1: no JSON object.
int plan_npm_has_main(const char *text, size_t length, struct error *error) MUST_USE;
// Whether a rule has the target main, written out (GNU make manual, 4.2 Rule Syntax; includes and macros are not followed).
bool plan_make_has_main(const char *text, size_t length) MUST_USE;
// Where there is no plan: what the repository seems to be and what it lacks, in one sentence without a full stop. NULL: no idea.
const char *plan_hint(int tree_fd);

static inline bool plan_is_control(char c) {
	return (unsigned char)c < ' ' || c == 0x7f;
}

// NAME=value whose name a plan may set; plan_read and plan_yaml_read agree on it. NULL: fine; else what is wrong.
const char *plan_env_fault(const char *name, size_t length);
const char *plan_glob_fault(const char *glob); // a relative path without ".."
