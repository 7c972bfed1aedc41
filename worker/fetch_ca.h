// GIT_CA_FILE: the certificates by which a deployment's own git servers are trusted.
#pragma once

#include "lib/error.h"

// Writes the system's certificates and those of ca_file into WORKER_DIR/ca.pem, where every child can read them whatever its uid;
// its path, owned by the caller. ERROR_INPUT: ca_file is not as it should be.
int fetch_ca_prepare(const char *ca_file, const char *dir, int dir_fd, char **path, struct error *error) MUST_USE;
