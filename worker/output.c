#include "worker/output.h"

#include "lib/mem.h"

#include <string.h>

#define CHUNK_BYTES 16384
#define CHUNK_LEAST 32 // a row for less is charged against the cap: a byte here and a byte there would make a million rows
#define CHUNK_MS    50 // what comes later gets a time of its own

#define CHARACTER_MOST 4 // bytes

struct chunk {
	int64_t seq;
	int stream;
	int64_t at_ms;
	size_t length;
	char *data;
	bool closed; // grows no more
};

// The beginning of a character, whose rest has not come yet.
struct remnant {
	size_t length;
	char data[CHARACTER_MOST];
	int64_t at_ms;
};

struct output {
	int64_t cap_bytes, bytes, kept, next_seq;
	int64_t last_length;
	int64_t charged;      // for chunks that are too small for the row they take
	struct chunk *chunks; // not acknowledged, by seq; the last one may be open
	size_t count, room;
	struct remnant remnants[2];
};

// How many bytes at the end begin a character that they do not complete (RFC 3629 section 3).
static size_t incomplete(const char *data, size_t length) {
	for (size_t back = 1; back < CHARACTER_MOST && back <= length; back++) {
		unsigned char c = (unsigned char)data[length - back];
		if ((c & 0xc0) == 0x80) continue;
		size_t whole = c < 0xc2 || c > 0xf4 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
		return whole > back ? back : 0;
	}
	return 0;
}

// What it has of an incomplete character is left to its stream's next one.
static void close_last(struct output *output) {
	struct chunk *last = output->count > 0 ? &output->chunks[output->count - 1] : NULL;
	if (!last || last->closed) return;
	last->closed = true;
	size_t rest = incomplete(last->data, last->length);
	if (rest == 0) return;
	struct remnant *remnant = &output->remnants[last->stream - 1];
	*remnant = (struct remnant){.length = rest, .at_ms = last->at_ms};
	last->length -= rest;
	memcpy(remnant->data, last->data + last->length, rest);
	output->last_length = (int64_t)last->length;
	if (last->length > 0) return;
	free(last->data);
	output->count--;
	output->next_seq--;
	output->last_length = CHUNK_LEAST; // it takes no row
}

static struct chunk *new_chunk(struct output *output, int stream, int64_t wall_ms) {
	if (output->last_length < CHUNK_LEAST) output->charged += CHUNK_LEAST - output->last_length;
	if (!output->chunks || output->count == output->room) {
		output->room = output->room ? output->room * 2 : 4;
		output->chunks = mem_resize(output->chunks, output->room, sizeof(*output->chunks));
	}
	struct chunk *chunk = &output->chunks[output->count++];
	*chunk = (struct chunk){.seq = output->next_seq++, .stream = stream, .at_ms = wall_ms};
	return chunk;
}

static void append(struct output *output, struct chunk *chunk, const char *data, size_t length) {
	chunk->data = mem_resize(chunk->data, chunk->length + length, 1);
	memcpy(chunk->data + chunk->length, data, length);
	chunk->length += length;
	output->last_length = (int64_t)chunk->length;
}

static struct chunk *open_chunk(struct output *output, int stream, int64_t wall_ms) {
	struct chunk *last = output->count > 0 ? &output->chunks[output->count - 1] : NULL;
	if (last && !last->closed && last->stream == stream && last->length < CHUNK_BYTES && wall_ms - last->at_ms < CHUNK_MS)
		return last;
	close_last(output);
	struct chunk *chunk = new_chunk(output, stream, wall_ms);
	struct remnant *remnant = &output->remnants[stream - 1];
	if (remnant->length > 0) append(output, chunk, remnant->data, remnant->length);
	remnant->length = 0;
	return chunk;
}

void output_add(struct output *output, int stream, const char *data, size_t length, int64_t wall_ms) {
	output->bytes += (int64_t)length;
	int64_t left = output->cap_bytes - output->kept - output->charged;
	if ((int64_t)length > left) length = left > 0 ? (size_t)left : 0;
	output->kept += (int64_t)length;
	while (length > 0) {
		struct chunk *chunk = open_chunk(output, stream, wall_ms);
		size_t part = CHUNK_BYTES - chunk->length < length ? CHUNK_BYTES - chunk->length : length;
		append(output, chunk, data, part);
		data += part;
		length -= part;
	}
}

void output_end(struct output *output) {
	close_last(output);
	for (int stream = 1; stream <= 2; stream++) {
		struct remnant *remnant = &output->remnants[stream - 1];
		if (remnant->length == 0) continue;
		struct chunk *chunk = new_chunk(output, stream, remnant->at_ms);
		append(output, chunk, remnant->data, remnant->length);
		chunk->closed = true;
		remnant->length = 0;
	}
}

static void columns_grow(struct output_columns *columns, size_t more) {
	if (columns->count + more <= columns->room) return;
	columns->room = 2 * columns->room + more;
	columns->numbers = mem_resize(columns->numbers, columns->room, sizeof(*columns->numbers));
	columns->seqs = mem_resize(columns->seqs, columns->room, sizeof(*columns->seqs));
	columns->streams = mem_resize(columns->streams, columns->room, sizeof(*columns->streams));
	columns->moments = mem_resize(columns->moments, columns->room, sizeof(*columns->moments));
	columns->data = mem_resize(columns->data, columns->room, sizeof(*columns->data));
	columns->lengths = mem_resize(columns->lengths, columns->room, sizeof(*columns->lengths));
}

int64_t output_gather(struct output *output, int64_t number, int64_t most_bytes, struct output_columns *columns) {
	close_last(output);
	columns_grow(columns, output->count);
	for (size_t i = 0; i < output->count; i++) {
		const struct chunk *chunk = &output->chunks[i];
		if (columns->count > 0 && columns->bytes + (int64_t)chunk->length > most_bytes) return chunk->seq;
		size_t row = columns->count++;
		columns->bytes += (int64_t)chunk->length;
		columns->numbers[row] = number;
		columns->seqs[row] = chunk->seq;
		columns->streams[row] = chunk->stream;
		columns->moments[row] = chunk->at_ms;
		columns->data[row] = chunk->data;
		columns->lengths[row] = chunk->length;
	}
	return output->next_seq;
}

void output_columns_params(const struct output_columns *columns, struct db_params *params) {
	db_int_array(params, columns->numbers, columns->count);
	db_int_array(params, columns->seqs, columns->count);
	db_int_array(params, columns->streams, columns->count);
	db_int_array(params, columns->moments, columns->count);
	db_bytes_array(params, columns->data, columns->lengths, columns->count);
}

void output_columns_clear(struct output_columns *columns) {
	free(columns->numbers);
	free(columns->seqs);
	free(columns->streams);
	free(columns->moments);
	free(columns->data);
	free(columns->lengths);
	*columns = (struct output_columns){0};
}

void output_acknowledge(struct output *output, int64_t mark) {
	size_t done = 0;
	while (done < output->count && output->chunks[done].seq < mark) free(output->chunks[done++].data);
	output->count -= done;
	if (done > 0 && output->count > 0)
		memmove(output->chunks, output->chunks + done, output->count * sizeof(*output->chunks));
}

int64_t output_waiting_bytes(const struct output *output) {
	int64_t bytes = 0;
	for (size_t i = 0; i < output->count; i++) bytes += (int64_t)output->chunks[i].length;
	return bytes;
}

bool output_waiting(const struct output *output) {
	return output->count > 0;
}

int64_t output_bytes(const struct output *output) {
	return output->bytes;
}

int64_t output_kept(const struct output *output) {
	return output->kept;
}

void output_free(struct output *output) {
	if (!output) return;
	output_acknowledge(output, output->next_seq);
	free(output->chunks);
	free(output);
}

struct output *output_new(int64_t cap_bytes) {
	struct output *output = mem_zalloc(sizeof(*output));
	output->cap_bytes = cap_bytes;
	output->last_length = CHUNK_LEAST;
	return output;
}
