// One HTTP exchange at a time that the caller waits for, by libcurl: for commands, which have nothing else to do. Daemons use
// lib/client. As with curl the environment's proxies are used, and the connection is kept for the next call. No redirects.
#pragma once

#include "lib/error.h"

#include <stddef.h>
#include <stdint.h>

struct client_caller;

struct client_caller *client_caller_new(void) MUST_USE;
void client_caller_free(struct client_caller *caller); // NULL is fine

struct client_call {
	const char *url;            // http or https
	const char *const *headers; // "Name: value", NULL-terminated; NULL: none
	const char *method;         // NULL: GET
	const char *body;           // NULL: none
	const char *ca_file;        // PEM of whom https trusts; NULL: the system's
	size_t most_bytes;          // a larger answer that is kept fails (ERROR_LIMIT)
	int64_t timeout_ms;         // of the whole; 0: none
	int64_t silence_s;          // longest time without a byte; 0: any
	int stop_fd;                // when it is readable, the call fails (ERROR_CONFLICT); -1: none
	// Of an answer with a 2xx status: takes what arrives, and nothing is kept. Not 0: the call ends there, well.
	int (*sink)(const char *data, size_t length, void *arg);
	// Called about every tick_ms while the call lasts. It may use other callers.
	void (*tick)(void *arg);
	int64_t tick_ms;
	void *arg; // of sink and tick
};

struct client_reply {
	int status;
	char *body; // NUL-terminated; "" where a sink took it
	size_t length;
	char *headers; // as they came, each line ended by a newline
};

// 0: there was an answer, whatever its status. ERROR_UNAVAILABLE: none, or it broke off (reply holds what came of its headers).
int client_call(
	struct client_caller *caller, const struct client_call *call, struct client_reply *reply, struct error *error) MUST_USE;
char *client_reply_header(const struct client_reply *reply, const char *name) MUST_USE; // owned by the caller; NULL: none
void client_reply_clear(struct client_reply *reply);
