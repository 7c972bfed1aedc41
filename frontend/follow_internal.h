// What the files of the hub share; nobody else includes it.
#pragma once

#include "frontend/follow.h"

TAILQ_HEAD(follow_blocks, log_block);
LIST_HEAD(follow_places, follower_place);

struct source {
	struct follow_source shown; // first
	struct follow *follow;
	TAILQ_ENTRY(source) entry;
	struct follow_places places;
	unsigned users;              // places, and pages under way
	bool forgotten;              // newcomers get another one: the job has been replayed
	bool due;                    // something may be new
	int64_t read_ms;             // when it was last asked for
	int64_t attempt, seq;        // behind the last chunk that came live
	struct follow_blocks blocks; // the newest last
	size_t block_count, bytes;
	struct follow_fact *facts;
	size_t fact_count;
};
TAILQ_HEAD(follow_sources, source); // first who was read longest ago

// A page that somebody waits for.
struct follow_wanted {
	TAILQ_ENTRY(follow_wanted) entry;
	struct source *source;
	int64_t attempt, seq;
	bool sent;
};
TAILQ_HEAD(follow_wanteds, follow_wanted);

#define FOLLOW_LIVE_MOST 64 // places of a statement

struct follow {
	struct loop *loop;
	struct follow_config config;
	struct db_session *live, *behind;
	struct follow_sources sources;
	struct follow_wanteds wanted;
	size_t source_count, follower_count;
	struct loop_timer *tick, *look;
	int64_t tick_ms, said_ms; // when the last one was sent
	struct source *asked[FOLLOW_LIVE_MOST];
	size_t asked_count;
	bool behind_under_way, stops;
	unsigned waking; // followers that were woken and have not been served yet
	int64_t woken_us, cost_us;
};

// ---- follow_source.c

static inline struct source *follow_source_of(const struct follower_place *place) {
	return (struct source *)place->source;
}
bool follow_source_ended(const char *status);
// The one that newcomers join; NULL: none.
struct source *follow_source_find(struct follow *follow, const char *key) MUST_USE;
struct source *follow_source_new(struct follow *follow, const char *key) MUST_USE; // without users
void follow_source_drop(struct source *source);                                    // one user less
// Keeps the block, and what the page says of its attempt. true: that is over, and has nothing behind the page; *news: as was not
// known yet.
bool follow_source_learn(struct source *source, int64_t attempt, int64_t seq, const struct log_page *page, bool *news);
// Wakes those who can go on with the page: all, or those who wait for its block.
void follow_source_wake(struct source *source, const struct log_page *page, bool all);
void follow_source_wake_all(struct source *source);
void follow_source_wake_one(struct follower_place *place);
