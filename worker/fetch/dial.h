// Connections of libgit2, made by us: the name is resolved once, every address must be acceptable, and an address that was
// judged is the one that is dialled, so that no second look-up can lead elsewhere (DNS rebinding).
//
// Registered as libgit2's standard stream; its TLS streams stand on it too (libgit2 1.5 to 1.9: git_mbedtls_stream_new and
// git_openssl_stream_new call git_socket_stream_new, which asks the registry). One target a process.
#pragma once

#include "lib/attr.h"
#include "lib/prefix.h"

#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct dial_target {
	const char *host; // the only host and port that may be dialled, redirects included; without brackets
	uint16_t port;
	const char *path;              // of the repository: where `allowed` or `secret`, its own requests only (request.h)
	bool allowed;                  // by GIT_ALLOW: any address will do; else public ones only
	const struct prefixes *denied; // of those that are public; NULL: none
	bool secret;                   // a credential is sent
	int64_t connect_timeout_ms, stall_timeout_ms;
	int64_t most_bytes; // in all, both ways
};

enum dial_fault {
	DIAL_FINE,
	DIAL_DENIED,    // an address that is not public, or denied
	DIAL_REDIRECT,  // to another server or port, out of the URL's path, or to a path that can be read in two ways
	DIAL_NO_HOST,   // the name does not exist
	DIAL_NO_LOOKUP, // the resolver did not answer
	DIAL_REFUSED,   // no connection
	DIAL_TIMEOUT,   // connecting, or the other side went silent
	DIAL_TOO_MUCH,  // most_bytes
	DIAL_BROKEN,    // the connection ended with an error
};

// The calls that leave the process; replaced in tests.
struct dial_system {
	int (*resolve)(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **found);
	void (*release)(struct addrinfo *found);
	int (*connect)(int fd, const struct sockaddr *address, socklen_t length);
};

// The target must outlive all streams. system_calls NULL: the C library's.
int dial_register(const struct dial_target *to, const struct dial_system *system_calls) MUST_USE;
// The first thing that went wrong since dial_register.
enum dial_fault dial_fault(void);

// What a stream does when libgit2 connects it: a connected, non-blocking socket, or -1 and dial_fault().
int dial_connect(const char *host, const char *port) MUST_USE;
