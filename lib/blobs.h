// Where the content of artifacts lies outside of the ledger: a folder that workers and frontends share, or an S3-compatible store.
// An object is named after its content and the id of its blob, and is written once.
//
//     ARTIFACTS_DIR/objects/ab/ab12…-ID       ARTIFACTS_DIR/incoming/ID: while it is written
//     ARTIFACTS_S3_URL/ARTIFACTS_S3_BUCKET/objects/ab/ab12…-ID
#pragma once

#include "lib/client.h"
#include "lib/error.h"
#include "lib/option.h"

#include <stdint.h>

struct blobs_config {
	char *dir;                                                       // "": none
	char *s3_url, *s3_bucket, *s3_region, *s3_key_file, *s3_ca_file; // s3_url "": none
	char *s3_credentials;                                            // by blobs_check
};

#define OPTIONS_BLOBS(config)                                                                                                  \
	{.name = "ARTIFACTS_DIR",                                                                                              \
		.type = OPTION_STRING,                                                                                         \
		.value = &(config).dir,                                                                                        \
		.fallback = "",                                                                                                \
		.help = "folder for the content of artifacts, shared by workers and frontends; empty: in the ledger"},         \
		{.name = "ARTIFACTS_S3_URL",                                                                                   \
			.type = OPTION_STRING,                                                                                 \
			.value = &(config).s3_url,                                                                             \
			.fallback = "",                                                                                        \
			.help = "S3-compatible store for the content of artifacts, http(s)://host; empty: none"},              \
		{.name = "ARTIFACTS_S3_BUCKET",                                                                                \
			.type = OPTION_STRING,                                                                                 \
			.value = &(config).s3_bucket,                                                                          \
			.fallback = "",                                                                                        \
			.help = "its bucket, which must be there"},                                                            \
		{.name = "ARTIFACTS_S3_REGION",                                                                                \
			.type = OPTION_STRING,                                                                                 \
			.value = &(config).s3_region,                                                                          \
			.fallback = "us-east-1",                                                                               \
			.help = "the region that signatures name"},                                                            \
		{.name = "ARTIFACTS_S3_KEY_FILE",                                                                              \
			.type = OPTION_STRING,                                                                                 \
			.value = &(config).s3_key_file,                                                                        \
			.fallback = "",                                                                                        \
			.help = "file with ID:SECRET of an access key, closed to others"},                                     \
	{                                                                                                                      \
		.name = "ARTIFACTS_S3_CA_FILE", .type = OPTION_STRING, .value = &(config).s3_ca_file, .fallback = "",          \
		.help = "PEM file with certificates that it is trusted by; empty: the system's"                                \
	}

// What a daemon that needs it checks at its start, and reads the key: ERROR_INPUT names the option.
int blobs_check(struct blobs_config *config, struct error *error) MUST_USE;
const char *blobs_place(const struct blobs_config *config); // as in blobs.place: "ledger", "folder", "s3"

struct blobs_object {
	const char *sha256, *id;
};
// Blocks. `size` bytes of a file from `offset` on; returns when they are on the disk. ERROR_UNAVAILABLE: may work another time.
int blobs_put(const struct blobs_config *config, const struct blobs_object *object, int file, int64_t offset, int64_t size,
	struct error *error) MUST_USE;
// A descriptor of the object in the folder.
int blobs_open(const struct blobs_config *config, const struct blobs_object *object, int *fd, struct error *error) MUST_USE;
// `length` bytes of the object in the S3 store from `offset` on, by a status of 206; done as client_send's.
int blobs_get(const struct blobs_config *config, const struct blobs_object *object, struct client *client, uint64_t offset,
	uint64_t length, client_done *done, void *arg, struct error *error) MUST_USE;
// Blocks. 0 also where it was not there.
int blobs_remove(const struct blobs_config *config, const struct blobs_object *object, struct error *error) MUST_USE;
