// Records of topic resultados: produced after the commit that made the result visible, marked in the ledger when Kafka has
// acknowledged them. What stays unmarked is produced again by the sweeper (lib/housekeeping.h): at least once.
#pragma once

#include "lib/db.h"
#include "lib/kafka.h"
#include "lib/resultado.h"

struct publisher;

// $1 keys, $2 attempts: Kafka has acknowledged the records of these results.
extern const struct db_statement publish_mark;

// Marks by `session` in batches, a few times a second at most.
int publisher_open(struct loop *loop, const struct kafka_config *config, struct db_session *session,
	struct publisher **publisher, struct error *error) MUST_USE;
void publish(struct publisher *publisher, const struct resultado *resultado); // copies; a failure is left to the sweeper
size_t publisher_pending(const struct publisher *publisher);                  // produced or marked, and not yet done
int publisher_ready(const struct publisher *publisher);
// After its session was closed. Waits up to flush_ms for acknowledgements; what was not marked is left to the sweeper (and so
// sent again): for an orderly end first run the loop until publisher_pending is 0.
void publisher_close(struct publisher *publisher, int64_t flush_ms);
