#include "cli/sse.h"

#include "lib/mem.h"

#include <stdbool.h>
#include <string.h>

static bool append(char **text, size_t *length, size_t *room, const char *more, size_t count) {
	if (count > SSE_MOST - *length) return false;
	if (*length + count + 1 > *room) {
		*room = 2 * (*length + count + 1);
		*text = mem_resize(*text, *room, 1);
	}
	if (count) memcpy(*text + *length, more, count);
	*length += count;
	(*text)[*length] = '\0';
	return true;
}

static void reset(struct sse *sse) {
	free(STEAL(sse->name));
	free(STEAL(sse->next_id));
	sse->data_length = 0;
	sse->too_long = sse->has_data = 0;
}

// Only an event that is whole has been seen: a stream that breaks within one goes on before it.
static void dispatch(struct sse *sse) {
	if (sse->next_id) {
		free(sse->id);
		sse->id = STEAL(sse->next_id);
	}
	if (sse->has_data && !sse->too_long)
		sse->event(sse->name && *sse->name ? sse->name : "message", sse->data, sse->data_length - 1, sse->arg);
	reset(sse);
}

static bool is_field(const char *line, size_t length, const char *name) {
	return strlen(name) == length && memcmp(line, name, length) == 0;
}

static void take_field(struct sse *sse, const char *line, size_t name, const char *value, size_t length) {
	if (is_field(line, name, "data")) {
		bool fits = append(&sse->data, &sse->data_length, &sse->data_room, value, length) &&
			    append(&sse->data, &sse->data_length, &sse->data_room, "\n", 1);
		if (!fits) sse->too_long = 1;
		sse->has_data = 1;
	} else if (is_field(line, name, "event")) {
		free(sse->name);
		sse->name = mem_strndup(value, length);
	} else if (is_field(line, name, "id") && !memchr(value, '\0', length)) {
		free(sse->next_id);
		sse->next_id = mem_strndup(value, length);
	}
}

static void end_line(struct sse *sse) {
	const char *line = sse->line ? sse->line : "";
	size_t length = sse->line_length;
	sse->line_length = 0;
	if (length == 0) {
		dispatch(sse);
		return;
	}
	const char *colon = memchr(line, ':', length);
	size_t name = colon ? (size_t)(colon - line) : length, begin = colon ? name + 1 : length;
	if (begin < length && line[begin] == ' ') begin++;
	if (name) take_field(sse, line, name, line + begin, length - begin); // else a comment
}

void sse_take(struct sse *sse, const char *bytes, size_t length) {
	for (size_t i = 0; i < length;) {
		bool skip = sse->skips_newline && bytes[i] == '\n';
		sse->skips_newline = 0;
		if (skip) {
			i++;
			continue;
		}
		size_t end = i;
		while (end < length && bytes[end] != '\n' && bytes[end] != '\r') end++;
		if (!append(&sse->line, &sse->line_length, &sse->line_room, bytes + i, end - i)) sse->too_long = 1;
		if (end < length) {
			sse->skips_newline = bytes[end] == '\r';
			end_line(sse);
		}
		i = end + 1;
	}
}

void sse_restart(struct sse *sse) {
	reset(sse);
	sse->line_length = 0;
	sse->skips_newline = 0;
}

void sse_clear(struct sse *sse) {
	free(sse->line);
	free(sse->data);
	free(sse->name);
	free(sse->id);
	free(sse->next_id);
	*sse = (struct sse){0};
}
