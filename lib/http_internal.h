// What the files of lib/http share. Nobody else includes it, nor libmicrohttpd.
//
// Theory of operation. libmicrohttpd runs without threads, on an epoll descriptor of its own that the loop watches; all its
// work happens inside one function, http.c's `work`. A request goes through
//
//	READING --headers, body--> HANDLING --handler returned, nothing said yet--> WAITING --answer--> ANSWERING --> over
//
// HANDLING to WAITING takes two calls of libmicrohttpd, on purpose: it is told "nothing yet" once before the connection is
// suspended in the second call, because a connection suspended in the first is still marked as one that wants to read.
// When resumed, such a connection reads before it writes: a system call for nothing, and pipelined requests fill up the
// memory that the answer's headers need.
//
// While a connection is suspended libmicrohttpd does not look at it, and an end that comes together with data it overlooks
// (its epoll is edge-triggered, and after a short read it waits for the next edge). So a watch of ours for EPOLLRDHUP on
// each connection finds out that the client left; it is there until it fires, so that it costs nothing per request. A client
// that has shut down its sending side gets the answers that are given at once; if it would have to wait, it counts as gone.
//
// A time limit is a place in one of two queues, each ordered by time because all its members wait equally long: no timer is
// touched per request.
#pragma once

#include "lib/http.h"
#include "lib/prefix.h"

#include <microhttpd.h>
#include <netinet/in.h>
#include <sys/queue.h>

struct http_counts;
struct http_origins;
struct http_packing;

enum http_clock { HTTP_CLOCK_NONE, HTTP_CLOCK_DEADLINE, HTTP_CLOCK_IDLE };

struct http_connection {
	TAILQ_ENTRY(http_connection) clock_entry;
	LIST_ENTRY(http_connection) entry;
	struct http_server *server;
	struct MHD_Connection *mhd;
	struct loop_fd *watch; // NULL once it has fired
	struct http_request *request;
	int64_t expires_ms;
	uint64_t acked;          // bytes that the client had acknowledged when its idle clock last ran out
	struct in6_addr address; // IPv4 in its mapped form (RFC 4291 section 2.5.5.2)
	int fd;
	enum http_clock clock;
	bool proxy;   // one of trusted_proxies
	bool hung_up; // the client has shut down its sending side, or is gone; it stands in the server's list of those
	bool cut;     // shut down by us
};
TAILQ_HEAD(http_clock_queue, http_connection);
LIST_HEAD(http_connections, http_connection);

struct http_server {
	struct http_config config; // what it points to is copied or used at the start only, but for the routes and arg
	struct loop *loop;
	struct MHD_Daemon *daemon;
	struct loop_fd *watch;
	struct loop_timer *soon;  // work is due that no descriptor tells of
	struct loop_timer *clock; // for the earlier of the two queues' heads
	int64_t clock_at_ms;
	struct http_clock_queue deadlines, idlers;
	struct http_connections live, hung_up;
	struct prefixes *proxies; // trusted ones
	struct http_origins *origins;
	struct http_counts *counts;
	void *owned; // freed with the server
	unsigned connections, pending;
	uint16_t port;
	bool quiet; // has stopped accepting
	bool closing;
};

enum http_stage { HTTP_READING, HTTP_HANDLING, HTTP_WAITING, HTTP_ANSWERING };

struct http_field {
	struct http_field *next;
	char *name, *value; // both inside the same allocation
	size_t length;      // of the value, which may contain NULs
};

struct http_request {
	struct http_connection *connection;
	struct MHD_Connection *mhd;
	enum http_stage stage;
	int64_t started_us;
	char id[65];
	char *target; // as it came
	const char *method, *version;
	char *path; // decoded; NULL until parsed
	const struct http_route *route;
	char *client;               // made when asked for
	struct http_field *params;  // query, then form
	struct http_field *copies;  // header values and path parameters that were handed out
	struct http_field *headers; // of the answer
	char *body;
	size_t body_length, body_size;
	bool headers_read, too_large, suspended, cut;
	struct MHD_Response *response; // ready, not yet handed to libmicrohttpd
	int status;                    // of the answer; 0: none yet
	void (*gone)(void *arg);
	void *gone_arg;
	ssize_t (*stream_more)(char *buffer, size_t size, void *arg);
	void (*stream_gone)(void *arg);
	void *stream_arg;
	bool stream_woken, streams, may_pack;
	struct http_packing *packing; // of a stream that is
};

// ---- http.c
void http_server_soon(struct http_server *server);                                     // a turn in the loop's next round
void http_connection_clock(struct http_connection *connection, enum http_clock clock); // starts it anew
void http_connection_cut(struct http_connection *connection); // libmicrohttpd finds it closed and cleans up

// ---- http_request.c
struct http_request *http_request_new(struct http_connection *connection, const char *target) MUST_USE;
void http_request_free(struct http_request *request);
// Looks at the headers, and answers at once what cannot be served.
void http_request_headers(struct http_request *request, const char *method, const char *version);
void http_request_upload(struct http_request *request, const char *data, size_t length);
void http_request_dispatch(struct http_request *request); // the whole request is there

// ---- http_route.c
// An exact route hides those with parameters, and these hide the prefixes.
enum http_rank { HTTP_RANK_EXACT, HTTP_RANK_TEMPLATE, HTTP_RANK_PREFIX, HTTP_RANK_NONE };
// NULL: none takes the method; *rank is then HTTP_RANK_NONE where the path is not known at all.
const struct http_route *http_route_find(
	const struct http_route *routes, size_t count, const char *path, const char *method, enum http_rank *rank) MUST_USE;
// For Allow: the methods of those of that rank. Owned by the caller.
char *http_route_methods(const struct http_route *routes, size_t count, const char *path, enum http_rank rank) MUST_USE;
// What stands in the path for the route's parameter; NULL: it has none of that name.
const char *http_route_param(const struct http_route *route, const char *path, const char *name, size_t *length) MUST_USE;

// ---- http_answer.c
// Hands the answer, if there is one, to libmicrohttpd; from its callback, or while the connection is suspended.
enum MHD_Result http_request_send(struct http_request *request);
void http_request_resume(struct http_request *request);
void http_request_lost(struct http_request *request); // tells the handler that nobody waits for its answer any more
void http_stream_close(struct http_request *request);
void http_field_add(struct http_field **list, const char *name, const char *value, size_t length); // at the end; copied
void http_field_free(struct http_field *list);

// ---- http_pack.c
// The body packed, with its headers added, to be freed; NULL: it is sent as it is.
char *http_pack(struct http_request *request, int status, const char *body, size_t length, size_t *packed_length) MUST_USE;
void http_pack_stream(struct http_request *request);
ssize_t http_pack_more(struct http_request *request, char *buffer, size_t size); // as stream_more, which it calls
void http_packing_free(struct http_packing *packing);

// ---- http_wish.c
bool http_wish_coding(const char *list, const char *coding) MUST_USE;               // of Accept-Encoding
size_t http_wish_language(const char *list, const char *const *languages) MUST_USE; // of Accept-Language: an index

// ---- http_cors.c
int http_origins_parse(const char *text, struct http_origins **origins, struct error *error) MUST_USE;
void http_origins_free(struct http_origins *origins);
void http_cors_answer(struct http_request *request);                         // adds the headers of any answer
void http_cors_preflight(struct http_request *request, const char *methods); // and those of one to OPTIONS

// ---- http_peer.c
void http_address_of(const struct sockaddr *peer, struct in6_addr *address);
char *http_address_text(const struct in6_addr *address) MUST_USE;
// Who is behind a trusted proxy, by the X-Forwarded-For entries (all of them, joined by commas; written over).
void http_proxies_client(const struct prefixes *proxies, char *forwarded, struct in6_addr *address);
bool http_host_valid(const char *host); // a name or an address, and perhaps a port (RFC 9110 section 7.2)
// Connections by address; IPv6 by its /64, which is what one customer gets.
struct http_counts *http_counts_new(void) MUST_USE;
void http_counts_free(struct http_counts *counts);
unsigned http_counts_get(const struct http_counts *counts, const struct in6_addr *address);
void http_counts_change(struct http_counts *counts, const struct in6_addr *address, int by);

// ---- http_metrics.c
void http_refused(bool by_address); // a connection over the limit in all, or over that of its address
