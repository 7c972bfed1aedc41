// A loop for each test, which fails where it is not stopped within ten seconds.
#pragma once

#include "lib/loop.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h> // needs the three above
// clang-format on

static struct loop *loop;
static struct loop_timer *too_late;

static void fail_late(void *arg) {
	(void)arg;
	fail_msg("the loop was not stopped in time");
}

static int setup(void **state) {
	(void)state;
	loop = loop_new();
	too_late = loop_timer_new(loop, fail_late, NULL);
	loop_timer_set(too_late, 10000);
	return 0;
}

static int teardown(void **state) {
	(void)state;
	loop_timer_free(too_late);
	loop_free(loop);
	return 0;
}

static void stop(void *arg) {
	(void)arg;
	loop_stop(loop);
}
