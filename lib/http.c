// The server and its connections: listening, the turns of libmicrohttpd, limits and clocks. See http_internal.h.
#include "lib/http.h"

#include "lib/http_internal.h"
#include "lib/mem.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <string.h>

// libmicrohttpd may want several turns in a row (resume, write, read on); after so many, others of the loop come first.
#define TURNS_MOST 6

// Above the default, later versions refuse what RFC 9112 only lets a server tolerate, such as spaces in the target.
#if MHD_VERSION >= 0x00097701
#define STRICT MHD_OPTION_CLIENT_DISCIPLINE_LVL, 1,
#else
#define STRICT
#endif

// ---- clocks

static int64_t clock_ms(const struct http_server *server, enum http_clock clock) {
	return clock == HTTP_CLOCK_DEADLINE ? server->config.deadline_ms : server->config.idle_ms;
}

static struct http_clock_queue *clock_queue(struct http_server *server, enum http_clock clock) {
	return clock == HTTP_CLOCK_DEADLINE ? &server->deadlines : &server->idlers;
}

static void wind_clock(struct http_server *server, int64_t at_ms) {
	if (loop_timer_active(server->clock) && server->clock_at_ms <= at_ms) return;
	server->clock_at_ms = at_ms;
	loop_timer_set(server->clock, at_ms - loop_now_ms());
}

static void stop_clock(struct http_connection *connection) {
	if (connection->clock == HTTP_CLOCK_NONE) return;
	TAILQ_REMOVE(clock_queue(connection->server, connection->clock), connection, clock_entry);
	connection->clock = HTTP_CLOCK_NONE;
}

void http_connection_clock(struct http_connection *connection, enum http_clock clock) {
	struct http_server *server = connection->server;
	stop_clock(connection);
	if (clock == HTTP_CLOCK_NONE) return;
	connection->clock = clock;
	connection->expires_ms = loop_now_ms() + clock_ms(server, clock);
	TAILQ_INSERT_TAIL(clock_queue(server, clock), connection, clock_entry);
	wind_clock(server, connection->expires_ms);
}

// Whether the client has taken enough since its idle clock last ran out. What it took of earlier answers counts, too, so that the
// first time is lenient: to ask at each answer's start would be a system call for each.
static bool takes_answer(struct http_connection *connection) {
	struct tcp_info info = {.tcpi_bytes_acked = 0};
	socklen_t size = sizeof(info);
	if (getsockopt(connection->fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return false;
	const struct http_config *config = &connection->server->config;
	uint64_t taken = info.tcpi_bytes_acked - connection->acked;
	connection->acked = info.tcpi_bytes_acked;
	return taken > 0 && taken >= (uint64_t)(config->least_bytes_per_s * config->idle_ms / 1000);
}

static void expire(struct http_connection *connection) {
	struct http_request *request = connection->request;
	if (request && request->stage == HTTP_ANSWERING && takes_answer(connection)) {
		http_connection_clock(connection, HTTP_CLOCK_IDLE);
		return;
	}
	stop_clock(connection);
	if (!request || (request->stage != HTTP_HANDLING && request->stage != HTTP_WAITING)) {
		http_connection_cut(connection);
		return;
	}
	http_request_lost(request);
	AUTO_FREE char *detail = mem_format("no answer within %lld ms", (long long)connection->server->config.deadline_ms);
	http_problem(request, &(struct http_problem){.status = 503, .detail = detail, .retry_after_s = 1});
}

static void on_clock(void *arg) {
	struct http_server *server = arg;
	struct http_clock_queue *queues[] = {&server->deadlines, &server->idlers};
	for (size_t i = 0; i < COUNT_OF(queues); i++) {
		struct http_connection *first;
		while ((first = TAILQ_FIRST(queues[i])) && first->expires_ms <= loop_now_ms()) expire(first);
		if (first) wind_clock(server, first->expires_ms);
	}
}

// ---- connections

void http_connection_cut(struct http_connection *connection) {
	if (!connection->cut) shutdown(connection->fd, SHUT_RDWR);
	connection->cut = true;
	struct http_request *request = connection->request;
	if (!request || !request->suspended) return;
	request->cut = true;
	http_request_lost(request);
	http_request_resume(request);
}

static void on_hang_up(uint32_t events, void *arg) {
	(void)events;
	struct http_connection *connection = arg;
	struct http_server *server = connection->server;
	loop_fd_remove(connection->watch); // its events would come for ever
	connection->watch = NULL;
	connection->hung_up = true;
	LIST_REMOVE(connection, entry);
	LIST_INSERT_HEAD(&server->hung_up, connection, entry);
	http_server_soon(server);
}

// Once libmicrohttpd has read all there is: clients that have left, or can never complete the request they began.
static void cut_hung_up(struct http_server *server) {
	struct http_connection *connection = LIST_FIRST(&server->hung_up);
	for (; connection; connection = LIST_NEXT(connection, entry)) {
		struct http_request *request = connection->request;
		if (!request || request->stage == HTTP_READING || request->suspended) http_connection_cut(connection);
	}
}

static void cut_all(struct http_connections *list, bool idle_only) {
	for (struct http_connection *connection = LIST_FIRST(list); connection; connection = LIST_NEXT(connection, entry))
		if (!idle_only || !connection->request) http_connection_cut(connection);
}

static bool is_counted(const struct http_connection *connection) {
	return connection->server->config.connections_per_address > 0 && !connection->proxy;
}

static struct http_connection *connection_new(struct http_server *server, struct MHD_Connection *mhd) {
	struct http_connection *connection = mem_zalloc(sizeof(*connection));
	connection->server = server;
	connection->mhd = mhd;
	connection->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	http_address_of(MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr, &connection->address);
	connection->proxy = prefixes_hold(server->proxies, &connection->address);
	// Who has vanished without a word, or reads nothing, takes no place for longer than who is silent.
	unsigned patience_ms = (unsigned)server->config.idle_ms;
	(void)setsockopt(connection->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience_ms, sizeof(patience_ms));
	connection->watch = loop_fd_add(server->loop, connection->fd, EPOLLRDHUP, on_hang_up, connection);
	LIST_INSERT_HEAD(&server->live, connection, entry);
	server->connections++;
	if (is_counted(connection)) http_counts_change(server->counts, &connection->address, 1);
	// Before its first request a connection has shown nothing: the shorter of the two.
	bool idle = server->config.idle_ms < server->config.deadline_ms;
	http_connection_clock(connection, idle ? HTTP_CLOCK_IDLE : HTTP_CLOCK_DEADLINE);
	return connection;
}

static void connection_free(struct http_connection *connection) {
	struct http_server *server = connection->server;
	stop_clock(connection);
	loop_fd_remove(connection->watch);
	LIST_REMOVE(connection, entry);
	server->connections--;
	if (is_counted(connection)) http_counts_change(server->counts, &connection->address, -1);
	free(connection);
}

// ---- what libmicrohttpd calls

static enum MHD_Result on_accept(void *arg, const struct sockaddr *peer, socklen_t size) {
	(void)size;
	struct http_server *server = arg;
	const struct http_config *config = &server->config;
	if (server->connections >= config->connections) {
		http_refused(false);
		return MHD_NO;
	}
	if (config->connections_per_address == 0) return MHD_YES;
	struct in6_addr address;
	http_address_of(peer, &address);
	if (http_counts_get(server->counts, &address) < config->connections_per_address) return MHD_YES;
	http_refused(true);
	return MHD_NO;
}

static void on_connection(void *arg, struct MHD_Connection *mhd, void **place, enum MHD_ConnectionNotificationCode what) {
	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		*place = connection_new(arg, mhd);
	} else if (*place) {
		connection_free(*place);
		*place = NULL;
	}
}

// The request line has arrived: the earliest that we hear of a request.
static void *on_target(void *arg, const char *target, struct MHD_Connection *mhd) {
	struct http_server *server = arg;
	struct http_connection *connection = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
	connection->request = http_request_new(connection, target);
	server->pending++;
	http_connection_clock(connection, HTTP_CLOCK_DEADLINE);
	return connection->request;
}

// We decode by ourselves, from the target as it came.
static size_t on_unescape(void *arg, struct MHD_Connection *mhd, char *text) {
	(void)arg, (void)mhd;
	return strlen(text);
}

static enum MHD_Result wait_for_answer(struct http_request *request) {
	if (request->connection->hung_up || request->connection->cut) {
		http_request_lost(request);
		return MHD_NO;
	}
	request->stage = HTTP_WAITING;
	MHD_suspend_connection(request->mhd);
	request->suspended = true;
	return MHD_YES;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *mhd, const char *url, const char *method,
	const char *version, const char *data, size_t *length, void **place) {
	(void)arg, (void)mhd, (void)url;
	struct http_request *request = *place;
	if (request->cut) return MHD_NO;
	if (!request->headers_read) {
		request->headers_read = true;
		http_request_headers(request, method, version);
	} else if (*length > 0) {
		http_request_upload(request, data, *length);
		*length = 0;
	} else if (request->stage == HTTP_READING) {
		request->stage = HTTP_HANDLING;
		http_request_dispatch(request);
	} else if (!request->response) {
		return wait_for_answer(request);
	}
	return http_request_send(request);
}

// 0: the client has not got the answer. What libmicrohttpd refused by itself ends "with an error" and has its status.
static int final_status(const struct http_request *request, enum MHD_RequestTerminationCode how) {
	if (how == MHD_REQUEST_TERMINATED_COMPLETED_OK) return request->status;
	if (request->status != 0 || how != MHD_REQUEST_TERMINATED_WITH_ERROR) return 0;
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_HTTP_STATUS);
	return info ? (int)info->http_status : 0;
}

static void on_completed(void *arg, struct MHD_Connection *mhd, void **place, enum MHD_RequestTerminationCode how) {
	(void)mhd;
	struct http_server *server = arg;
	struct http_request *request = *place;
	if (!request) return;
	*place = NULL;
	http_request_lost(request);
	http_stream_close(request);
	if (server->config.finished)
		server->config.finished(
			request, final_status(request, how), loop_now_us() - request->started_us, server->config.arg);
	struct http_connection *connection = request->connection;
	connection->request = NULL;
	server->pending--;
	http_request_free(request);
	http_connection_clock(connection, HTTP_CLOCK_IDLE);
	if (server->quiet) http_connection_cut(connection);
}

// ---- turns

static void work(struct http_server *server) {
	unsigned long long wait_ms = 0;
	loop_timer_stop(server->soon);
	for (int turn = 0; turn < TURNS_MOST; turn++) {
		MHD_run(server->daemon);
		if (MHD_get_timeout(server->daemon, &wait_ms) == MHD_YES && wait_ms == 0) continue;
		cut_hung_up(server);
		return;
	}
	http_server_soon(server);
}

static void on_soon(void *arg) {
	work(arg);
}

static void on_readable(uint32_t events, void *arg) {
	(void)events;
	work(arg);
}

void http_server_soon(struct http_server *server) {
	if (!server->closing && !loop_timer_active(server->soon)) loop_timer_set(server->soon, 0);
}

// ---- the server

// Connections inherit it (Linux): a client that is gone without a word, while a stream has nothing to say, is noticed within two minutes.
static void keep_asking(int fd) {
	int yes = 1, after_s = 60, every_s = 15, times = 4;
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof(yes));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &after_s, sizeof(after_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof(every_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof(times));
}

static int listen_on(const struct addrinfo *place, const char *text, struct error *error) {
	int yes = 1, no = 0;
	AUTO_CLOSE int fd = socket(place->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) return error_set_errno(error, ERROR_UNAVAILABLE, errno, "cannot listen on %s", text);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (place->ai_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
	keep_asking(fd);
	if (bind(fd, place->ai_addr, place->ai_addrlen) != 0 || listen(fd, SOMAXCONN) != 0)
		return error_set_errno(error, ERROR_UNAVAILABLE, errno, "cannot listen on %s", text);
	return steal_fd(&fd);
}

static int open_socket(const char *text, struct error *error) {
	AUTO_FREE char *copy = mem_strdup(text);
	char *host = copy, *port = strrchr(copy, ':');
	if (!port) return error_set(error, ERROR_INPUT, "cannot listen on %s: not HOST:PORT", text);
	*port++ = '\0';
	size_t length = strlen(host);
	if (host[0] == '[' && length >= 2 && host[length - 1] == ']') {
		host[length - 1] = '\0';
		host++;
	}
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	struct addrinfo *place = NULL;
	int code = getaddrinfo(*host ? host : NULL, port, &hints, &place);
	if (code != 0) return error_set(error, ERROR_INPUT, "cannot listen on %s: %s", text, gai_strerror(code));
	int fd = listen_on(place, text, error);
	freeaddrinfo(place);
	return fd;
}

static uint16_t port_of(int fd) {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} address = {.v6 = {.sin6_family = AF_UNSPEC}};
	socklen_t size = sizeof(address);
	if (getsockname(fd, &address.any, &size) != 0) return 0;
	return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

// Room for the largest headers that we answer ourselves, for libmicrohttpd's record of each, and for the answer's.
static size_t memory_of_connection(const struct http_config *config) {
	size_t headers = config->header_bytes > config->target_bytes ? config->header_bytes : config->target_bytes;
	return headers + (headers > 8192 ? headers : 8192);
}

static int start_daemon(struct http_server *server, int fd, struct error *error) {
	const struct http_config *config = &server->config;
	// Above the limit connections are to be closed, not left waiting: on_accept does that, so this one is never met.
	unsigned connections = config->connections + 16;
	server->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, on_accept, server, on_request, server,
		STRICT MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, connections,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, memory_of_connection(config), MHD_OPTION_NOTIFY_CONNECTION, on_connection,
		server, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server, MHD_OPTION_URI_LOG_CALLBACK, on_target, server,
		MHD_OPTION_UNESCAPE_CALLBACK, on_unescape, server, MHD_OPTION_END);
	if (!server->daemon) return error_set(error, ERROR_INTERNAL, "libmicrohttpd does not start on %s", config->listen);
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	server->watch = loop_fd_add(server->loop, info->epoll_fd, EPOLLIN, on_readable, server);
	return 0;
}

static void server_free(struct http_server *server) {
	loop_timer_free(server->soon);
	loop_timer_free(server->clock);
	prefixes_free(server->proxies);
	http_origins_free(server->origins);
	http_counts_free(server->counts);
	free(server->owned);
	free(server);
}

uint16_t http_server_port(const struct http_server *server) {
	return server->port;
}

unsigned http_server_connections(const struct http_server *server) {
	return server->connections;
}

unsigned http_server_pending(const struct http_server *server) {
	return server->pending;
}

void http_server_quiesce(struct http_server *server) {
	if (server->quiet) return;
	server->quiet = true;
	int fd = MHD_quiesce_daemon(server->daemon);
	if (fd >= 0) close(fd);
	cut_all(&server->live, true);
	http_server_soon(server);
}

void http_server_close(struct http_server *server) {
	if (!server) return;
	server->closing = true;
	loop_fd_remove(server->watch);
	cut_all(&server->live, false);
	cut_all(&server->hung_up, false);
	MHD_stop_daemon(server->daemon);
	server_free(server);
}

int http_server_open(struct loop *loop, const struct http_config *config, struct http_server **server, struct error *error) {
	struct prefixes *proxies = NULL;
	struct http_origins *origins = NULL;
	if (prefixes_parse(config->trusted_proxies, &proxies, error) != 0) return error_wrap(error, "trusted proxies");
	int bad = http_origins_parse(config->cors_origins, &origins, error);
	AUTO_CLOSE int fd = bad ? -1 : open_socket(config->listen, error);
	if (fd < 0) {
		prefixes_free(proxies);
		http_origins_free(origins);
		return -1;
	}
	struct http_server *made = mem_zalloc(sizeof(*made));
	*made = (struct http_server){
		.config = *config, .loop = loop, .proxies = proxies, .origins = origins, .port = port_of(fd)};
	TAILQ_INIT(&made->deadlines);
	TAILQ_INIT(&made->idlers);
	LIST_INIT(&made->live);
	LIST_INIT(&made->hung_up);
	made->counts = http_counts_new();
	made->soon = loop_timer_new(loop, on_soon, made);
	made->clock = loop_timer_new(loop, on_clock, made);
	if (start_daemon(made, fd, error) != 0) {
		server_free(made);
		return -1;
	}
	steal_fd(&fd);
	*server = made;
	return 0;
}
