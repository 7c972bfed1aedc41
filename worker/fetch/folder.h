// Folders of WORKER_DIR: removing, measuring, locking. Names are single components below dir_fd; links are never followed.
#pragma once

#include "lib/error.h"

#include <stdbool.h>
#include <stdint.h>

// Removes a file, or a folder with all it holds. 0 also where there was nothing; -1: errno.
int folder_remove(int dir_fd, const char *name) MUST_USE;
// Removes all that the folder holds, but not itself.
int folder_empty(int dir_fd, const char *name) MUST_USE;
// Bytes on disk of what the folder holds, going one folder deeper at most `depth` times.
int64_t folder_bytes(int dir_fd, const char *name, int depth);
int folder_open(int dir_fd, const char *name); // -1: errno
int folder_make(int dir_fd, const char *name); // 0 also where it stands already; mode 0750; -1: errno

// An exclusive flock(2) on a file made for it, waited for at most wait_ms (0: not at all). -1: errno is EWOULDBLOCK where
// somebody else holds it.
int folder_lock(int dir_fd, const char *name, int64_t wait_ms);
