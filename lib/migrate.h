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

// A text that a version was published with before; sha256 in hexadecimal. What it made is what today's migrations make.
struct migration_superseded {
	int version;
	const char *sha256;
};

extern const struct migration_superseded migrate_superseded[]; // from sql/superseded.sha256; ends with version 0

extern const char migrate_grants[]; // sql/grants.sql, from there too

// ERROR_CONFLICT: an applied migration differs from ours by its checksum, or the database is newer than this program.
// `applied` (may be NULL) is told of each one as it is done.
int migrate_apply(
	struct db *db, void (*applied)(const struct migration *migration, void *arg), void *arg, struct error *error) MUST_USE;
// Gives the daemons' own roles, those that there are, what sql/grants.sql lists; migrate_apply does it too if it applies anything.
int migrate_grant(struct db *db, struct error *error) MUST_USE;
