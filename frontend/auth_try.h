// For --check: can tokens be checked.
#pragma once

#include "frontend/auth.h"

// Fetches the issuer's keys once, on a loop of its own; blocks up to 5 s.
int auth_try(const struct auth_config *config, struct error *error) MUST_USE;
