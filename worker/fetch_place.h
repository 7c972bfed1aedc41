// Where the fetch works: its folders in WORKER_DIR, its program.
#pragma once

#include "worker/fetch.h"

// Makes WORKER_DIR and in it mirrors (the child's alone) and trees (read by the slots' group), and looks whether the child's uid
// can reach them. The descriptor of WORKER_DIR.
int fetch_place_open(const struct fetch_config *config, int *dir_fd, struct error *error) MUST_USE;
// trabajos-fetch, open for execveat; a copy in memory where the child's uid may not execute the file.
int fetch_place_program(const struct fetch_config *config, int *program_fd, struct error *error) MUST_USE;
