#include "lib/client_call.h"

#include "lib/loop.h"
#include "lib/mem.h"

#include <curl/curl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#define CONNECT_MS 10000

struct client_caller {
	CURLM *multi; // outlives the exchanges, and with it the connections
};

struct exchange {
	const struct client_call *call;
	struct client_reply *reply;
	CURL *curl;
	struct curl_slist *headers;
	size_t head_length;
	bool too_large, enough, stopped;
	char why[CURL_ERROR_SIZE];
};

static void check(bool fine) {
	if (!fine) mem_die("libcurl: out of memory, or an option that it does not know");
}

static void append(char **text, size_t *length, const char *data, size_t more) {
	*text = mem_resize(*text, *length + more + 1, 1);
	memcpy(*text + *length, data, more);
	*length += more;
	(*text)[*length] = '\0';
}

// ---- what arrives

static size_t take_head(char *data, size_t one, size_t length, void *arg) {
	(void)one;
	struct exchange *exchange = arg;
	if (length >= 5 && strncasecmp(data, "HTTP/", 5) == 0) exchange->head_length = 0; // of the last answer, not a 100
	if (length > exchange->call->most_bytes) return 0;
	append(&exchange->reply->headers, &exchange->head_length, data, length);
	return length;
}

static size_t take_body(char *data, size_t one, size_t length, void *arg) {
	(void)one;
	struct exchange *exchange = arg;
	const struct client_call *call = exchange->call;
	long status = 0;
	curl_easy_getinfo(exchange->curl, CURLINFO_RESPONSE_CODE, &status);
	if (call->sink && status >= 200 && status < 300) {
		exchange->enough = call->sink(data, length, call->arg) != 0;
		return exchange->enough ? 0 : length;
	}
	exchange->too_large = length > call->most_bytes - exchange->reply->length;
	if (exchange->too_large) return 0;
	append(&exchange->reply->body, &exchange->reply->length, data, length);
	return length;
}

// ---- the exchange

static void set_up(struct exchange *exchange) {
	const struct client_call *call = exchange->call;
	CURL *curl = exchange->curl;
	bool fine = true;
#define SET(option, value) fine = fine && curl_easy_setopt(curl, option, value) == CURLE_OK
	SET(CURLOPT_URL, call->url);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
	SET(CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	SET(CURLOPT_ERRORBUFFER, exchange->why);
	SET(CURLOPT_HEADERFUNCTION, take_head);
	SET(CURLOPT_HEADERDATA, exchange);
	SET(CURLOPT_WRITEFUNCTION, take_body);
	SET(CURLOPT_WRITEDATA, exchange);
	if (call->silence_s) {
		SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
		SET(CURLOPT_LOW_SPEED_TIME, (long)call->silence_s);
	}
	if (call->ca_file) SET(CURLOPT_CAINFO, call->ca_file);
	if (call->body) {
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(call->body));
		SET(CURLOPT_POSTFIELDS, call->body);
	}
	if (call->method) SET(CURLOPT_CUSTOMREQUEST, call->method);
	for (const char *const *header = call->headers; header && *header; header++) {
		struct curl_slist *longer = curl_slist_append(exchange->headers, *header);
		check(longer);
		exchange->headers = longer;
	}
	SET(CURLOPT_HTTPHEADER, exchange->headers);
#undef SET
	check(fine);
}

static CURLcode drive(struct client_caller *caller, struct exchange *exchange) {
	const struct client_call *call = exchange->call;
	int64_t next_ms = loop_now_ms() + call->tick_ms;
	for (int running = 1;;) {
		check(curl_multi_perform(caller->multi, &running) == CURLM_OK);
		int left;
		CURLMsg *message = curl_multi_info_read(caller->multi, &left);
		if (message && message->msg == CURLMSG_DONE) return message->data.result;
		struct curl_waitfd stop = {.fd = call->stop_fd, .events = CURL_WAIT_POLLIN};
		int64_t now_ms = loop_now_ms(), wait_ms = call->tick ? next_ms - now_ms : 1000;
		if (call->tick && wait_ms <= 0) {
			call->tick(call->arg);
			next_ms = loop_now_ms() + call->tick_ms;
			continue;
		}
		check(curl_multi_poll(caller->multi, &stop, call->stop_fd >= 0, (int)wait_ms, NULL) == CURLM_OK);
		struct pollfd asked = {.fd = call->stop_fd, .events = POLLIN};
		exchange->stopped = call->stop_fd >= 0 && poll(&asked, 1, 0) > 0;
		if (exchange->stopped) return CURLE_ABORTED_BY_CALLBACK;
	}
}

static int fill_error(const struct exchange *exchange, CURLcode code, struct error *error) {
	const char *url = exchange->call->url, *why = exchange->why[0] ? exchange->why : curl_easy_strerror(code);
	if (exchange->stopped) return error_set(error, ERROR_CONFLICT, "interrupted");
	if (exchange->too_large)
		return error_set(
			error, ERROR_LIMIT, "%s: the answer is larger than %zu bytes", url, exchange->call->most_bytes);
	if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL)
		return error_set(error, ERROR_INPUT, "%s: %s", url, why);
	return error_set(error, ERROR_UNAVAILABLE, "%s: %s", url, why);
}

int client_call(struct client_caller *caller, const struct client_call *call, struct client_reply *reply, struct error *error) {
	*reply = (struct client_reply){.body = mem_strdup(""), .headers = mem_strdup("")};
	struct exchange exchange = {.call = call, .reply = reply, .curl = curl_easy_init()};
	check(exchange.curl);
	set_up(&exchange);
	check(curl_multi_add_handle(caller->multi, exchange.curl) == CURLM_OK);
	CURLcode code = drive(caller, &exchange);
	long status = 0;
	curl_easy_getinfo(exchange.curl, CURLINFO_RESPONSE_CODE, &status);
	reply->status = (int)status;
	int result = code == CURLE_OK || exchange.enough ? 0 : fill_error(&exchange, code, error);
	curl_multi_remove_handle(caller->multi, exchange.curl);
	curl_easy_cleanup(exchange.curl);
	curl_slist_free_all(exchange.headers);
	return result;
}

char *client_reply_header(const struct client_reply *reply, const char *name) {
	size_t length = strlen(name);
	for (const char *line = reply->headers; line && *line; line = strchr(line, '\n'), line += !!line) {
		if (strncasecmp(line, name, length) != 0 || line[length] != ':') continue;
		line += length + 1;
		line += strspn(line, " \t");
		return mem_strndup(line, strcspn(line, "\r\n"));
	}
	return NULL;
}

void client_reply_clear(struct client_reply *reply) {
	free(reply->body);
	free(reply->headers);
	*reply = (struct client_reply){0};
}

struct client_caller *client_caller_new(void) {
	struct client_caller *caller = mem_zalloc(sizeof *caller);
	check(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
	caller->multi = curl_multi_init();
	check(caller->multi);
	return caller;
}

void client_caller_free(struct client_caller *caller) {
	if (!caller) return;
	curl_multi_cleanup(caller->multi);
	curl_global_cleanup();
	free(caller);
}
