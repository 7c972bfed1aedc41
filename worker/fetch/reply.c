#include "worker/fetch/reply.h"

#include "lib/mem.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

json_t *reply_text(const char *text) {
	if (!text) return json_null();
	AUTO_FREE char *copy = mem_strdup(text);
	for (char *at = copy; *at; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f) *at = '?';
	json_t *json = json_string(copy);
	if (json) return json;
	for (char *at = copy; *at; at++)
		if ((unsigned char)*at >= 0x80) *at = '?';
	return json_string(copy);
}

json_t *reply_failure(const struct outcome *outcome) {
	const char *blame = blame_name(outcome->blame);
	return json_pack("{s:b, s:s, s:s, s:o}", "ok", 0, "code", outcome_code_name(outcome->code), "blame",
		blame ? blame : "platform", "message", reply_text(outcome->message));
}

static int write_all(int fd, const char *data, size_t length) {
	while (length > 0) {
		ssize_t done = write(fd, data, length);
		if (done < 0 && errno == EINTR) continue;
		if (done < 0) return -1;
		data += done;
		length -= (size_t)done;
	}
	return 0;
}

int reply_write(int fd, json_t *answer) {
	AUTO_FREE char *text = json_write(answer);
	json_decref(answer);
	if (!text) return -1;
	AUTO_FREE char *line = mem_format("%s\n", text);
	return strlen(line) > REPLY_BYTES_MAX ? -1 : write_all(fd, line, strlen(line));
}
