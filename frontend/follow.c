#include "frontend/follow.h"

#include "frontend/follow_internal.h"
#include "frontend/meters.h"
#include "lib/follow.h"
#include "lib/log.h"
#include "lib/mem.h"

#include <string.h>

#define TICK_LEAST_MS  10
#define TICK_MOST_MS   100
#define LOOK_MS        1000
#define LOOK_JITTER_MS 200
#define BEAT_MS        15000
#define SAY_LEAST_MS   100
#define BEHIND_MOST    8 // places of a statement

// ---- live

static void replace_text(char **place, const char *text) {
	if (text && *place && strcmp(text, *place) == 0) return;
	free(*place);
	*place = mem_strdup(text);
}

static void tick_soon(struct follow *follow) {
	if (follow->asked_count || loop_timer_active(follow->tick)) return;
	int64_t gap_ms = follow->cost_us / 500; // so that two thirds of the time are left to other requests
	gap_ms = gap_ms < TICK_LEAST_MS ? TICK_LEAST_MS : gap_ms > TICK_MOST_MS ? TICK_MOST_MS : gap_ms;
	int64_t left_ms = follow->tick_ms + gap_ms - loop_now_ms();
	loop_timer_set(follow->tick, left_ms > 0 ? left_ms : 0);
}

static void source_due(struct source *source) {
	if (source->shown.final || source->shown.gone) return;
	source->due = true;
	tick_soon(source->follow);
}

// Whether it is another one.
static bool learn_state(struct source *source, const struct log_page *page) {
	bool changed = strcmp(source->shown.status, page->status) != 0 || source->shown.attempt != page->job_attempt;
	replace_text(&source->shown.status, page->status);
	replace_text(&source->shown.outcome, follow_source_ended(page->status) ? page->outcome : NULL);
	source->shown.attempt = page->job_attempt;
	return changed;
}

static void learn_live(struct source *source, const struct log_page *page) {
	if (!page->known) {
		source->shown.gone = true;
		follow_source_wake_all(source);
		return;
	}
	bool changed = learn_state(source, page), news;
	bool over = follow_source_learn(source, source->attempt, source->seq, page, &news);
	if (page->block) source->seq = page->block->to_seq;
	if (over && page->job_attempt > source->attempt) {
		source->attempt = page->job_attempt;
		source->seq = 0;
		source->due = true;
	} else if (over && follow_source_ended(page->status)) {
		source->shown.final = true;
	}
	if (page->full) source->due = true;
	follow_source_wake(source, page, changed || news || source->shown.final);
}

static bool any_due(const struct follow *follow) {
	const struct source *source;
	TAILQ_FOREACH(source, &follow->sources, entry) {
		if (source->due && !source->shown.final && !source->shown.gone) return true;
	}
	return false;
}

static void live_came(const struct log_page *pages, enum db_status status, const struct error *error, void *arg) {
	struct follow *follow = arg;
	size_t count = follow->asked_count;
	follow->asked_count = 0;
	if (!pages && status != DB_UNAVAILABLE && status != DB_RETRY) log_error(log_m("logs cannot be read"), log_e(error));
	for (size_t i = 0; i < count; i++) {
		struct source *source = follow->asked[i];
		if (pages) learn_live(source, &pages[i]); // else it is looked at again within a second
		follow_source_drop(source);
	}
	if (pages && any_due(follow)) tick_soon(follow);
}

// Those first that were read longest ago, so that none starves where there are more than one statement takes.
static void read_due(struct follow *follow) {
	struct log_place places[FOLLOW_LIVE_MOST];
	struct source *source;
	size_t count = 0;
	if (follow->asked_count) return;
	TAILQ_FOREACH(source, &follow->sources, entry) {
		if (source->due && count < FOLLOW_LIVE_MOST) follow->asked[count++] = source;
	}
	if (!count) return;
	follow->tick_ms = loop_now_ms();
	for (size_t i = 0; i < count; i++) {
		source = follow->asked[i];
		source->due = false;
		source->users++;
		source->read_ms = follow->tick_ms;
		TAILQ_REMOVE(&follow->sources, source, entry);
		TAILQ_INSERT_TAIL(&follow->sources, source, entry);
		places[i] = (struct log_place){.attempt = source->attempt, .seq = source->seq};
		memcpy(places[i].key, source->shown.key, UUID_TEXT);
	}
	follow->asked_count = count;
	metric_add(&meter_follow_live, 1);
	log_read(follow->live, places, count, live_came, follow);
}

static void tick(void *arg) {
	read_due(arg);
}

static void say(struct follow *follow) {
	char(*keys)[UUID_TEXT] = mem_zalloc_array(follow->source_count + 1, sizeof *keys);
	size_t count = 0;
	struct source *source;
	follow->said_ms = loop_now_ms();
	TAILQ_FOREACH(source, &follow->sources, entry) {
		bool over = source->shown.final || source->shown.gone || source->forgotten;
		if (!over) memcpy(keys[count++], source->shown.key, UUID_TEXT);
	}
	follow_tell(follow->live, FOLLOW_WANTED, (const char(*)[UUID_TEXT])keys, count);
	free(keys);
}

static void heard(const char *payload, void *arg) {
	struct follow *follow = arg;
	char key[UUID_TEXT];
	struct source *source;
	if (payload && follow_asked(payload)) {
		if (loop_now_ms() - follow->said_ms >= SAY_LEAST_MS)
			say(follow);
		else
			follow->said_ms = 0;
		return;
	}
	while (payload && follow_key(&payload, key))
		if ((source = follow_source_find(follow, key))) source_due(source);
	if (payload) return;
	TAILQ_FOREACH(source, &follow->sources, entry) source_due(source);
	follow->said_ms = 0;
}

// ---- behind

static void read_wanted(struct follow *follow);

static void wanted_free(struct follow *follow, struct follow_wanted *wanted) {
	TAILQ_REMOVE(&follow->wanted, wanted, entry);
	follow_source_drop(wanted->source);
	free(wanted);
}

static void learn_behind(struct follow_wanted *wanted, const struct log_page *page) {
	struct source *source = wanted->source;
	bool news = false;
	if (page->known) (void)follow_source_learn(source, wanted->attempt, wanted->seq, page, &news);
	if (!page->known) source->shown.gone = true;
	follow_source_wake(source, page, !page->known || news);
}

static void behind_came(const struct log_page *pages, enum db_status status, const struct error *error, void *arg) {
	struct follow *follow = arg;
	struct follow_wanted *wanted, *next;
	size_t number = 0;
	follow->behind_under_way = false;
	if (!pages && status != DB_UNAVAILABLE && status != DB_RETRY) log_error(log_m("logs cannot be read"), log_e(error));
	for (wanted = TAILQ_FIRST(&follow->wanted); wanted && wanted->sent; wanted = next, number++) {
		next = TAILQ_NEXT(wanted, entry);
		wanted->sent = false;
		if (!pages) continue; // they are asked for again at the next look
		learn_behind(wanted, &pages[number]);
		wanted_free(follow, wanted);
	}
	if (pages) read_wanted(follow);
}

static void read_wanted(struct follow *follow) {
	struct log_place places[BEHIND_MOST];
	struct follow_wanted *wanted;
	size_t count = 0;
	if (follow->behind_under_way) return;
	TAILQ_FOREACH(wanted, &follow->wanted, entry) {
		if (count == BEHIND_MOST) break;
		wanted->sent = true;
		places[count] = (struct log_place){.attempt = wanted->attempt, .seq = wanted->seq};
		memcpy(places[count++].key, wanted->source->shown.key, UUID_TEXT);
	}
	if (!count) return;
	follow->behind_under_way = true;
	metric_add(&meter_follow_behind, (int64_t)count);
	log_read(follow->behind, places, count, behind_came, follow);
}

static void want(struct source *source, int64_t attempt, int64_t seq) {
	struct follow *follow = source->follow;
	struct follow_wanted *wanted;
	TAILQ_FOREACH(wanted, &follow->wanted, entry) {
		if (wanted->source == source && wanted->attempt == attempt && wanted->seq == seq) return;
	}
	wanted = mem_zalloc(sizeof *wanted);
	*wanted = (struct follow_wanted){.source = source, .attempt = attempt, .seq = seq};
	source->users++;
	TAILQ_INSERT_TAIL(&follow->wanted, wanted, entry);
	read_wanted(follow);
}

// ---- about once a second: tokens, heartbeats, what nobody told of

static void look_at_places(struct source *source, int64_t now_ms) {
	int64_t now_s = loop_wall_ms() / 1000;
	struct follower_place *place;
	LIST_FOREACH(place, &source->places, entry) {
		if (!place->expired && token_claims_expired(place->claims, now_s)) place->expired = true;
		if (now_ms - place->beat_ms >= BEAT_MS) {
			place->beat = true;
			place->beat_ms = now_ms;
		}
		if (place->expired || place->beat) follow_source_wake_one(place);
	}
}

static void look(void *arg) {
	struct follow *follow = arg;
	int64_t now_ms = loop_now_ms();
	struct source *source, *next;
	for (source = TAILQ_FIRST(&follow->sources); source; source = next) {
		next = TAILQ_NEXT(source, entry);
		if (now_ms - source->read_ms >= LOOK_MS - LOOK_JITTER_MS) source_due(source);
		look_at_places(source, now_ms);
	}
	if (now_ms - follow->said_ms >= FOLLOW_SAY_MS) say(follow);
	read_wanted(follow);
	if (follow->source_count) loop_timer_set(follow->look, LOOK_MS);
}

// ---- for followers

struct log_block *follow_block(struct follower_place *place) {
	struct source *source = follow_source_of(place);
	struct log_block *block;
	TAILQ_FOREACH_REVERSE(block, &source->blocks, follow_blocks, entry) {
		if (block->attempt == place->attempt && place->seq >= block->from_seq && place->seq < block->to_seq)
			return log_block_hold(block);
	}
	if (follow_fact(place) || source->shown.gone) return NULL;
	bool live = place->attempt > source->attempt || (place->attempt == source->attempt && place->seq >= source->seq);
	if (!live) want(source, place->attempt, place->seq);
	return NULL;
}

const struct follow_fact *follow_fact(const struct follower_place *place) {
	const struct source *source = follow_source_of(place);
	for (size_t i = 0; i < source->fact_count; i++)
		if (source->facts[i].attempt == place->attempt)
			return place->seq >= source->facts[i].end_seq ? &source->facts[i] : NULL;
	return NULL;
}

static struct source *source_for(struct follow *follow, const char *key, const char *status, int64_t attempt) {
	struct source *source = follow_source_find(follow, key);
	// It was replayed: those who follow to the end of before do so.
	bool over = source && follow_source_ended(source->shown.status);
	if (over && (!follow_source_ended(status) || source->shown.attempt != attempt)) source->forgotten = true;
	if (source && source->shown.gone) source->forgotten = true;
	return source && !source->forgotten ? source : NULL;
}

void follow_join(struct follow *follow, struct follower_place *place, const char *key, const char *status, int64_t attempt,
	const char *outcome, int64_t next_seq) {
	struct source *source = source_for(follow, key, status, attempt);
	if (!source) {
		source = follow_source_new(follow, key);
		source->shown.status = mem_strdup(status);
		source->shown.outcome = follow_source_ended(status) ? mem_strdup(outcome) : NULL;
		source->shown.attempt = source->attempt = attempt;
		source->seq = next_seq;
		source_due(source);
		if (!follow_source_ended(status))
			follow_tell(follow->live, FOLLOW_WANTED, (const char(*)[UUID_TEXT]) & source->shown.key, 1);
	}
	place->follow = follow;
	place->source = &source->shown;
	place->beat_ms = loop_now_ms();
	LIST_INSERT_HEAD(&source->places, place, entry);
	source->users++;
	metric_set(&meter_followers, (int64_t)++follow->follower_count);
	if (!loop_timer_active(follow->look)) loop_timer_set(follow->look, LOOK_MS);
}

void follow_leave(struct follower_place *place) {
	struct follow *follow = place->follow;
	follow_served(place);
	LIST_REMOVE(place, entry);
	metric_set(&meter_followers, (int64_t)--follow->follower_count);
	follow_source_drop(follow_source_of(place));
}

enum follow_room follow_room(const struct follow *follow, const struct token_claims *claims) {
	if (follow->stops) return FOLLOW_STOPS;
	if (follow->config.most && (int64_t)follow->follower_count >= follow->config.most) return FOLLOW_FULL;
	if (!follow->config.most_per_user) return FOLLOW_ROOM;
	int64_t own = 0;
	const struct source *source;
	const struct follower_place *place;
	TAILQ_FOREACH(source, &follow->sources, entry) {
		LIST_FOREACH(place, &source->places, entry) own += strcmp(place->claims->sub, claims->sub) == 0;
	}
	return own < follow->config.most_per_user ? FOLLOW_ROOM : FOLLOW_USER_FULL;
}

bool follow_stops(const struct follow *follow) {
	return follow->stops;
}

struct db_session *follow_reads(struct follow *follow) {
	return follow->behind;
}

// ---- opening and closing

void follow_quiesce(struct follow *follow) {
	struct source *source, *next;
	if (!follow) return;
	follow->stops = true;
	for (source = TAILQ_FIRST(&follow->sources); source; source = next) {
		next = TAILQ_NEXT(source, entry);
		follow_source_wake_all(source);
	}
}

void follow_close(struct follow *follow) {
	if (!follow) return;
	db_session_close(follow->live);
	db_session_close(follow->behind);
	for (struct follow_wanted *wanted = TAILQ_FIRST(&follow->wanted), *next; wanted; wanted = next) {
		next = TAILQ_NEXT(wanted, entry);
		follow_source_drop(wanted->source);
		free(wanted);
	}
	loop_timer_free(follow->tick);
	loop_timer_free(follow->look);
	free(follow);
}

struct follow *follow_open(struct loop *loop, const struct follow_config *config) {
	struct follow *follow = mem_zalloc(sizeof *follow);
	follow->loop = loop;
	follow->config = *config;
	TAILQ_INIT(&follow->sources);
	TAILQ_INIT(&follow->wanted);
	follow->tick = loop_timer_new(loop, tick, follow);
	follow->look = loop_timer_new(loop, look, follow);
	struct db_config steady = *config->db;
	steady.steady_plans = true;
	follow->live = db_session_open(loop, &steady);
	follow->behind = db_session_open(loop, &steady);
	db_session_listen_each(follow->live, FOLLOW_NEWS, heard, follow);
	return follow;
}
