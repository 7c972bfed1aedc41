// Answers, problem documents (RFC 9457), and bodies that come bit by bit.
#include "lib/http_internal.h"
#include "lib/json.h"
#include "lib/mem.h"

#include <string.h>
#include <strings.h>

#define STREAM_BLOCK_BYTES                                                                                                     \
	16384 // of a known length, or for HTTP/1.0; other chunks are as large as the connection's memory allows

// The body of a response is the caller's until MHD_create_response_* has it.
static void answer(struct http_request *request, int status, const char *type, struct MHD_Response *response) {
	if (!response) abort(); // out of memory
	struct http_server *server = request->connection->server;
	bool cache = false;
	http_cors_answer(request);
	if (request->may_pack) http_answer_header(request, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ACCEPT_ENCODING);
	for (struct http_field *field = request->headers; field; field = field->next) {
		if (strcasecmp(field->name, MHD_HTTP_HEADER_CACHE_CONTROL) == 0) cache = true;
		(void)MHD_add_response_header(response, field->name, field->value); // refused: a line break in it
	}
	if (type) MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (!cache) MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(response, "X-Request-Id", request->id);
	if (server->quiet) MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	request->status = status;
	request->response = response;
	request->gone = NULL;
	// Inside the handler libmicrohttpd asks for the answer by itself when it returns.
	if (!request->suspended) return;
	if (http_request_send(request) == MHD_NO) request->cut = true;
	http_request_resume(request);
}

static ssize_t read_stream(void *arg, uint64_t position, char *buffer, size_t size) {
	(void)position;
	struct http_request *request = arg;
	struct http_connection *connection = request->connection;
	if (connection->cut) return MHD_CONTENT_READER_END_WITH_ERROR;
	request->stream_woken = false;
	ssize_t got = request->packing ? http_pack_more(request, buffer, size)
				       : request->stream_more(buffer, size, request->stream_arg);
	if (got == -1) return MHD_CONTENT_READER_END_OF_STREAM;
	if (got < 0 || (size_t)got > size) return MHD_CONTENT_READER_END_WITH_ERROR;
	if (got > 0) {
		if (connection->clock == HTTP_CLOCK_NONE) http_connection_clock(connection, HTTP_CLOCK_IDLE);
		return got;
	}
	if (request->stream_woken) return 0; // it woke itself: libmicrohttpd asks again
	if (connection->hung_up) return MHD_CONTENT_READER_END_WITH_ERROR;
	// The client is not to blame for the silence: no clock runs.
	http_connection_clock(connection, HTTP_CLOCK_NONE);
	MHD_suspend_connection(request->mhd);
	request->suspended = true;
	return 0;
}

// What people read, in their language; to be freed.
static char *said(const struct http_request *request, size_t language, const char *text) {
	const struct http_config *config = &request->connection->server->config;
	return language > 0 && config->translate ? config->translate(language, text) : mem_strdup(text);
}

static json_t *problem_members(const struct http_request *request, const struct http_problem *problem) {
	json_t *document = NULL;
	if (problem->extra) document = json_loads(problem->extra, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(document)) {
		json_decref(document);
		document = json_object();
	}
	size_t language = http_language(request);
	AUTO_FREE char *title =
		said(request, language, problem->title ? problem->title : MHD_get_reason_phrase_for((unsigned)problem->status));
	AUTO_FREE char *detail = problem->detail ? said(request, language, problem->detail) : NULL;
	json_object_set_new(document, "type", json_string(problem->type ? problem->type : "about:blank"));
	json_object_set_new(document, "title", json_string(title));
	json_object_set_new(document, "status", json_integer(problem->status));
	if (detail) json_object_set_new(document, "detail", json_string(detail));
	json_object_set_new(document, "request_id", json_string(request->id));
	return document;
}

void http_field_add(struct http_field **list, const char *name, const char *value, size_t length) {
	size_t name_size = strlen(name) + 1;
	struct http_field *field = mem_zalloc(sizeof(*field) + name_size + length + 1);
	field->name = (char *)(field + 1);
	field->value = field->name + name_size;
	field->length = length;
	memcpy(field->name, name, name_size);
	if (length > 0) memcpy(field->value, value, length);
	while (*list) list = &(*list)->next;
	*list = field;
}

void http_field_free(struct http_field *list) {
	while (list) {
		struct http_field *next = list->next;
		free(list);
		list = next;
	}
}

enum MHD_Result http_request_send(struct http_request *request) {
	struct MHD_Response *response = STEAL(request->response);
	if (!response) return MHD_YES;
	request->stage = HTTP_ANSWERING;
	http_connection_clock(request->connection, HTTP_CLOCK_IDLE);
	enum MHD_Result result = MHD_queue_response(request->mhd, (unsigned)request->status, response);
	MHD_destroy_response(response); // our reference
	return result;
}

void http_request_resume(struct http_request *request) {
	if (!request->suspended) return;
	request->suspended = false;
	MHD_resume_connection(request->mhd);
	http_server_soon(request->connection->server);
}

void http_request_lost(struct http_request *request) {
	void (*gone)(void *arg) = request->gone;
	request->gone = NULL;
	if (gone) gone(request->gone_arg);
}

void http_stream_close(struct http_request *request) {
	void (*gone)(void *arg) = request->stream_gone;
	request->stream_gone = NULL;
	if (gone) gone(request->stream_arg);
}

void http_on_gone(struct http_request *request, void (*fn)(void *arg), void *arg) {
	request->gone = fn;
	request->gone_arg = arg;
}

void http_answer_language(struct http_request *request) {
	const struct http_config *config = &request->connection->server->config;
	if (!config->languages) return;
	http_answer_header(request, MHD_HTTP_HEADER_CONTENT_LANGUAGE, config->languages[http_language(request)]);
	http_answer_header(request, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ACCEPT_LANGUAGE);
}

void http_answer_anew(struct http_request *request) {
	http_field_free(STEAL(request->headers));
}

void http_answer_header(struct http_request *request, const char *name, const char *value) {
	http_field_add(&request->headers, name, value, strlen(value));
}

void http_answer(struct http_request *request, int status, const char *type, const char *body, size_t length) {
	if (request->status != 0) return;
	size_t packed_length;
	char *packed = http_pack(request, status, body, length, &packed_length);
	answer(request, status, type,
		packed ? MHD_create_response_from_buffer(packed_length, packed, MHD_RESPMEM_MUST_FREE)
		       : MHD_create_response_from_buffer(length, (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY));
}

void http_answer_text(struct http_request *request, int status, const char *type, const char *text) {
	http_answer(request, status, type, text, strlen(text));
}

void http_problem(struct http_request *request, const struct http_problem *problem) {
	if (request->status != 0) return;
	request->may_pack = false; // it repeats what was sent
	http_answer_language(request);
	AUTO_JSON json_t *document = problem_members(request, problem);
	char *text = json_write(document);
	if (problem->retry_after_s > 0) {
		AUTO_FREE char *seconds = mem_format("%lld", (long long)problem->retry_after_s);
		http_answer_header(request, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
	}
	answer(request, problem->status, "application/problem+json",
		MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE));
}

void http_stream_sized(struct http_request *request, int status, const char *type, uint64_t length,
	ssize_t (*more)(char *buffer, size_t size, void *arg), void (*gone)(void *arg), void *arg) {
	if (request->status != 0) {
		if (gone) gone(arg);
		return;
	}
	request->stream_more = more;
	request->stream_gone = gone;
	request->stream_arg = arg;
	request->streams = length == MHD_SIZE_UNKNOWN;
	if (length == MHD_SIZE_UNKNOWN) http_pack_stream(request);
	answer(request, status, type,
		MHD_create_response_from_callback(length, STREAM_BLOCK_BYTES, read_stream, request, NULL));
}

void http_stream(struct http_request *request, int status, const char *type,
	ssize_t (*more)(char *buffer, size_t size, void *arg), void (*gone)(void *arg), void *arg) {
	http_stream_sized(request, status, type, MHD_SIZE_UNKNOWN, more, gone, arg);
}

bool http_streams(const struct http_request *request) {
	return request->streams;
}

void http_stream_wake(struct http_request *request) {
	request->stream_woken = true;
	if (request->stage == HTTP_ANSWERING) http_request_resume(request);
}
