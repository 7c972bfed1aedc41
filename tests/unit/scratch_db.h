// A private PostgreSQL for one test program: in a temporary directory, on a free port, gone when the program ends (also by a
// signal). Started by root it runs as the user postgres, since PostgreSQL refuses root.
#pragma once

#include "lib/attr.h"
#include "lib/db.h"
#include "lib/mem.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct scratch_db {
	char dir[64], *bin;
	char port[8];
	pid_t server;
	struct db_config config;
};

// The newest of /usr/lib/postgresql/N/bin, Debian's place.
static inline char *scratch_bin(void) {
	static const char root[] = "/usr/lib/postgresql";
	long newest = 0;
	DIR *dir = opendir(root);
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		long version = strtol(entry->d_name, NULL, 10);
		if (version > newest) newest = version;
	}
	if (dir) closedir(dir);
	return newest ? mem_format("%s/%ld/bin", root, newest) : mem_strdup("/usr/bin");
}

static inline void scratch_drop_root(void) {
	const struct passwd *postgres = geteuid() ? NULL : getpwnam("postgres");
	if (!postgres) return;
	if (setresgid(postgres->pw_gid, postgres->pw_gid, postgres->pw_gid)) _exit(126);
	if (setresuid(postgres->pw_uid, postgres->pw_uid, postgres->pw_uid)) _exit(126);
}

// Starts a program of PostgreSQL's as its user; output goes to the directory's log. It is started by its path: by
// that it finds the others, which Debian has in no PATH.
static inline pid_t scratch_start(const struct scratch_db *scratch, const char *program, const char *const *arguments) {
	pid_t parent = getpid(), pid = fork();
	if (pid) return pid;
	AUTO_FREE char *path = mem_format("%s/%s", scratch->bin, program);
	AUTO_FREE char *log = mem_format("%s/log", scratch->dir);
	scratch_drop_root();
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGINT); // for a server: end now, in good order
	// the folder that we are in may be closed to PostgreSQL's user (a clone below /root)
	if (getppid() != parent || chdir(scratch->dir)) _exit(126);
	int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	const char *all[24] = {path};
	for (size_t i = 1; arguments[i] && i < COUNT_OF(all) - 1; i++) all[i] = arguments[i];
	execv(path, (char *const *)(uintptr_t)all);
	_exit(127);
}

static inline int scratch_wait(pid_t pid) {
	int status = -1;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

// One run of a program of PostgreSQL's; its exit code.
static inline int scratch_run(const struct scratch_db *scratch, const char *program, const char *const *arguments) {
	return scratch_wait(scratch_start(scratch, program, arguments));
}

static inline bool scratch_answers(const struct scratch_db *scratch) {
	struct db *db = NULL;
	AUTO_ERROR struct error error = {0};
	bool answers = !db_open(&scratch->config, &error, &db);
	db_close(db);
	return answers;
}

static inline int scratch_up(struct scratch_db *scratch) {
	AUTO_FREE char *data = mem_format("%s/data", scratch->dir);
	const char *const arguments[] = {"postgres", "-D", data, "-k", scratch->dir, "-p", scratch->port, "-h", "127.0.0.1",
		"-F", "-c", "deadlock_timeout=50ms", "-c", "max_connections=40", NULL};
	scratch->server = scratch_start(scratch, "postgres", arguments);
	for (int i = 0; i < 1000; i++) {
		if (scratch_answers(scratch)) return 0;
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	}
	return -1;
}

static inline void scratch_down(struct scratch_db *scratch) {
	if (scratch->server <= 0) return;
	kill(scratch->server, SIGINT);
	scratch_wait(scratch->server);
	scratch->server = 0;
}

static inline int scratch_remove_one(
	const char *path, const struct stat *info UNUSED, int type UNUSED, struct FTW *place UNUSED) {
	return remove(path);
}

static inline void scratch_close(struct scratch_db *scratch) {
	scratch_down(scratch);
	nftw(scratch->dir, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(scratch->bin);
}

static inline void scratch_free_port(char port[8]) {
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (!bind(fd, (struct sockaddr *)&address, length)) getsockname(fd, (struct sockaddr *)&address, &length);
	close(fd);
	snprintf(port, 8, "%u", ntohs(address.sin_port));
}

static inline int scratch_open(struct scratch_db *scratch) {
	*scratch = (struct scratch_db){.dir = "/tmp/trabajos-unit-XXXXXX", .bin = scratch_bin()};
	if (!mkdtemp(scratch->dir)) return -1;
	const struct passwd *postgres = geteuid() ? NULL : getpwnam("postgres");
	if (postgres && chown(scratch->dir, postgres->pw_uid, postgres->pw_gid)) return -1;
	AUTO_FREE char *data = mem_format("%s/data", scratch->dir);
	const char *const arguments[] = {
		"initdb", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "-D", data, NULL};
	if (scratch_run(scratch, "initdb", arguments)) return -1;
	scratch_free_port(scratch->port);
	static char host[] = "127.0.0.1", name[] = "postgres", user[] = "postgres", empty[] = "";
	scratch->config = (struct db_config){.host = host,
		.port = scratch->port,
		.name = name,
		.user = user,
		.password = empty,
		.options = empty,
		.application = "unit"};
	return scratch_up(scratch);
}
