// libcurl's multi interface, driven by our loop (https://curl.se/libcurl/c/libcurl-multi.html). Nothing of libcurl is set up
// before the first request, so that a daemon at rest does not pay for it.
#include "lib/client.h"

#include "lib/mem.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/queue.h>

struct exchange {
	LIST_ENTRY(exchange) entry;
	struct client *client;
	CURL *curl;
	struct curl_slist *headers;
	client_done *done;
	void *arg;
	char *body;
	size_t length, room, most;
	bool too_large, only_status, denied;
	bool (*may_dial)(const struct sockaddr *address);
	const struct client_upload *upload;
	int64_t uploaded, *retry_after_s;
	char why[CURL_ERROR_SIZE];
};
LIST_HEAD(exchanges, exchange);

struct client {
	struct loop *loop;
	struct loop_timer *timer;
	CURLM *multi;
	struct exchanges exchanges;
	bool finishing, freed; // freed: by a callback, while its caller is still at work here
};

static void check(bool fine) {
	if (!fine) abort(); // out of memory, or an option that this libcurl does not know
}

// ---- one exchange

// Before each address is dialled, of which libcurl may try several side by side.
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address) {
	struct exchange *exchange = arg;
	(void)purpose;
	if (!exchange->may_dial(&address->addr)) exchange->denied = true;
	if (exchange->denied) return CURL_SOCKET_BAD;
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

// Before anything is sent: another address of the same name may have been dialled already.
static int before_request(void *arg, char *to, char *from, int to_port, int from_port) {
	const struct exchange *exchange = arg;
	(void)to, (void)from, (void)to_port, (void)from_port;
	return exchange->denied ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static size_t give_body(char *buffer, size_t one, size_t size, void *arg) {
	(void)one;
	struct exchange *exchange = arg;
	const struct client_upload *upload = exchange->upload;
	int64_t left = upload->bytes - exchange->uploaded;
	if (left < (int64_t)size) size = (size_t)left;
	if (size == 0) return 0;
	ssize_t part = pread(upload->file, buffer, size, upload->offset + exchange->uploaded);
	if (part <= 0) return CURL_READFUNC_ABORT;
	exchange->uploaded += part;
	return (size_t)part;
}

static size_t take_body(char *data, size_t one, size_t length, void *arg) {
	(void)one;
	struct exchange *exchange = arg;
	if (length > exchange->most - exchange->length) {
		exchange->too_large = true;
		return 0;
	}
	size_t needed = exchange->length + length + 1;
	if (needed > exchange->room) {
		exchange->room = needed < 2 * exchange->room ? 2 * exchange->room : needed;
		exchange->body = mem_resize(exchange->body, exchange->room, 1);
	}
	memcpy(exchange->body + exchange->length, data, length);
	exchange->length += length;
	exchange->body[exchange->length] = '\0';
	return length;
}

static void exchange_free(struct exchange *exchange) {
	LIST_REMOVE(exchange, entry);
	if (exchange->client->multi) curl_multi_remove_handle(exchange->client->multi, exchange->curl);
	curl_easy_cleanup(exchange->curl);
	curl_slist_free_all(exchange->headers);
	free(exchange->body);
	free(exchange);
}

static void fill_error(const struct exchange *exchange, CURLcode code, struct error *error) {
	char *url = NULL;
	curl_easy_getinfo(exchange->curl, CURLINFO_EFFECTIVE_URL, &url);
	const char *why = exchange->why[0] ? exchange->why : curl_easy_strerror(code);
	if (exchange->denied)
		error_set(error, ERROR_DENIED, "%s: the host leads to an address that is not allowed", url);
	else if (exchange->too_large || code == CURLE_FILESIZE_EXCEEDED)
		error_set(error, ERROR_LIMIT, "%s: the answer is larger than %zu bytes", url, exchange->most);
	else if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL)
		error_set(error, ERROR_INPUT, "%s: %s", url, why);
	else
		error_set(error, ERROR_UNAVAILABLE, "%s: %s", url, why);
}

static void read_retry_after(const struct exchange *exchange) {
	curl_off_t s = 0;
	*exchange->retry_after_s = curl_easy_getinfo(exchange->curl, CURLINFO_RETRY_AFTER, &s) == CURLE_OK && s > 0 ? s : 0;
}

static void finish(struct exchange *exchange, CURLcode code) {
	AUTO_ERROR struct error error = {.kind = ERROR_NONE};
	long status = 0;
	if (exchange->only_status && exchange->too_large && !exchange->denied) code = CURLE_OK;
	if (exchange->retry_after_s) read_retry_after(exchange);
	if (code == CURLE_OK)
		curl_easy_getinfo(exchange->curl, CURLINFO_RESPONSE_CODE, &status);
	else
		fill_error(exchange, code, &error);
	client_done *done = exchange->done;
	void *arg = exchange->arg;
	AUTO_FREE char *body = STEAL(exchange->body);
	size_t length = exchange->length;
	exchange_free(exchange);
	bool answered = code == CURLE_OK;
	done((int)status, answered && body ? body : "", answered ? length : 0, &error, arg);
}

static void set_up(struct exchange *exchange, const struct client_request *request) {
	CURL *curl = exchange->curl;
	bool fine = true;
#define SET(option, value) fine = fine && curl_easy_setopt(curl, option, value) == CURLE_OK
	SET(CURLOPT_URL, request->url);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long)request->timeout_ms);
	SET(CURLOPT_BUFFERSIZE, 16384L);
	SET(CURLOPT_ERRORBUFFER, exchange->why);
	SET(CURLOPT_WRITEFUNCTION, take_body);
	SET(CURLOPT_WRITEDATA, exchange);
	SET(CURLOPT_PRIVATE, exchange);
	if (request->may_dial) {
		SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
		SET(CURLOPT_OPENSOCKETDATA, exchange);
		SET(CURLOPT_PREREQFUNCTION, before_request);
		SET(CURLOPT_PREREQDATA, exchange);
		SET(CURLOPT_FRESH_CONNECT, 1L);
		SET(CURLOPT_FORBID_REUSE, 1L);
	}
	if (!request->only_status) SET(CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)request->most_bytes);
	if (request->ca_file) SET(CURLOPT_CAINFO, request->ca_file);
	if (request->unix_socket) SET(CURLOPT_UNIX_SOCKET_PATH, request->unix_socket);
	if (request->body) {
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(request->body));
		SET(CURLOPT_COPYPOSTFIELDS, request->body);
	}
	if (request->upload) {
		SET(CURLOPT_UPLOAD, 1L);
		SET(CURLOPT_READFUNCTION, give_body);
		SET(CURLOPT_READDATA, exchange);
		SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->upload->bytes);
	}
	if (request->sigv4) {
		SET(CURLOPT_AWS_SIGV4, request->sigv4);
		SET(CURLOPT_USERPWD, request->credentials);
	}
	if (request->method && strcmp(request->method, "HEAD") == 0)
		SET(CURLOPT_NOBODY, 1L);
	else if (request->method)
		SET(CURLOPT_CUSTOMREQUEST, request->method);
	for (const char *const *header = request->headers; header && *header; header++) {
		struct curl_slist *longer = curl_slist_append(exchange->headers, *header);
		check(longer);
		exchange->headers = longer;
	}
	SET(CURLOPT_HTTPHEADER, exchange->headers);
#undef SET
	check(fine);
}

// ---- the loop's side

static void finish_all(struct client *client) {
	CURLMsg *message;
	int left;
	client->finishing = true;
	while (!client->freed && (message = curl_multi_info_read(client->multi, &left))) {
		struct exchange *exchange = NULL;
		if (message->msg != CURLMSG_DONE) continue;
		CURLcode code = message->data.result;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &exchange);
		finish(exchange, code);
	}
	client->finishing = false;
	if (client->freed) client_free(client);
}

static void act(struct client *client, curl_socket_t socket, int what) {
	int running;
	curl_multi_socket_action(client->multi, socket, what, &running);
	finish_all(client);
}

static void on_timer(void *arg) {
	act(arg, CURL_SOCKET_TIMEOUT, 0);
}

struct watch {
	struct client *client;
	struct loop_fd *fd;
	curl_socket_t socket;
};

static void on_socket(uint32_t events, void *arg) {
	struct watch *watch = arg;
	int what = (events & EPOLLIN ? CURL_CSELECT_IN : 0) | (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
		   (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
	act(watch->client, watch->socket, what);
}

static int want_socket(CURL *curl, curl_socket_t socket, int what, void *arg, void *place) {
	(void)curl;
	struct client *client = arg;
	struct watch *watch = place;
	if (what == CURL_POLL_REMOVE) {
		if (watch) loop_fd_remove(watch->fd);
		free(watch);
		curl_multi_assign(client->multi, socket, NULL);
		return 0;
	}
	uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
	if (watch) {
		loop_fd_events(watch->fd, events);
		return 0;
	}
	watch = mem_zalloc(sizeof(*watch));
	*watch = (struct watch){.client = client, .socket = socket};
	watch->fd = loop_fd_add(client->loop, socket, events, on_socket, watch);
	curl_multi_assign(client->multi, socket, watch);
	return 0;
}

static int want_timer(CURLM *multi, long delay_ms, void *arg) {
	(void)multi;
	struct client *client = arg;
	if (delay_ms < 0)
		loop_timer_stop(client->timer);
	else
		loop_timer_set(client->timer, delay_ms);
	return 0;
}

static void start(struct client *client) {
	check(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
	client->multi = curl_multi_init();
	check(client->multi);
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, want_socket);
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, want_timer);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
	curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, 4L);
}

char *client_escape(const char *text) {
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
	static const char digits[] = "0123456789ABCDEF";
	char *escaped = mem_zalloc(3 * strlen(text) + 1), *end = escaped;
	for (; *text; text++) {
		unsigned char byte = (unsigned char)*text;
		if (strchr(plain, byte)) {
			*end++ = *text;
		} else {
			*end++ = '%';
			*end++ = digits[byte >> 4];
			*end++ = digits[byte & 15];
		}
	}
	return escaped;
}

struct client *client_new(struct loop *loop) {
	struct client *client = mem_zalloc(sizeof(*client));
	client->loop = loop;
	client->timer = loop_timer_new(loop, on_timer, client);
	LIST_INIT(&client->exchanges);
	return client;
}

void client_free(struct client *client) {
	if (!client) return;
	for (struct exchange *exchange = LIST_FIRST(&client->exchanges), *next; exchange; exchange = next) {
		next = LIST_NEXT(exchange, entry);
		exchange_free(exchange);
	}
	if (client->finishing) {
		client->freed = true;
		return;
	}
	if (client->multi) {
		curl_multi_cleanup(client->multi);
		curl_global_cleanup();
	}
	loop_timer_free(client->timer);
	free(client);
}

void client_send(struct client *client, const struct client_request *request, client_done *done, void *arg) {
	if (!client->multi) start(client);
	struct exchange *exchange = mem_zalloc(sizeof(*exchange));
	exchange->client = client;
	exchange->done = done;
	exchange->arg = arg;
	exchange->most = request->most_bytes;
	exchange->only_status = request->only_status;
	exchange->upload = request->upload;
	exchange->may_dial = request->may_dial;
	exchange->retry_after_s = request->retry_after_s;
	exchange->curl = curl_easy_init();
	check(exchange->curl);
	set_up(exchange, request);
	LIST_INSERT_HEAD(&client->exchanges, exchange, entry);
	// libcurl asks for a timer here, so that everything else happens from the loop.
	check(curl_multi_add_handle(client->multi, exchange->curl) == CURLM_OK);
}
