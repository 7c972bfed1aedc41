// What the server says, in words and figures for people.
#pragma once

#include "cli/table.h"
#include "lib/json.h"

#include <stdint.h>

// All owned by the caller.
char *view_duration(int64_t ms) MUST_USE;           // "1.2 s", "3 min 20 s", "2 h 5 min", "3 d 4 h"
char *view_ago(const char *moment) MUST_USE;        // "12 s", "5 min", "3 h", "2 d" of an RFC 3339 moment; "-" of none
char *view_moment(const char *moment) MUST_USE;     // in local time, "2026-11-21 12:00:00"; "-" of none
char *view_bytes(int64_t bytes) MUST_USE;           // "512 B", "1.5 KiB"
char *view_waiting(const json_t *waiting) MUST_USE; // why a queued job waits: a sentence
char *view_outcome(const json_t *job) MUST_USE;     // "ok", "exit 3", "timeout"; "" while there is none
void view_print(const json_t *json);                // --json: as it came, one line
const json_t *view_member(const json_t *object, const char *name);
int64_t view_int(const json_t *object, const char *name); // 0 where there is none
int64_t view_run_ms(const json_t *job);                   // how long it has run, or runs; -1: it has not

// The exit code that stands for how a job ended: its own, as a shell would say it.
int view_exit(const json_t *job);

// A table of jobs, as api_summary shows them; usuario: with whose.
struct table *view_jobs(const json_t *jobs, int usuario) MUST_USE;
struct table *view_workers(const json_t *workers) MUST_USE;
