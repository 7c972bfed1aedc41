// The frontend's interface, asked as whoever is logged in.
#pragma once

#include "lib/client_call.h"
#include "lib/json.h"

#include <stdbool.h>

struct call {
	const char *method;     // NULL: GET
	const char *path;       // "/api/v1/…", escaped
	const json_t *body;     // NULL: none
	const char *headers[4]; // "Name: value", up to a NULL
	bool patient;           // again where no answer came, or a 503: the call may be repeated
	bool stream;            // no end of its time, but of its silence
	size_t most_bytes;      // 0: CALL_MOST
	int (*sink)(const char *data, size_t length, void *arg); // as client_call's
	void (*tick)(void *arg);
	int64_t tick_ms;
	void *arg;
};

#define CALL_MOST      ((size_t)64 << 20)
#define CALL_SILENCE_S 45 // a stream says something every 15 s

// 0: an answer of 2xx or 304. Else the error says why, in the server's words where it has some; reply->status is 0 where none came.
// 401: another token is tried once. 429 and 503: as the server says, again, some times. ERROR_CONFLICT: interrupted (cli_stopped), or 409.
int call_send(const struct call *call, struct client_reply *reply, struct error *error) MUST_USE;
// A call whose answer is JSON.
int call_json(const struct call *call, json_t **json, struct error *error) MUST_USE;
int call_get(json_t **json, struct error *error, const char *format, ...) MUST_USE PRINTF(3, 4); // the path
// "?a=1&b=2" and more of it: name=value is appended, escaped; value NULL: nothing is.
void call_query(char **path, const char *name, const char *value);
// The job that an operand names, as the key; none: the newest of the caller's. Owned by the caller.
char *call_key(size_t count, const char *const *operands, struct error *error) MUST_USE;
// The path of what Link calls next, or NULL; owned by the caller.
char *call_next(const struct client_reply *reply) MUST_USE;
