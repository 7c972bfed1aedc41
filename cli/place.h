// A file below a folder, by a path that somebody else has chosen: it never leaves the folder, follows no symbolic link, replaces
// nothing unasked, and is there only when it is whole.
#pragma once

#include "lib/error.h"

#include <stdbool.h>

struct place {
	int folder, fd; // where it will be, and the file that is written
	char *name, *temporary;
};

// root: the folder's descriptor. Folders on the way are made. ERROR_INPUT: no path for that, or something is in the way.
int place_open(int root, const char *path, bool replaces, struct place *place, struct error *error) MUST_USE;
int place_keep(struct place *place, bool replaces, struct error *error) MUST_USE;
void place_close(struct place *place); // what was not kept goes
