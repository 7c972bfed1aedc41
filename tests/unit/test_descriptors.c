// In child processes, whose bounds and uid are their own.
#include "worker/descriptors.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEST_UID 61990 // of nobody

static int in_child(int (*fn)(void), rlim_t soft, rlim_t hard) {
	pid_t pid = fork();
	if (pid == 0) {
		const struct rlimit bounds = {.rlim_cur = soft, .rlim_max = hard};
		if (setrlimit(RLIMIT_NOFILE, &bounds) != 0) _exit(90);
		// Root is not held to it.
		if (geteuid() == 0 &&
			(setresgid(TEST_UID, TEST_UID, TEST_UID) != 0 || setresuid(TEST_UID, TEST_UID, TEST_UID) != 0))
			_exit(91);
		_exit(fn());
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int send_descriptors(int socket, size_t count) {
	int descriptors[250] = {0};
	union {
		char room[CMSG_SPACE(sizeof(descriptors))];
		struct cmsghdr align;
	} control = {0};
	struct iovec data = {.iov_base = "x", .iov_len = 1};
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(count * sizeof(int))};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	*header =
		(struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(count * sizeof(int))};
	for (size_t i = 0; i < count; i++) descriptors[i] = socket;
	memcpy(CMSG_DATA(header), descriptors, count * sizeof(int));
	return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 ? 0 : -1;
}

// As a job would that means harm: as many as it can, and it keeps them there.
static void flood(void) {
	for (int full = 0; !full;) {
		int pair[2];
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) _exit(92);
		full = 1;
		while (send_descriptors(pair[0], 250) == 0) full = 0;
	}
}

static int hand_over_beside_a_flood(void) {
	struct error error = {0};
	int ready[2], pair[2];
	char byte;
	if (pipe(ready) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return 93;
	pid_t job = fork();
	if (job == 0) {
		const struct rlimit bounds = {.rlim_cur = 256, .rlim_max = 256};
		if (setrlimit(RLIMIT_NOFILE, &bounds) != 0) _exit(94);
		flood();
		(void)!write(ready[1], "x", 1);
		for (;;) (void)pause();
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1) return 95;
	bool held_before = send_descriptors(pair[0], 3) != 0;
	int code = 0;
	if (descriptors_take(256, true, &error) != 0)
		code = 1;
	else if (send_descriptors(pair[0], 3) != 0)
		code = 2;
	(void)kill(job, SIGKILL);
	(void)waitpid(job, NULL, 0);
	return held_before ? code : 3;
}

static void a_job_that_floods_sockets_with_descriptors_does_not_hinder_its_worker(void **state) {
	(void)state;
	assert_int_equal(in_child(hand_over_beside_a_flood, 256, 1024), 0);
}

static int take(int64_t job_files, bool shared_uid, rlim_t expected) {
	AUTO_ERROR struct error error = {0};
	struct rlimit now;
	if (descriptors_take(job_files, shared_uid, &error) != 0) {
		bool clear = error.kind == ERROR_INPUT && strstr(error_text(&error), "JOB_FILES=1024") &&
			     strstr(error_text(&error), "ulimit -Hn") && strstr(error_text(&error), "1200");
		return clear ? 1 : 2;
	}
	return getrlimit(RLIMIT_NOFILE, &now) == 0 && now.rlim_cur == expected ? 0 : 3;
}

static int take_shared(void) {
	return take(1024, true, 1280);
}

static int take_shared_of_too_few(void) {
	return take(1024, true, 1200);
}

static int take_own(void) {
	return take(1024, false, 1200);
}

static void the_soft_bound_becomes_the_hard_one(void **state) {
	(void)state;
	assert_int_equal(in_child(take_shared, 512, 1280), 0);
	assert_int_equal(in_child(take_own, 512, 1200), 0);
}

static void a_hard_bound_that_is_too_low_for_a_shared_uid_is_told(void **state) {
	(void)state;
	assert_int_equal(in_child(take_shared_of_too_few, 512, 1200), 1);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_job_that_floods_sockets_with_descriptors_does_not_hinder_its_worker),
		cmocka_unit_test(the_soft_bound_becomes_the_hard_one),
		cmocka_unit_test(a_hard_bound_that_is_too_low_for_a_shared_uid_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
