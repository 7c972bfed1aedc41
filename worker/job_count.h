// What is counted of attempts, for /metrics.
#pragma once

#include "lib/resultado.h"
#include "worker/detail.h"

#include <stdint.h>

void job_count_register(void);
void job_count_claimed(int64_t waited_ms); // since it might run
void job_count_ended(
	const struct outcome *outcome, const struct detail *detail, int64_t finish_us); // finish: until it was written
void job_count_fenced(void);                                                            // another worker had taken it over
void job_count_reused(void);                                                            // an earlier result was taken
