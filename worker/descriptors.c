#include "worker/descriptors.h"

#include <errno.h>
#include <sys/resource.h>

// One message takes 253 at most, and only then they are counted.
#define ABOVE_JOBS 256

int descriptors_take(int64_t job_files, bool shared_uid, struct error *error) {
	struct rlimit own;
	if (getrlimit(RLIMIT_NOFILE, &own) != 0) return error_set_errno(error, ERROR_INTERNAL, errno, "open files");
	rlim_t above = shared_uid ? ABOVE_JOBS : 0;
	if ((rlim_t)job_files + above > own.rlim_max)
		return error_set(error, ERROR_INPUT,
			"JOB_FILES=%lld%s is more than the %lld open files that this worker itself may have: raise its hard limit "
			"(ulimit -Hn; systemd: LimitNOFILE=) or lower it",
			(long long)job_files, shared_uid ? " + 256 (jobs run as the worker's own user)" : "",
			(long long)own.rlim_max);
	own.rlim_cur = own.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &own) != 0) return error_set_errno(error, ERROR_INTERNAL, errno, "raise the open files");
	return 0;
}
