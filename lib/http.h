// An HTTP/1.1 server on a loop, by libmicrohttpd with its epoll descriptor inside ours. No other file includes it.
//
// A handler is called once a request, when its whole body (up to the limit) has arrived. It answers at once or later: in
// between the connection is suspended. Each request must be answered exactly once, by http_answer, http_problem or
// http_stream; the deadline does it (503, or cuts the connection) where nobody else has. All from the loop's thread.
#pragma once

#include "lib/error.h"
#include "lib/json.h"
#include "lib/loop.h"
#include "lib/option.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_server;
struct http_request;

struct http_route {
	// Exact; with parameters, "{name}" for one segment each that is not empty, at the end "{name*}" for all that is left; or a prefix where it ends with "/" followed by
	// "*". An exact one goes before one with parameters, and that before a prefix.
	const char *path;
	const char *
		methods; // space-separated: "GET POST"; HEAD is served by GET's handler unless listed; others get 405 with Allow
	void (*handle)(struct http_request *request, void *arg);
};

struct http_config {
	const char *listen; // host:port, [v6]:port; port 0: any
	const struct http_route *routes;
	size_t route_count;
	void *arg;                        // of all handlers
	size_t header_bytes;              // most for request line and headers; else 431 or 414
	size_t target_bytes;              // most for the request target; else 414
	size_t body_bytes;                // most; else 413, after the body was read to its end and thrown away
	unsigned connections;             // in all; above it new ones are refused
	unsigned connections_per_address; // 0: no limit; an IPv6 address counts as its /64, a trusted proxy is not limited
	int64_t deadline_ms; // a request's total time from its request line to the answer's start; also up to the first line
	int64_t idle_ms;     // a kept-alive connection until its next request line, and an answer that nobody reads
	// What a client must take of an answer, over idle_ms in which there always was more of it; 0: any byte. A stream that has nothing
	// to say for a moment begins anew.
	int64_t least_bytes_per_s;
	const char *trusted_proxies; // comma-separated addresses/prefixes whose X-Forwarded-For counts; NULL: none
	const char *
		cors_origins; // comma-separated: whose pages may read answers (the Fetch standard's CORS), "*": anybody's; NULL: nobody's
	const char *const
		*languages; // tags, NULL behind them; the first where the client has no wish; NULL: the texts have none
	// A problem's title or detail, which are in the first language, in another; to be freed.
	char *(*translate)(size_t language, const char *text);
	// Called when an answer was sent or the client had gone (status 0 then), for access log and metrics; may be NULL.
	void (*finished)(const struct http_request *request, int status, int64_t took_us, void *arg);
};

int http_origins_check(const char *text, struct error *error) MUST_USE; // as cors_origins
int http_server_open(
	struct loop *loop, const struct http_config *config, struct http_server **server, struct error *error) MUST_USE;
uint16_t http_server_port(const struct http_server *server);
unsigned http_server_connections(const struct http_server *server);
void http_server_quiesce(struct http_server *server);           // stops accepting; requests under way go on
unsigned http_server_pending(const struct http_server *server); // requests not yet fully answered
void http_server_close(struct http_server *server);             // cuts what is left

// ---- reading a request (strings live as long as the request)
const char *http_method(const struct http_request *request);
const char *http_path(const struct http_request *request); // decoded
// The part of the path that stands for {name} in the route; NULL: the route has no such parameter.
const char *http_path_param(const struct http_request *request, const char *name);
const char *http_id(
	const struct http_request *request); // X-Request-Id: the client's if it is 1-64 of [A-Za-z0-9._-], else a new UUIDv7
const char *http_client(const struct http_request *request);                   // address as text, proxies considered
const char *http_header(const struct http_request *request, const char *name); // NULL: absent; case-insensitive
// "http://host:port" as the client named this server: by Host, of trusted proxies by X-Forwarded-Proto and -Host. To be freed;
// NULL: what it sent is no host.
char *http_origin(const struct http_request *request) MUST_USE;
// Number of headers of that name (two Authorization headers are an error of the client's).
unsigned http_header_count(const struct http_request *request, const char *name);
// Query parameter, percent-decoded, or a form's field (application/x-www-form-urlencoded POST; the form is looked at where the
// query has none). *length may contain NULs: compare it with strlen. NULL: absent. "" where it has no value.
const char *http_param(const struct http_request *request, const char *name, size_t *length);
const char *http_param_name(const struct http_request *request, size_t index); // in the order in which they came; NULL: no more
unsigned http_param_count(const struct http_request *request, const char *name); // query and form together
const char *http_body(const struct http_request *request, size_t *length);
bool http_body_is(const struct http_request *request, const char *type); // by its media type, parameters aside
// The body as a JSON object, to be dropped by json_decref; or -1: answered, with 415 for another type and 400 (where, and why)
// for what is no JSON object or names a member twice.
int http_json(struct http_request *request, json_t **object) MUST_USE;
// Whether an answer may be in that content coding (RFC 9110 section 12.5.3).
bool http_accepts_coding(const struct http_request *request, const char *coding) MUST_USE;
// The index in the server's languages of the one that the client would rather read (section 12.5.4).
size_t http_language(const struct http_request *request) MUST_USE;
int64_t http_deadline_left_ms(const struct http_request *request);

// ---- answering. Every answer carries X-Request-Id, Cache-Control: no-store (unless set) and X-Content-Type-Options: nosniff.
void http_answer_header(struct http_request *request, const char *name, const char *value); // before the answer; copied
void http_answer_language(struct http_request *request); // before the answer: it is in http_language
// Before the answer: a large 200, or a stream of unknown length, is sent by gzip to whoever takes it so. Not for what must arrive bit
// by bit, nor where a secret stands beside what anybody may have put into the request (BREACH).
void http_answer_packed(struct http_request *request);
void http_answer(struct http_request *request, int status, const char *type, const char *body, size_t length); // body copied
void http_answer_text(struct http_request *request, int status, const char *type, const char *text);
// RFC 9457 problem document; type "about:blank" when NULL, title from the status when NULL. extra: further members as a JSON
// object text ("{\"key\":…}") or NULL. Sends Retry-After where retry_after_s > 0.
struct http_problem {
	int status;
	const char *type, *title, *detail, *extra;
	int64_t retry_after_s;
};
void http_problem(struct http_request *request, const struct http_problem *problem);

// A body of unknown length in constant memory. `more` is called when the client can take more: it writes into the buffer and
// returns the number of bytes, 0 to be called again after http_stream_wake, -1 at the end, -2 to cut the connection (an
// error that the client must notice). `gone` is called exactly once when the stream is over, however it ends.
void http_stream(struct http_request *request, int status, const char *type,
	ssize_t (*more)(char *buffer, size_t size, void *arg), void (*gone)(void *arg), void *arg);
bool http_streams(const struct http_request *request); // whether its answer is one of unknown length
// The same of exactly that many bytes, with Content-Length; whoever ends it before cuts the connection.
void http_stream_sized(struct http_request *request, int status, const char *type, uint64_t length,
	ssize_t (*more)(char *buffer, size_t size, void *arg), void (*gone)(void *arg), void *arg);
void http_stream_wake(struct http_request *request);

// Takes back the headers that were added so far: they were of another answer.
void http_answer_anew(struct http_request *request);

// Whether the client has it already, by If-None-Match (RFC 9110 section 13.1.2). etag: with its quotes.
bool http_none_match(const struct http_request *request, const char *etag) MUST_USE;
// For a body any part of which can be had: looks at If-None-Match, If-Range and Range (RFC 9110 section 14; of several ranges
// the whole is sent) and adds ETag, Accept-Ranges and Content-Range. Returns 200 or 206, which is to be answered with the
// bytes from *from on, *length of them; or 0: answered with 304 or 416.
int http_part(struct http_request *request, const char *etag, uint64_t size, uint64_t *from, uint64_t *length) MUST_USE;

// Called at most once, if the client goes away or the deadline answers before the handler's answer: the request must
// not be touched afterwards. Set it before returning from the handler with the answer still owed.
void http_on_gone(struct http_request *request, void (*fn)(void *arg), void *arg);

// ---- /metrics, /livez, /readyz on METRICS_LISTEN, for every daemon; or as routes of another server.
#define OPTION_METRICS(place)                                                                                                  \
	{                                                                                                                      \
		.name = "METRICS_LISTEN", .type = OPTION_LISTEN, .value = &(place), .fallback = "",                            \
		.help = "where /metrics, /livez and /readyz are served; empty: nowhere; port 0: any free one"                  \
	}
// ready: 1, or 0 and a reason for people. listen empty: *server is NULL, no error.
void http_handle_metrics(struct http_request *request, void *arg); // arg is not used
void http_handle_livez(struct http_request *request, void *arg);
int http_metrics_open(struct loop *loop, const char *listen, int (*ready)(char **reason, void *arg), void *arg,
	struct http_server **server, struct error *error) MUST_USE;
