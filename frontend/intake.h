// The services that a submission passes through: Kafka's producer, the ledger's two sessions and the wake-up of the workers.
#pragma once

#include "frontend/submit.h"
#include "lib/db.h"
#include "lib/kafka.h"

struct intake;

int intake_open(struct loop *loop, const struct kafka_config *kafka, struct intake **intake, struct error *error) MUST_USE;
// From now on the ledger is used; its tables exist.
void intake_ledger(struct intake *intake, const struct db_config *db);
void intake_close(struct intake *intake, int64_t flush_ms); // waits for what Kafka has not yet acknowledged; NULL is fine

void intake_tap(const struct intake *intake); // wakes idle workers; after intake_ledger
struct submit *intake_submit(const struct intake *intake);
bool intake_kafka_ready(const struct intake *intake);
const char *intake_kafka_trouble(const struct intake *intake); // why not; NULL: it is
bool intake_ledger_ready(const struct intake *intake);
