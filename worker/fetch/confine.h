// Before a server's bytes are read: this process may from here on touch what its own URL's fetch needs, and nothing else. So a
// server that took it over could change and read the mirror and the trees of its own URL (and credential) alone, not those of
// others, which belong to the same uid.
#pragma once

#include "lib/attr.h"
#include "lib/resultado.h"

#include <stdint.h>

// mirror_fd, trees_fd: the URL's own folders; port: its server's, the only one for TCP beside a name server's (from Linux 6.7
// on), nor is there another protocol than TCP and UDP, nor a socket that is a file. Where the kernel has no Landlock (or one older
// than Linux 5.19) it does nothing. -1: outcome is set.
int confine_to(int mirror_fd, int trees_fd, uint16_t port, struct outcome *outcome) MUST_USE;
