#include "frontend/follower.h"

#include "lib/mem.h"

#include <inttypes.h>
#include <string.h>

#define EVENTS_TYPE "text/event-stream"
#define TEXT_TYPE   "text/plain; charset=utf-8"

struct follower {
	struct follower_place place; // first
	struct http_request *request;
	bool events, only;
	int stream;

	char *words; // events of our own, not yet sent
	size_t words_length, words_taken;
	struct log_block *block;
	size_t chunk, taken; // of the block; of the chunk
	char *said_status;   // and of which attempt
	int64_t said_attempt;
	bool said_dropped; // of the attempt that it is at
	bool over, cut;    // nothing comes behind the words; and the client must not think that this was all
};

// ---- words

static void say(struct follower *follower, const char *format, ...) PRINTF(2, 3);
static void say(struct follower *follower, const char *format, ...) {
	if (!follower->events) return;
	va_list arguments;
	va_start(arguments, format);
	AUTO_FREE char *more = mem_format_list(format, arguments);
	va_end(arguments);
	size_t length = strlen(more);
	if (follower->words_taken == follower->words_length) follower->words_taken = follower->words_length = 0;
	follower->words = mem_resize(follower->words, follower->words_length + length + 1, 1);
	memcpy(follower->words + follower->words_length, more, length + 1);
	follower->words_length += length;
}

static void say_status(struct follower *follower, const char *status, int64_t attempt) {
	if (follower->said_status && strcmp(follower->said_status, status) == 0 && follower->said_attempt == attempt) return;
	free(follower->said_status);
	follower->said_status = mem_strdup(status);
	follower->said_attempt = attempt;
	say(follower, "event: status\ndata: {\"status\":\"%s\",\"attempt\":%" PRId64 "}\n\n", status, attempt);
}

static void say_dropped(struct follower *follower, const struct follow_fact *fact) {
	if (follower->said_dropped || fact->dropped <= 0) return;
	say(follower, "event: truncated\ndata: {\"attempt\":%" PRId64 ",\"bytes\":%" PRId64 "}\n\n", fact->attempt,
		fact->dropped);
	follower->said_dropped = true;
}

static void say_end(struct follower *follower, const struct follow_fact *fact) {
	const struct follow_source *source = follower->place.source;
	const char *outcome = follower->only ? fact->outcome : source->outcome;
	if (!follower->only || source->attempt == fact->attempt) say_status(follower, source->status, source->attempt);
	say(follower, "event: end\ndata: {\"status\":\"%s\",\"attempt\":%" PRId64 ",\"outcome\":%s}\n\n", source->status,
		fact->attempt, outcome ? outcome : "null");
	follower->over = true;
}

// ---- where it stands

static void next_attempt(struct follower *follower) {
	const struct follow_source *source = follower->place.source;
	follower->place.attempt++;
	follower->place.seq = 0;
	follower->said_dropped = false;
	if (source->attempt == follower->place.attempt && strcmp(source->status, "Running") == 0)
		say_status(follower, source->status, source->attempt);
}

// Its attempt has nothing more. false: nor has the job, for now.
static bool leave_attempt(struct follower *follower, const struct follow_fact *fact) {
	const struct follow_source *source = follower->place.source;
	say_dropped(follower, fact);
	if (follower->only || (source->final && fact->attempt >= source->attempt)) {
		say_end(follower, fact);
		return true;
	}
	if (fact->attempt < source->attempt) {
		next_attempt(follower);
		return true;
	}
	if (!source->final) say_status(follower, source->status, source->attempt);
	return follower->words_taken < follower->words_length;
}

static bool to_block(struct follower *follower) {
	log_block_drop(STEAL(follower->block));
	follower->block = follow_block(&follower->place);
	if (!follower->block) return false;
	follower->chunk = log_block_find(follower->block, follower->place.seq);
	follower->taken = 0;
	if (follower->events) log_block_make_events(follower->block);
	return true;
}

// Of an attempt that is past nobody has been told yet that it ran.
static void say_running(struct follower *follower) {
	if (follower->said_attempt < follower->place.attempt) say_status(follower, "Running", follower->place.attempt);
}

// At the end of an event: what comes next. false: nothing does, for now.
static bool advance(struct follower *follower) {
	struct follower_place *place = &follower->place;
	if (place->expired || follow_stops(place->follow) || place->source->gone) {
		if (place->expired) say(follower, "event: expired\ndata: {}\n\n");
		follower->over = true;
		follower->cut = !follower->events;
		return true;
	}
	if (place->beat) say(follower, ": heartbeat\n\n");
	place->beat = false;
	if (follower->words_taken < follower->words_length) return true;
	if (follower->block && follower->chunk < follower->block->count) return true;
	if (to_block(follower)) {
		say_running(follower);
		return true;
	}
	const struct follow_fact *fact = follow_fact(place);
	return fact && leave_attempt(follower, fact);
}

// ---- what is sent

static size_t take(char *buffer, size_t size, const char *from, size_t length, size_t *taken) {
	size_t part = length - *taken < size ? length - *taken : size;
	if (part > 0) memcpy(buffer, from + *taken, part);
	*taken += part;
	return part;
}

static size_t take_chunk(struct follower *follower, char *buffer, size_t size) {
	const struct log_block *block = follower->block;
	const struct log_chunk *chunk = &block->chunks[follower->chunk];
	size_t length = follower->events ? chunk->event_length : chunk->length, part = 0;
	const char *from = follower->events ? block->events + chunk->event : block->data + chunk->from;
	if (follower->stream && follower->stream != chunk->stream) follower->taken = length;
	part = take(buffer, size, from, length, &follower->taken);
	if (follower->taken < length) return part;
	follower->taken = 0;
	follower->chunk++;
	// A block that begins before the place is none of another attempt: this only grows.
	follower->place.seq = follower->chunk < block->count ? block->chunks[follower->chunk].seq : block->to_seq;
	return part;
}

static ssize_t more(char *buffer, size_t size, void *arg) {
	struct follower *follower = arg;
	size_t count = 0;
	follower->place.idle = false;
	follow_served(&follower->place);
	while (count < size) {
		if (follower->block && follower->taken > 0)
			count += take_chunk(follower, buffer + count, size - count);
		else if (follower->words_taken < follower->words_length)
			count += take(
				buffer + count, size - count, follower->words, follower->words_length, &follower->words_taken);
		else if (follower->over)
			return count > 0 ? (ssize_t)count : follower->cut ? -2 : -1;
		else if (!advance(follower))
			break;
		else if (follower->words_taken == follower->words_length && follower->block &&
			 follower->chunk < follower->block->count)
			count += take_chunk(follower, buffer + count, size - count);
	}
	follower->place.idle = count == 0;
	return (ssize_t)count;
}

// ---- its life

static void wake(struct follower_place *place) {
	http_stream_wake(((struct follower *)place)->request);
}

static void gone(void *arg) {
	struct follower *follower = arg;
	follow_leave(&follower->place);
	token_claims_drop(follower->place.claims);
	log_block_drop(follower->block);
	free(follower->said_status);
	free(follower->words);
	free(follower);
}

void follower_start(struct follow *follow, struct http_request *request, struct token_claims *claims,
	const struct follower_wish *wish, const char *status, int64_t attempt, const char *outcome, int64_t next_seq) {
	struct follower *follower = mem_zalloc(sizeof *follower);
	*follower = (struct follower){
		.request = request, .events = wish->events, .only = wish->only, .stream = wish->stream, .said_attempt = -1};
	struct follower_place *place = &follower->place;
	place->claims = token_claims_hold(claims);
	place->attempt = wish->attempt;
	place->seq = wish->seq;
	place->wake = wake;
	follow_join(follow, place, wish->key, status, attempt, outcome, next_seq);
	say(follower, "retry: 1000\n\n");
	say_status(follower, place->source->status, place->source->attempt);
	http_answer_header(request, "Vary", "Accept");
	http_answer_header(request, "X-Accel-Buffering", "no"); // of nginx
	http_stream(request, 200, wish->events ? EVENTS_TYPE : TEXT_TYPE, more, gone, follower);
}
