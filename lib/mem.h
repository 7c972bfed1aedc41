// Allocation that does not fail: out of memory ends the process with one line on stderr and abort().
// A daemon that is killed loses nothing (see docs/ARCHITECTURE.md), so that no caller has to unwind.
#pragma once

#include "lib/attr.h"

#include <stdarg.h>
#include <stddef.h>

#define NEVER_NULL __attribute__((returns_nonnull))

// All results are owned by the caller and released with free(). mem_dup of NULL is NULL.
void *mem_zalloc(size_t bytes) MUST_USE NEVER_NULL;
void *mem_zalloc_array(size_t count, size_t bytes) MUST_USE NEVER_NULL; // checks the product
void *mem_resize(void *old, size_t count, size_t bytes) MUST_USE NEVER_NULL;
char *mem_strdup(const char *text) MUST_USE;
char *mem_strndup(const char *text, size_t most) MUST_USE;
void *mem_dup(const void *data, size_t bytes) MUST_USE;
char *mem_format(const char *format, ...) MUST_USE NEVER_NULL PRINTF(1, 2);
char *mem_format_list(const char *format, va_list arguments) MUST_USE PRINTF(1, 0);
// Ends the process like a failed allocation: `what` cannot go on (no descriptors, a broken invariant).
void mem_die(const char *what) NORETURN;
