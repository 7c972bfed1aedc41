// Whether a job waits in Kafka that no worker has put into the ledger yet: the consumer lag of topic `trabajos`, group `worker`,
// asked every few seconds on a thread of its own. Only "at least one": the frontend writes the ledger too, so that most of the
// records behind the lag are queued rows already.
#pragma once

#include "lib/kafka.h"

struct lag;

enum lag_answer { LAG_UNKNOWN = -1, LAG_NONE, LAG_SOME };

struct lag *lag_start(const struct kafka_config *config) MUST_USE;
enum lag_answer lag_read(struct lag *lag);           // the latest answer; NULL, or an answer too old: LAG_UNKNOWN
void lag_ask(struct lag *lag);                       // to end soon; NULL is fine
int lag_close(struct lag *lag, int64_t ms) MUST_USE; // NULL is fine; -1: see task_end
