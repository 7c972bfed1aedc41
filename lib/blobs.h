// Where the content of artifacts lies outside of the ledger: a folder that workers and frontends share, or an S3-compatible store.
// An object is named after its content and the id of its blob, and is written once.
//
//     ARTIFACTS_DIR/objects/ab/ab12…-ID       ARTIFACTS_DIR/incoming/ID: while it is written
#pragma once

#include "lib/error.h"
#include "lib/option.h"

#include <stdint.h>

struct blobs_config {
	char *dir; // "": none
};

#define OPTIONS_BLOBS(config)                                                                                                  \
	{                                                                                                                      \
		.name = "ARTIFACTS_DIR", .type = OPTION_STRING, .value = &(config).dir, .fallback = "",                        \
		.help = "folder for the content of artifacts, shared by workers and frontends; empty: in the ledger"           \
	}

// What a daemon that needs it checks at its start: ERROR_INPUT names the option.
int blobs_check(const struct blobs_config *config, struct error *error) MUST_USE;
const char *blobs_place(const struct blobs_config *config); // as in blobs.place: "ledger", "folder"

struct blobs_object {
	const char *sha256, *id;
};
// Blocks. `size` bytes of a file from `offset` on; returns when they are on the disk. ERROR_UNAVAILABLE: may work another time.
int blobs_put(const struct blobs_config *config, const struct blobs_object *object, int file, int64_t offset, int64_t size,
	struct error *error) MUST_USE;
// A descriptor of the object in the folder.
int blobs_open(const struct blobs_config *config, const struct blobs_object *object, int *fd, struct error *error) MUST_USE;
// 0 also where it was not there.
int blobs_remove(const struct blobs_config *config, const struct blobs_object *object, struct error *error) MUST_USE;
