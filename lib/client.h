// A small HTTP client on a loop, by libcurl's multi interface. No other file includes libcurl.
#pragma once

#include "lib/error.h"
#include "lib/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct client;

struct client *client_new(struct loop *loop) MUST_USE;
void client_free(struct client *client); // requests under way are dropped without a call

struct client_upload {
	int file;
	int64_t offset, bytes;
};
struct client_request {
	const char *url;            // http or https
	const char *const *headers; // "Name: value", NULL-terminated; NULL: none
	const char *unix_socket;    // NULL: TCP
	const char *ca_file;        // PEM of whom https trusts; NULL: the system's
	const char *method;         // NULL: GET
	const char *body;           // NULL: none
	// Instead of a body: `upload` says what of a file, by PUT; NULL: none. It and the file must stay until the end.
	const struct client_upload *upload;
	// AWS Signature Version 4: "aws:amz:REGION:SERVICE", and "ID:SECRET" to sign with; NULL: not signed.
	const char *sigv4, *credentials;
	size_t most_bytes; // larger answers fail (ERROR_LIMIT)
	bool only_status;  // they do not fail: what came of them is not of interest
	// Whether an address may be dialled, asked of each before it is; one that may not be ends it all (ERROR_DENIED). Such requests
	// share no connections. NULL: any.
	bool (*may_dial)(const struct sockaddr *address);
	int64_t timeout_ms;
	// Set before `done`: how long the answer asks to wait (Retry-After, RFC 9110 section 10.2.3); 0: it does not. NULL: of no interest.
	int64_t *retry_after_s;
};
// status 0: no answer (error says why); body is NUL-terminated. No redirects are followed, no proxy is used.
typedef void client_done(int status, const char *body, size_t length, const struct error *error, void *arg);
char *client_escape(const char *text) MUST_USE; // percent-encoded, for a part of a URL; owned by the caller
void client_send(struct client *client, const struct client_request *request, client_done *done,
	void *arg); // copies; done comes from the loop, never from inside
