// The access token that is sent: TRABAJOS_TOKEN (or the file that TRABAJOS_TOKEN_FILE names), else that of the session, renewed before
// it expires.
#pragma once

#include "lib/error.h"

// refused: a token that the server did not take, so that another one is wanted; NULL: none. ERROR_DENIED says what to do. The text is
// good until the next call.
const char *auth_token(const char *refused, struct error *error) MUST_USE;
