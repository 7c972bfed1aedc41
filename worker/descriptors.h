// The worker's own bound of open files.
//
// The kernel holds it also against the descriptors that are in flight through sockets (unix(7), ETOOMANYREFS), of all processes of
// the uid together, whatever their user namespace. A job may leave as many of them as a process of its may have open; who
// shares the uid and has no higher bound could then hand over none.
#pragma once

#include "lib/error.h"

#include <stdbool.h>
#include <stdint.h>

// Raises the soft bound to the hard one. shared_uid: jobs run as the worker's own uid. ERROR_INPUT: the hard one is too low for
// job_files; the message says what to do.
int descriptors_take(int64_t job_files, bool shared_uid, struct error *error) MUST_USE;
