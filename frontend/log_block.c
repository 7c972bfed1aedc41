#include "frontend/log_block.h"

#include "lib/json.h"
#include "lib/mem.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

struct log_block *log_block_new(int64_t attempt, int64_t from_seq) {
	struct log_block *block = mem_zalloc(sizeof *block);
	*block = (struct log_block){.holders = 1, .attempt = attempt, .from_seq = from_seq, .to_seq = from_seq};
	return block;
}

struct log_block *log_block_hold(struct log_block *block) {
	block->holders++;
	return block;
}

void log_block_drop(struct log_block *block) {
	if (!block || --block->holders) return;
	free(block->chunks);
	free(block->data);
	free(block->events);
	free(block);
}

void log_block_add(struct log_block *block, int64_t seq, int stream, int64_t at_ms, const void *data, size_t length) {
	if (block->count == block->room) {
		block->room = block->room ? 2 * block->room : 1;
		block->chunks = mem_resize(block->chunks, block->room, sizeof *block->chunks);
	}
	block->data = mem_resize(block->data, block->length + length + 1, 1);
	memcpy(block->data + block->length, data, length);
	block->chunks[block->count++] =
		(struct log_chunk){.seq = seq, .at_ms = at_ms, .stream = stream, .from = block->length, .length = length};
	block->length += length;
	block->to_seq = seq + 1;
}

size_t log_block_bytes(const struct log_block *block) {
	return sizeof *block + block->room * sizeof *block->chunks + block->length + block->events_length;
}

size_t log_block_find(const struct log_block *block, int64_t seq) {
	size_t low = 0, high = block->count;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (block->chunks[middle].seq < seq)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

// ---- events

// RFC 4648 section 4.
static void write_base64(FILE *out, const unsigned char *data, size_t length) {
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	for (size_t i = 0; i < length; i += 3) {
		unsigned bits = (unsigned)data[i] << 16;
		if (i + 1 < length) bits |= (unsigned)data[i + 1] << 8;
		if (i + 2 < length) bits |= data[i + 2];
		putc(digits[bits >> 18], out);
		putc(digits[bits >> 12 & 63], out);
		putc(i + 1 < length ? digits[bits >> 6 & 63] : '=', out);
		putc(i + 2 < length ? digits[bits & 63] : '=', out);
	}
}

static void write_moment(FILE *out, int64_t at_ms) {
	time_t seconds = (time_t)(at_ms / 1000);
	struct tm utc;
	char text[40];
	if (!gmtime_r(&seconds, &utc) || !strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc)) *text = '\0';
	fprintf(out, "%s.%03dZ", text, (int)(at_ms % 1000));
}

static void write_text(FILE *out, const char *data, size_t length) {
	AUTO_JSON json_t *text = json_stringn(data, length); // NULL: no UTF-8
	if (!text) {
		fputs("\"base64\":\"", out);
		write_base64(out, (const unsigned char *)data, length);
		putc('"', out);
		return;
	}
	fputs("\"text\":", out);
	if (json_dumpf(text, out, JSON_ENCODE_ANY)) abort();
}

static void write_event(FILE *out, const struct log_block *block, const struct log_chunk *chunk) {
	fprintf(out,
		"id: %" PRId64 ".%" PRId64 "\nevent: output\ndata: {\"attempt\":%" PRId64 ",\"seq\":%" PRId64
		",\"stream\":\"%s\",\"at\":\"",
		block->attempt, chunk->seq, block->attempt, chunk->seq, chunk->stream == 2 ? "stderr" : "stdout");
	write_moment(out, chunk->at_ms);
	fputs("\",", out);
	write_text(out, block->data + chunk->from, chunk->length);
	fputs("}\n\n", out);
}

void log_block_make_events(struct log_block *block) {
	if (block->events) return;
	FILE *out = open_memstream(&block->events, &block->events_length);
	if (!out) abort();
	for (size_t i = 0; i < block->count; i++) {
		struct log_chunk *chunk = &block->chunks[i];
		chunk->event = (size_t)ftell(out);
		write_event(out, block, chunk);
		chunk->event_length = (size_t)ftell(out) - chunk->event;
	}
	if (fclose(out)) abort();
}
