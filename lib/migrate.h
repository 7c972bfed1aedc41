// Brings the database up to the version that this program was built with: sql/NNNN-name.sql, embedded at build time,
// each in a transaction of its own, under an advisory lock, recorded in migraciones(version, name, sha256, applied_at).
#pragma once

#include "lib/db.h"

struct migration {
	int version;
	const char *name;
	const char *sql;
};

extern const struct migration migrations[]; // generated from sql/ by the Makefile (build/…/migrations.c); ends with version 0

// ERROR_CONFLICT: an applied migration differs from ours by its checksum, or the database is newer than this program.
// `applied` (may be NULL) is told of each one as it is done.
int migrate_apply(
	struct db *db, void (*applied)(const struct migration *migration, void *arg), void *arg, struct error *error) MUST_USE;
