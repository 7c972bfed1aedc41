// The read-only root of every box of this worker, made once in a folder of its own below WORKER_DIR: a small /etc, the links
// into /usr, the program trabajos-init, and nothing of the host that is secret.
#pragma once

#include "lib/error.h"

#include <sys/types.h>

struct sandbox_root {
	char *folder; // WORKER_DIR/box-XXXXXX, locked as long as this worker lives
	char *root;   // folder/root
	char *init;   // trabajos-init in it
	char **binds; // NULL-terminated: folders of the host to be bound beside /usr (/bin, /lib, … where they are no links)
	int lock;
};

// places, uid_base: folders for level none; uid_base (uid_t)-1: the worker's own uid. Removes what dead workers left.
int sandbox_root_make(const char *dir, const char *init_program, int places, uid_t uid_base, struct sandbox_root *root,
	struct error *error) MUST_USE;
void sandbox_root_remove(struct sandbox_root *root);
int sandbox_root_write(const struct sandbox_root *root, const char *name, const char *text,
	struct error *error) MUST_USE; // a file in the folder, in place of the one before
char *sandbox_root_place(
	const struct sandbox_root *root, int place) MUST_USE; // level none: a place's folder; owned by the caller
