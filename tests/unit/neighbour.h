// A well-behaved job in the slot beside an attack: its answer stays right, and it takes at most twice the time that it takes when it
// is alone. Both are measured under the same circumstances: what else the machine does may double a time once, but not each time.
#pragma once

#include "tests/unit/sandbox_rig.h"

#define NEIGHBOUR_SLOT  1
#define NEIGHBOUR_TRIES 12
#define NEIGHBOUR_WORK                                                                                                            \
	"seq 20000 | sha256sum; head -c 4000000 /dev/zero >f; sha256sum <f; i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; " \
	"echo $i; cat /etc/hostname"
#define NEIGHBOUR_ANSWER                                                                                                       \
	"f6351f5ead9a700e34275480b3856ea738122a7c57bdeb744a631251c069587a  -\n"                                                \
	"8dbe5f139fd946d4cd84e8cc612cd9f68cbc87e394457884acc0c5dad56dd8dd  -\n20000\n"

static inline void neighbour_start(struct rig *rig, struct rig_result *result) {
	static char shell[] = "/bin/sh", option[] = "-c", work[] = NEIGHBOUR_WORK;
	char *argv[] = {shell, option, work, NULL}, *env[] = {NULL};
	struct error error = {0};
	*result = (struct rig_result){.loop = rig->loop, .out = mem_zalloc(RIG_KEEP + 1), .err = mem_zalloc(RIG_KEEP + 1)};
	const struct sandbox_job job = {
		.slot = NEIGHBOUR_SLOT, .tree = rig->tree, .argv = argv, .env = env, .limits = rig_limits()};
	const struct sandbox_handlers handlers = {.output = rig_output, .done = rig_done, .arg = result};
	result->begun_us = loop_now_us();
	if (sandbox_start(rig->sandbox, &job, &handlers, &result->run, &error) != 0) fail_msg("%s", error_text(&error));
}

// How long its command took.
static inline int64_t neighbour_end(struct rig *rig, struct rig_result *result) {
	while (!result->done) loop_run(rig->loop);
	if (result->report.exit_code != 0 || strncmp(result->out, NEIGHBOUR_ANSWER, strlen(NEIGHBOUR_ANSWER)) != 0)
		fail_msg("the neighbour's job went wrong: exit %d, signal %d: %s%s%s", result->report.exit_code,
			result->report.signal, result->out, result->err, error_text(&result->report.error));
	int64_t took_us = result->report.run_us;
	rig_result_clear(result);
	return took_us;
}

static inline int64_t neighbour_alone(struct rig *rig) {
	struct rig_result result;
	neighbour_start(rig, &result);
	return neighbour_end(rig, &result);
}

// Runs the attack beside the neighbour, again and again until the neighbour was quick enough; attack asserts its own end.
static inline void neighbour_beside(struct rig *rig, const char *name, void (*attack)(void *arg), void *arg) {
	// Only a group shares the processor by job; and an emulated machine measures nothing but its emulator.
	bool fair = limits_kind(rig->sandbox->maker.limits) != NULL && !getenv("TEST_PATIENCE");
	for (int tries = 1;; tries++) {
		struct rig_result result;
		neighbour_start(rig, &result);
		attack(arg);
		int64_t beside_us = neighbour_end(rig, &result), alone_us;
		if (!fair || beside_us <= 2 * (alone_us = neighbour_alone(rig))) return;
		if (tries == NEIGHBOUR_TRIES)
			fail_msg("%s: the neighbour took %lld us, alone %lld", name, (long long)beside_us, (long long)alone_us);
	}
}
