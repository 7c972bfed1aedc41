// The one place that includes libgit2, 1.5 to 1.9. Its parts by name, since git2.h as a whole has members called like functions
// that lib/banned.h poisons.
#pragma once

#include <git2/commit.h>
#include <git2/common.h>
#include <git2/config.h>
#include <git2/credential.h>
#include <git2/errors.h>
#include <git2/global.h>
#include <git2/graph.h>
#include <git2/indexer.h>
#include <git2/object.h>
#include <git2/odb.h>
#include <git2/odb_backend.h>
#include <git2/oid.h>
#include <git2/pack.h>
#include <git2/refs.h>
#include <git2/remote.h>
#include <git2/repository.h>
#include <git2/strarray.h>
#include <git2/sys/stream.h>
#include <git2/trace.h>
#include <git2/tree.h>
#include <git2/types.h>
#if __has_include(<git2/sys/errors.h>)
#include <git2/sys/errors.h> // git_error_set_str, from 1.8 on
#endif
