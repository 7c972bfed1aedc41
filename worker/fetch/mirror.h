// One bare repository per URL and credential under WORKER_DIR/mirrors, locked while it is used. It holds what this URL's own server has sent
// and nothing else, so that a commit in it is one that the URL leads to.
#pragma once

#include "lib/attr.h"
#include "lib/giturl.h"
#include "lib/resultado.h"
#include "worker/fetch/git.h"
#include "worker/fetch/order.h"

#include <stdbool.h>
#include <stdint.h>

struct mirror {
	const struct order *order;
	const struct giturl *url;
	char *name; // of its folder, below mirrors_fd
	int mirrors_fd, lock_fd;
	git_repository *repository;
	int64_t connect_us, fetch_us, received_bytes;
	bool asked;   // the remote
	bool fresh;   // made in this process: what is wrong with it came from the server
	bool damaged; // its own files did not read as they should: mirror_renew and try again
};

// Starts libgit2 for this process, without anybody's configuration. Takes some milliseconds (certificates). 0, or -1.
int mirror_library(void) MUST_USE;
void mirror_library_end(void);

// Waits for the lock, and has a folder there, perhaps an empty one. id: 64 hexadecimal digits. -1: outcome is set.
int mirror_open(const struct order *order, const struct giturl *url, int root_fd, const char *id, struct mirror *mirror,
	struct outcome *outcome) MUST_USE;
void mirror_close(struct mirror *mirror);
// Reads what is there, or makes it. -1: outcome is set.
int mirror_load(struct mirror *mirror, struct outcome *outcome) MUST_USE;
// Throws away what it holds.
int mirror_renew(struct mirror *mirror, struct outcome *outcome) MUST_USE;

// Whether the commit is there and reachable from a ref; without asking the remote. Sets damaged where what is there cannot be read.
bool mirror_reaches(struct mirror *mirror, const git_oid *commit) MUST_USE;
// Asks the remote, fetches what is missing, says which commit the order's ref (branch, tag, commit id, NULL) is.
int mirror_fetch(struct mirror *mirror, git_oid *commit, struct outcome *outcome) MUST_USE;

int64_t mirror_now_us(void);
