// From the command's start to its end, and the end of everything that it has started.
//
// The command has a session of its own. Its end is the job's end: what still runs then is killed and reaped, so that the times
// are whole and nothing of the job is alive when "ended" is said.
#include "worker/init/init.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#define SAMPLE_US         100000
#define SHARED_FILES_MOST 16384 // in /dev/shm

struct watch {
	const struct command *command;
	pid_t main;
	int signals;
	int files;          // -1: nobody asks
	bool ended, killed; // the command; by the worker's order
	int status;
	bool disk_full, files_full;
};

static void signal_all(const struct command *command, int number) {
	if (command->bare)
		offspring_kill(number);
	else
		(void)kill(-1, number); // pid 1: everybody else of the namespace
}

// ---- start

static void say_refused(const char *program, int number) {
	char quoted[512];
	say_quoted(program, quoted, sizeof(quoted));
	say("{\"event\":\"refused\",\"errno\":%d,\"what\":%s}", number, quoted);
}

// A SIGTERM that came before there was anything to send it to.
static bool already_unwanted(void) {
	char letter;
	ssize_t length = recv(SPEC_FD_SOCKET, &letter, 1, MSG_DONTWAIT);
	return length == 0 || (length == 1 && (letter == 'T' || letter == 'K'));
}

// ---- watch

static void reap(struct watch *watch) {
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);
		if (pid <= 0) return;
		if (pid != watch->main) continue;
		watch->ended = true;
		watch->status = status;
	}
}

// bubblewrap cannot limit the inodes of a tmpfs, and each is kernel memory.
static bool has_more_files(const struct statvfs *space, int64_t most) {
	return most > 0 && space->f_files - space->f_ffree > (uint64_t)most;
}

static void look_at_disk(struct watch *watch) {
	struct statvfs space;
	if (watch->command->bare || fstatvfs(watch->command->root_fd, &space) != 0) return;
	if (space.f_bavail == 0 || space.f_ffree == 0) watch->disk_full = true;
	struct statvfs shared;
	bool flooded = has_more_files(&space, watch->command->files_most) ||
		       (statvfs("/dev/shm", &shared) == 0 && has_more_files(&shared, SHARED_FILES_MOST));
	if (!flooded) return;
	watch->disk_full = true;
	signal_all(watch->command, SIGKILL);
}

static void kill_and_reap(const struct command *command) {
	do signal_all(command, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR);
}

static void hear(struct watch *watch) {
	const struct command *command = watch->command;
	char letter;
	ssize_t length = recv(SPEC_FD_SOCKET, &letter, 1, MSG_DONTWAIT);
	if (length == 1 && letter == 'T') signal_all(command, SIGTERM);
	if (length == 1 && letter == 'K') {
		watch->killed = true;
		signal_all(command, SIGKILL);
	}
	if (length > 0 || (length < 0 && (errno == EAGAIN || errno == EINTR))) return;
	// The worker is gone, and with it whoever could want the result.
	kill_and_reap(command);
	_exit(72);
}

static void answer(struct watch *watch, struct pollfd *polled) {
	if (polled->revents & POLLIN)
		files_answer(watch->files, watch->command->open_files, &watch->files_full);
	else if (polled->revents)
		polled->fd = -1; // nobody is left who could ask
}

static void wait_for_end(struct watch *watch) {
	struct pollfd polled[] = {
		{.fd = watch->signals, .events = POLLIN},
		{.fd = SPEC_FD_SOCKET, .events = POLLIN},
		{.fd = watch->files, .events = POLLIN},
	};
	for (int64_t due_us = say_now_us() + SAMPLE_US;;) {
		reap(watch);
		if (watch->ended) return;
		int ready = poll(polled, COUNT_OF(polled), SAMPLE_US / 1000);
		if (say_now_us() >= due_us) {
			look_at_disk(watch);
			due_us = say_now_us() + SAMPLE_US;
		}
		if (ready <= 0) continue;
		struct signalfd_siginfo info[8];
		if (polled[0].revents) (void)!read(watch->signals, info, sizeof(info));
		if (polled[1].revents) hear(watch);
		answer(watch, &polled[2]);
	}
}

static int64_t microseconds(const struct timeval *time) {
	return (int64_t)time->tv_sec * 1000000 + time->tv_usec;
}

static void say_ended(const struct watch *watch, int64_t at_us) {
	struct rusage usage;
	if (getrusage(RUSAGE_CHILDREN, &usage) != 0) usage = (struct rusage){0};
	say("{\"event\":\"ended\",\"status\":%d,\"at_us\":%lld,\"user_us\":%lld,\"kernel_us\":%lld,\"maxrss_kb\":%ld,\"disk_full\":%s,\"files_full\":%s,\"collecting\":%s}",
		watch->status, (long long)at_us, (long long)microseconds(&usage.ru_utime),
		(long long)microseconds(&usage.ru_stime), usage.ru_maxrss, watch->disk_full ? "true" : "false",
		watch->files_full ? "true" : "false", watch->command->collecting && !watch->killed ? "true" : "false");
}

static int watch_signals(void) {
	sigset_t set;
	sigfillset(&set);
	if (sigprocmask(SIG_SETMASK, &set, NULL) != 0) return -1;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int supervise(const struct command *command, bool *whole) {
	struct watch watch = {.command = command, .signals = watch_signals(), .files = -1};
	if (watch.signals < 0) {
		say_failed("init: signals", errno, false);
		return 71;
	}
	if (already_unwanted()) {
		say_failed("init: ended before its start", ECANCELED, false);
		return 71;
	}
	char missing[INTERPRETER_NAME];
	if (interpreter_missing(command->argv[0], command->env, missing)) {
		say_refused(missing, ENOENT);
		return 71;
	}
	// Before it is executed: what it does at once must not seem to come before its start.
	int64_t at_us = say_now_us();
	int number = start(command, &watch.main, &watch.files);
	if (number != 0) {
		// The file is there: what is not is the loader that it names (PT_INTERP), as with programs for another libc.
		bool there = number == ENOENT && strchr(command->argv[0], '/') && access(command->argv[0], F_OK) == 0;
		snprintf(missing, sizeof(missing), "%s%s", there ? "the dynamic loader of " : "", command->argv[0]);
		say_refused(missing, number);
		return 71;
	}
	close(SPEC_FD_OUT);
	close(SPEC_FD_ERR);
	say("{\"event\":\"started\",\"at_us\":%lld}", (long long)at_us);
	wait_for_end(&watch);
	at_us = say_now_us();
	look_at_disk(&watch);
	kill_and_reap(command);
	say_ended(&watch, at_us);
	*whole = !watch.killed;
	return 0;
}
