// Whom tokens are sent to: https, or http on this machine.
#pragma once

#include "lib/error.h"

#include <stdbool.h>

// ERROR_USAGE: no http or https URL with a host, with a user, control characters or spaces in it; or http to elsewhere, unless
// allow_http.
int url_check(const char *url, bool allow_http, struct error *error) MUST_USE;
// A server's URL as it is kept: lower-case, without the slash at the end; it has no path. Owned by the caller; NULL: error.
char *url_server(const char *url, bool allow_http, struct error *error) MUST_USE;
bool url_same_origin(const char *one, const char *other); // but for case, a slash at the end and the scheme's own port
