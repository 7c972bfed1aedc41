// The hub of the followed logs: one for all followers, however many.
//
// A source is one followed job. What comes of it live is read once for all who follow it: a tick asks for all sources together of
// which a worker said that there is news, and of each about once a second in any case. What was read are blocks, shared and
// counted; a follower has nothing but a position in them. Who wants what is in no block (from the beginning, after a pause, too slow)
// has it read for itself, on another connection, a page at a time; those who want the same page share it.
//
// While a job is followed the workers are told so again and again (lib/follow.h). Which user may follow which job is decided
// before; a source does not know users.
#pragma once

#include "frontend/log_read.h"
#include "frontend/token.h"
#include "lib/loop.h"

#include <stdbool.h>

struct follow;
struct follower;

// most, most_per_user: followers; 0: no limit.
struct follow_config {
	const struct db_config *db;
	int64_t most, most_per_user;
};
struct follow *follow_open(struct loop *loop, const struct follow_config *config) MUST_USE;
// All end with what lets the client come again; new ones are refused.
void follow_quiesce(struct follow *follow);
void follow_close(struct follow *follow);               // after the server; NULL is fine
struct db_session *follow_reads(struct follow *follow); // for pages that one client alone waits for

enum follow_room { FOLLOW_ROOM, FOLLOW_FULL, FOLLOW_USER_FULL, FOLLOW_STOPS };
enum follow_room follow_room(const struct follow *follow, const struct token_claims *claims) MUST_USE;

// ---- for followers (follower.c)

// What a job is like, as far as its followers have to know. Changes between two calls of a follower's.
struct follow_source {
	char key[UUID_TEXT];
	char *status, *outcome; // outcome: NULL until it has ended
	int64_t attempt;        // the newest
	bool final;             // it has ended, and of its newest attempt all is known
	bool gone;              // the ledger does not have it any more
};

// What is known of an attempt that is over: no chunk has this seq or a later one.
struct follow_fact {
	int64_t attempt, end_seq, dropped;
	char *outcome; // of the attempt; NULL: it has none
};

struct follower_place {
	struct follow *follow;
	struct follow_source *source;
	struct token_claims *claims;
	int64_t attempt, seq; // what it wants next
	bool idle;            // has nothing to send, and is to be woken when there is
	bool expired, beat;   // its token is; time for a heartbeat
	int64_t beat_ms;
	bool counted; // woken by a tick, and not heard of since
	void (*wake)(struct follower_place *place);
	LIST_ENTRY(follower_place) entry;
};

// What log_read_look has said of the job.
void follow_join(struct follow *follow, struct follower_place *place, const char *key, const char *status, int64_t attempt,
	const char *outcome, int64_t next_seq);
void follow_leave(struct follower_place *place);
bool follow_stops(const struct follow *follow);
// The block in which the place lies; held. NULL: it is asked for, or awaited; or there is none, which the fact says.
struct log_block *follow_block(struct follower_place *place) MUST_USE;
// Set where the attempt of the place is over, and has nothing from there on.
const struct follow_fact *follow_fact(const struct follower_place *place) MUST_USE;
void follow_served(struct follower_place *place); // it has been called
