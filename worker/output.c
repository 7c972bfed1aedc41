#include "worker/output.h"

#include "lib/mem.h"

#include <string.h>

#define CHUNK_BYTES 16384
#define CHUNK_LEAST 32 // a row for less is charged against the cap: a byte here and a byte there would make a million rows
#define CHUNK_MS    50 // what comes later gets a time of its own

struct chunk {
	int64_t seq;
	int stream;
	int64_t at_ms;
	size_t length;
	char *data;
	bool closed; // was handed out
};

struct output {
	int64_t cap_bytes, bytes, kept, next_seq;
	int64_t last_length;
	int64_t charged;      // for chunks that are too small for the row they take
	struct chunk *chunks; // not acknowledged, by seq
	size_t count, room;
};

static struct chunk *open_chunk(struct output *output, int stream, int64_t wall_ms) {
	struct chunk *last = output->count > 0 ? &output->chunks[output->count - 1] : NULL;
	if (last && !last->closed && last->stream == stream && last->length < CHUNK_BYTES && wall_ms - last->at_ms < CHUNK_MS)
		return last;
	if (output->last_length < CHUNK_LEAST) output->charged += CHUNK_LEAST - output->last_length;
	if (!output->chunks || output->count == output->room) {
		output->room = output->room ? output->room * 2 : 4;
		output->chunks = mem_resize(output->chunks, output->room, sizeof(*output->chunks));
	}
	last = &output->chunks[output->count++];
	*last = (struct chunk){.seq = output->next_seq++, .stream = stream, .at_ms = wall_ms};
	return last;
}

void output_add(struct output *output, int stream, const char *data, size_t length, int64_t wall_ms) {
	output->bytes += (int64_t)length;
	int64_t left = output->cap_bytes - output->kept - output->charged;
	if ((int64_t)length > left) length = left > 0 ? (size_t)left : 0;
	output->kept += (int64_t)length;
	while (length > 0) {
		struct chunk *chunk = open_chunk(output, stream, wall_ms);
		size_t part = CHUNK_BYTES - chunk->length < length ? CHUNK_BYTES - chunk->length : length;
		chunk->data = mem_resize(chunk->data, chunk->length + part, 1);
		memcpy(chunk->data + chunk->length, data, part);
		chunk->length += part;
		output->last_length = (int64_t)chunk->length;
		data += part;
		length -= part;
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

void output_gather(struct output *output, int64_t number, struct output_columns *columns) {
	columns_grow(columns, output->count);
	for (size_t i = 0; i < output->count; i++) {
		struct chunk *chunk = &output->chunks[i];
		size_t row = columns->count++;
		chunk->closed = true;
		columns->numbers[row] = number;
		columns->seqs[row] = chunk->seq;
		columns->streams[row] = chunk->stream;
		columns->moments[row] = chunk->at_ms;
		columns->data[row] = chunk->data;
		columns->lengths[row] = chunk->length;
	}
}

void output_columns_params(const struct output_columns *columns, struct db_params *params) {
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

int64_t output_params(struct output *output, struct db_params *params) {
	struct output_columns columns = {0};
	output_gather(output, 0, &columns);
	output_columns_params(&columns, params);
	output_columns_clear(&columns);
	return output->next_seq;
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

bool output_truncated(const struct output *output) {
	return output->bytes > output->kept;
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
