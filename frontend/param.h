// Parameters of a request, checked: who reads one either has it or has answered with 400 (403 for usuario).
#pragma once

#include "frontend/token.h"
#include "lib/http.h"
#include "lib/uuid.h"

#include <stdbool.h>

#define PARAM_LIMIT_MOST 1000 // of a page

// 1: there, 0: absent, -1: answered.
int param_read(struct http_request *request, const char *name, const char **value) MUST_USE;
// As param_read, of 1 to `most` characters.
int param_text(struct http_request *request, const char *name, size_t most, const char **value) MUST_USE;
// 0, or -1: answered, since there is a parameter that is not among the names.
int param_only(struct http_request *request, const char *const *names, size_t count) MUST_USE;
// 1, 0 (*limit is left alone) or -1: answered.
int param_limit(struct http_request *request, int64_t *limit) MUST_USE;
// A moment in RFC 3339, as ms.
int param_moment(struct http_request *request, const char *name, int64_t *ms) MUST_USE;
// after=: a key, or what a Link gave: a position, which holds whatever became of the job that it names.
struct param_cursor {
	char us[20]; // "": a key alone
	char key[UUID_TEXT];
};
int param_cursor_read(const char *text, struct param_cursor *cursor) MUST_USE; // 0, or -1: it is none
int param_cursor(struct http_request *request, struct param_cursor *cursor) MUST_USE;
// usuario=NAME or usuario=*, of which the caller must be an administrator.
int param_usuario(struct http_request *request, const struct token_claims *claims, const char **usuario) MUST_USE;
// Link to the page behind `after`, with those of the named parameters that the request has.
void param_link_next(struct http_request *request, const char *after, const char *const *names, size_t count);
