// What frontends and workers tell each other about jobs whose log somebody follows, by PostgreSQL's notifications. So the output
// of a followed job is written and read at once, and that of all others at an easy pace. Nobody keeps who follows what: a
// frontend says it again and again, and a worker forgets it by itself. What gets lost costs a second, never output.
#pragma once

#include "lib/db.h"
#include "lib/uuid.h"

#include <stdbool.h>

#define FOLLOW_WANTED "trabajos_followed" // from frontends: these jobs are followed now
#define FOLLOW_NEWS   "trabajos_news"     // from workers: the ledger has something new of these followed jobs

#define FOLLOW_SAY_MS  5000  // how often a frontend says it
#define FOLLOW_HOLD_MS 15000 // how long a worker believes it

// Sends the keys to a channel; they are copied. Nobody hears whether it worked.
void follow_tell(struct db_session *session, const char *channel, const char (*keys)[UUID_TEXT], size_t count);
// On FOLLOW_NEWS, by a worker that has just begun to listen: say at once what is followed.
void follow_ask(struct db_session *session);
bool follow_asked(const char *payload) MUST_USE;
// The keys of a notification, one after another; anything else in it is passed over. false: no further one.
bool follow_key(const char **payload, char key[UUID_TEXT]) MUST_USE;
