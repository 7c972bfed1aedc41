// What may be asked of a git server, judged by the target of the request (RFC 9112, 3.2.1) before it is written.
#pragma once

#include <stdbool.h>

// Whether it is one of the two that fetching the repository at that path takes, to the byte (gitprotocol-http(5)).
bool request_is_own(const char *target, const char *path);
// Whether no server can take its path for another one: no "." or "..", no encoded or backward separators.
bool request_is_plain(const char *target);
