// Which of several observers acts: the one whose connection holds PostgreSQL's advisory lock. The others stand by, and take over as
// soon as it is free: with the end of that process, or of its connection.
#pragma once

#include "lib/db.h"
#include "lib/loop.h"

#include <stdbool.h>

struct lead;

// changed: in the loop's thread, with each change.
struct lead *lead_open(
	struct loop *loop, const struct db_config *db, void (*changed)(bool leads, void *arg), void *arg) MUST_USE;
bool lead_held(const struct lead *lead);
// The connection that holds the lock: what is answered on it was asked by the leader.
struct db_session *lead_session(const struct lead *lead);
void lead_close(struct lead *lead); // NULL is fine
