// The program trabajos-init: started by the worker outside (launch), pid 1 inside (run). It links nothing but the C library,
// statically, because it is started for every job.
#pragma once

#include "lib/attr.h"
#include "worker/init/spec.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// ---- launch.c: the step outside of the box; main of `trabajos-init launch`
int launch_main(int argc, char **argv);

// ---- trees.c
// A read-only mount of the folder that hangs nowhere, whose files' owner is seen as uid and gid ((uid_t)-1: is this process's own).
int trees_clone(const char *path, uid_t uid, gid_t gid) MUST_USE;

// ---- helper.c
struct helper_order {
	const char *subject; // workspace: the folder of trees; network: the file of rules
	uid_t uid;           // the box's; -1: this process's own
	gid_t gid;
	void (*drop)(const void *arg); // the rights that are needed no more; does not return where it cannot
	const void *arg;
	int place;                                                   // where pid 1 has the socket
	void (*prepare)(const struct helper_order *order);           // with the rights of launch; NULL: nothing
	void (*serve)(const struct helper_order *order, int socket); // until the other end is closed, or the work is done
};
enum helper_kind { HELPER_READY = 1, HELPER_TREE, HELPER_NETWORK };
struct helper_question {
	uint32_t kind;
	char tree[sizeof(((struct spec *)0)->tree)];
};
enum helper_result { HELPER_DONE, HELPER_CANNOT, HELPER_BROKEN }; // BROKEN: the box must not be used
struct helper_answer {
	uint32_t result;
	int32_t number; // errno
	char what[64];
};
int helper_start(const struct helper_order *order) MUST_USE;
// For the helper. The namespace that owns the mounts or the network is the one above the job's own (--disable-userns).
int helper_open_namespaces(pid_t pid, const char *kind, int *owner, int *namespace) MUST_USE;
int helper_enter(pid_t pid, const char *kind) MUST_USE;
ssize_t helper_hear(int socket, struct helper_question *question, pid_t *sender) MUST_USE;
void helper_fill(struct helper_answer *answer, enum helper_result result, int number, const char *what);
// For pid 1.
bool helper_is_there(int place);
void helper_tell_ready(int place);
void helper_ask(int place, enum helper_kind kind, const char *tree, struct helper_answer *answer);

// ---- workspace.c, network.c
void workspace_order(struct helper_order *order);
void network_order(struct helper_order *order);

// ---- run.c: main of `trabajos-init run`
int run_main(int argc, char **argv);

// ---- supervise.c: from the command's start to its end
struct command {
	char **argv, **env;
	bool bare;          // no pid namespace: the job's processes are looked for
	int root_fd;        // of the writable layer
	int64_t files_most; // inodes
	int64_t open_files; // that a process can have, by RLIMIT_NOFILE
	bool collecting;    // artifacts are wanted afterwards
};
// *whole: it ended by itself, and "ended" was said; else there is nothing to collect.
int supervise(const struct command *command, bool *whole);

// ---- start.c
// Executes the command in a session of its own. 0, or errno: it could not be executed. *listener: files_answer is to be called
// whenever it is readable; -1: nobody asks.
int start(const struct command *command, pid_t *pid, int *listener) MUST_USE;

// ---- files.c
// This process, and all that it starts, ask when they use the last descriptor that they can have. A descriptor for whoever is to
// answer; -1: not here.
int files_watch(int64_t bound) MUST_USE;
// Answers one that asks. *found becomes true where it has as many open as it can have.
void files_answer(int listener, int64_t bound, bool *found);

// ---- glob.c
bool glob_fits(const char *pattern, const char *name);

// ---- collect.c: the job's artifacts, once nothing of it is alive
struct collect_order {
	char **globs; // NULL-terminated
	int64_t bytes, files;
	int pipe;
};
void collect(int folder, const struct collect_order *order);

// ---- interpreter.c
#define INTERPRETER_NAME 512
// Whether the program, a path, is a script that asks for an interpreter that is not there; then name says which.
bool interpreter_missing(const char *program, char *const *env, char name[INTERPRETER_NAME]);

// ---- copy.c
struct copy_result {
	int64_t files, bytes, skipped; // skipped: what is neither file, folder nor symbolic link
	int64_t cloned;                // files that share their blocks with the tree's
	int number;                    // errno of the failure
	bool tree;                     // the tree's own fault: too deep, too many, too large
	char what[512];                // what failed
};
struct copy_limits {
	int64_t files, bytes;
};
int copy_tree(int from, int to, const struct copy_limits *limits, struct copy_result *result) MUST_USE;

// ---- clear.c
int clear_folder(int parent, const char *name) MUST_USE; // removes it with all in it, whatever its depth and modes; -1: errno
int clear_main(int argc, char **argv);

// ---- offspring.c: without a pid namespace
void offspring_kill(int signal); // to every descendant of this process that is alive now

// ---- say.c
void say_open(int fd);
void say(const char *format, ...) PRINTF(1, 2); // one line; format gives the JSON
void say_failed(const char *what, int number, bool tree);
void say_quoted(const char *text, char *quoted, size_t size); // JSON string with its quotes, cut where it does not fit
int64_t say_now_us(void);                                     // CLOCK_MONOTONIC

// ---- probe.c: main of `trabajos-init probe`
int probe_main(int argc, char **argv);
