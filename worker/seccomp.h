// The system call filter of the box, as a sealed memfd of BPF instructions that bubblewrap loads. No other file includes
// libseccomp.
//
// It is a deny list: what a build tool, an interpreter or a test suite may want is open; closed is what reaches beyond the
// box, what a process without rights has no use for, and what has been the kernel's weak side. It holds for the 32-bit and x32
// entry points too; a system call by any other entry ends the process.
#pragma once

#include "lib/error.h"

#include <stdbool.h>

// uncharged_memory_refused: also refuses what holds memory that no process's resident size shows (memfd, System V's segments, semaphores and queues); wanted
// where no cgroup counts it. *fd is the caller's.
int seccomp_make(bool uncharged_memory_refused, int *fd, struct error *error) MUST_USE;
