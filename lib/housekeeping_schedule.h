// The chore of housekeeping that fires schedules (sql/0003-schedules.sql): whose moment has come puts its job into the ledger.
// Looks every few seconds, and at the very moment of the next one. Safe to run in any number of programs at once.
#pragma once

#include "lib/db.h"

#define SCHEDULE_GRACE_S 60 // a moment older than this was missed: a schedule that skips those skips it

struct housekeeping_schedule;
// The schedules' table must exist. Idle workers are told by the statement itself.
struct housekeeping_schedule *housekeeping_schedule_start(struct loop *loop, struct db_session *session) MUST_USE;
void housekeeping_schedule_stop(struct housekeeping_schedule *chore); // NULL is fine; an answer that is under way is ignored
