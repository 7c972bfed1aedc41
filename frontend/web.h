// The page for browsers: the files of web/, embedded by dev/embed-web.
#pragma once

#include "lib/http.h"

struct web_file {
	const char *path, *type, *etag;
	const unsigned char *plain;
	size_t plain_size;
	const unsigned char *gzip;
	size_t gzip_size;
};

extern const struct web_file web_files[];
extern const size_t web_file_count;
extern const char web_version[]; // changes with any of them

// Whether a browser asks, to be shown the page.
bool web_wanted(const struct http_request *request);
// Answers with index.html, to be asked for anew each time; it may talk to its own server and to the issuer's, to nobody else.
void web_answer_page(struct http_request *request, const char *issuer);
// GET /web/VERSION/FILE, to be kept for good: another version has another address.
void web_handle(struct http_request *request, void *arg);
// The scheme, host and port of an http or https URL; NULL where it has characters that no header should be given.
char *web_origin(const char *url) MUST_USE;
