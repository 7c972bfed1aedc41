// For the escape tests: each attack is first run outside of any box, by an unprivileged user of the test's own in a folder of its
// own, to prove that it can succeed; then in the box, at every level where it must achieve nothing, beside a neighbour's job.
//
// An attack is a function of the test program that returns ESCAPE_NOTHING where it has achieved nothing, or says what it has.
// Outside, the process above it plays the part of the box's pid 1: it is what an attack on "the supervisor" aims at.
#pragma once

#include "tests/unit/neighbour.h"
#include "tests/unit/sandbox_rig.h"
#include "worker/fetch/seal.h"

#include <grp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>

#define ESCAPE_NOTHING  0
#define ESCAPE_ACHIEVED 1
#define ESCAPE_NO_OFFER 77 // this machine has not what the attack wants

struct escape {
	const char *name; // a sentence: the test's name
	int (*fn)(void);
	enum sandbox_level weakest; // it achieves nothing down to this level
	const char *no_control;     // why nobody but root could succeed outside; NULL: the control is run
	bool killed;                // in the box it may end by the job's death
	bool own_user;              // outside it hits all that belong to its user: only where root can make it one of its own
	bool uids_apart; // where jobs have uids of their own (the worker is root's), it achieves nothing at any level
};

struct escape_suite {
	struct rig rig;
	enum sandbox_level best;
	char outside[80], control[80]; // everybody may write to the first; the second is the attacker's own
	uid_t uid;                     // the attacker's outside; another run at the same time shall have another
	int abstract, segment;         // what everybody outside may connect to, and attach
	int forgotten;                 // a descriptor that every child inherits
	char seal[DIGEST_TEXT];        // of the tree that all attacks share
	char told[PATH_MAX + 128];     // a variable of the attack's environment: "ESCAPE_TOLD=" and what the attacker knows
};

static struct escape_suite suite;

// ---- inside of an attack

static inline bool escape_is_control(void) {
	return getenv("ESCAPE_CONTROL") != NULL;
}

static inline int escape_achieved(const char *what) {
	printf("%s\n", what);
	return ESCAPE_ACHIEVED;
}

// For what a kernel need not have: outside the error tells why this machine does not offer it.
static inline int escape_refused(const char *what) {
	if (!escape_is_control()) return ESCAPE_NOTHING;
	printf("%s: %s\n", what, strerror(errno));
	return ESCAPE_NO_OFFER;
}

static inline int escape_reached(long result, const char *what) {
	return result >= 0 ? escape_achieved(what) : escape_refused(what);
}

static inline const char *escape_outside(const char *name) {
	static char path[PATH_MAX];
	(void)snprintf(path, sizeof(path), "%s/%s", getenv("ESCAPE_OUTSIDE"), name);
	return path;
}

// Of this run alone, for what has names without folders.
static inline const char *escape_unique(const char *outside) {
	static char name[96];
	size_t length = 0;
	for (const char *at = outside + strlen("/tmp/"); *at && length < sizeof(name) - 1; at++)
		name[length++] = *at == '/' ? '-' : *at;
	name[length] = 0;
	return name;
}

static inline socklen_t escape_abstract_address(const char *outside, struct sockaddr_un *address) {
	const char *name = escape_unique(outside);
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(address->sun_path + 1, name, strlen(name));
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
}

static inline int escape_main(const struct escape *escapes, size_t count, const char *name) {
	for (size_t i = 0; i < count; i++) {
		if (strcmp(escapes[i].name, name) != 0) continue;
		int code = escapes[i].fn();
		// The control hears of it by this line: who waits for the exit status may be what was attacked.
		printf("result %d\n", code);
		(void)fflush(stdout);
		// Without a sanitizer's last look, which wants a /proc.
		_exit(code);
	}
	return 99;
}

// ---- the control

static inline void escape_drop_rights(void) {
	if (geteuid() != 0) return;
	if (setgroups(0, NULL) != 0 || setresgid(suite.uid, suite.uid, suite.uid) != 0 ||
		setresuid(suite.uid, suite.uid, suite.uid) != 0)
		_exit(96);
	// The change of uid has closed /proc/PID to its own user.
	(void)prctl(PR_SET_DUMPABLE, 1);
}

static inline void escape_exec(const char *name) {
	char *outside = mem_format("ESCAPE_OUTSIDE=%s", suite.outside);
	char control[] = "ESCAPE_CONTROL=1", leaks[] = "ASAN_OPTIONS=detect_leaks=0";
	char *env[] = {outside, control, leaks, suite.told, NULL};
	(void)execle("./attack", "attack", "attack", name, NULL, env);
	_exit(97);
}

// Plays pid 1: it only waits. Anything may happen to it.
static inline NORETURN void escape_stand_in(const char *name, int out) {
	// Where Yama guards processes (ptrace_scope 1), children may do it only by this leave.
	(void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	if (setsid() < 0 || dup2(out, STDOUT_FILENO) < 0 || chdir(suite.control) != 0) _exit(95);
	escape_drop_rights();
	pid_t pid = fork();
	if (pid == 0) escape_exec(name);
	int status;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	_exit(0);
}

// What it printed is put into text. Its result is the last line's.
static inline int escape_outside_of_any_box(const char *name, char *text, size_t size) {
	int ends[2];
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) escape_stand_in(name, ends[1]);
	close(ends[1]);
	size_t length = 0;
	for (ssize_t part; length < size - 1 && (part = read(ends[0], text + length, size - 1 - length)) > 0;)
		length += (size_t)part;
	text[length] = 0;
	close(ends[0]);
	(void)kill(-pid, SIGKILL);
	(void)kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	char *result = strstr(text, "result ");
	if (!result) fail_msg("%s: outside of any box it was cut short: %s", name, text);
	int code = (int)strtol(result + strlen("result "), NULL, 10);
	*result = 0;
	text[strcspn(text, "\n")] = 0;
	return code;
}

// NULL: it succeeded outside; else why this machine cannot show that.
static inline const char *escape_prove(const struct escape *escape) {
	static char text[4096];
	if (escape->no_control) return escape->no_control;
	if (escape->own_user && geteuid() != 0) return "only root can make it a user of its own";
	int code = escape_outside_of_any_box(escape->name, text, sizeof(text));
	if (code == ESCAPE_NO_OFFER) return text;
	if (code != ESCAPE_ACHIEVED) fail_msg("%s: not even outside of any box (%d): %s", escape->name, code, text);
	return NULL;
}

// ---- in the box

struct escape_trial {
	const struct escape *escape;
	enum sandbox_level level;
};

static inline void escape_attack(void *arg) {
	const struct escape_trial *trial = arg;
	const struct escape *escape = trial->escape;
	AUTO_FREE char *outside = mem_format("ESCAPE_OUTSIDE=%s", suite.outside);
	const char *const argv[] = {"./attack", "attack", escape->name, NULL};
	const char *const env[] = {outside, "ASAN_OPTIONS=detect_leaks=0", suite.told, NULL};
	AUTO_RESULT struct rig_result result;
	rig_run_job(&suite.rig, &(struct rig_job){.argv = argv, .env = env}, &result);
	const struct sandbox_report *report = &result.report;
	bool killed = escape->killed && report->exit_code == -1 && report->signal == SIGKILL;
	if (!report->ran || (report->exit_code != ESCAPE_NOTHING && !killed))
		fail_msg("%s: at level %s: exit %d, signal %d: %s%s%s", escape->name, sandbox_level_names[trial->level],
			report->exit_code, report->signal, result.out, result.err, error_text(&report->error));
}

static inline void escape_try(const struct escape *escape, enum sandbox_level level) {
	rig_force(&suite.rig, level);
	struct escape_trial trial = {escape, level};
	// Of the levels it is the strongest that has the neighbours.
	if (level == suite.best)
		neighbour_beside(&suite.rig, escape->name, escape_attack, &trial);
	else
		escape_attack(&trial);
}

static inline void escape_try_levels(
	const struct escape *escape, void (*try)(const struct escape *escape, enum sandbox_level level)) {
	enum sandbox_level weakest = escape->uids_apart && geteuid() == 0 ? SANDBOX_NONE : escape->weakest;
	for (enum sandbox_level level = SANDBOX_FULL; level <= weakest; level++) {
		if (level < suite.best)
			rig_not_offered(&suite.rig, level, escape->name);
		else
			try(escape, level);
	}
}

// What is proven neither outside nor here is listed by its name.
static inline void escape_unproven(const struct escape *escape, const char *why) {
	if (!why) return;
	print_message("not offered here: outside of a box: %s: %s\n", escape->name, why);
	skip();
}

static inline void escape_test(void **state) {
	const struct escape *escape = *state;
	const char *unproven = escape_prove(escape);
	escape_try_levels(escape, escape_try);
	escape_unproven(escape, unproven);
}

// ---- the suite

static inline int escape_listen(void) {
	struct sockaddr_un address;
	socklen_t length = escape_abstract_address(suite.outside, &address);
	suite.abstract = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return bind(suite.abstract, (struct sockaddr *)&address, length) != 0 || listen(suite.abstract, 8) != 0;
}

static inline int escape_setup(void **state) {
	(void)state;
	suite.forgotten = open("/dev/null", O_RDONLY);
	// Where the run has no standard input it is that; an attack looks above the three.
	while (suite.forgotten >= 0 && suite.forgotten <= STDERR_FILENO) suite.forgotten = dup(suite.forgotten);
	assert_true(suite.forgotten > STDERR_FILENO);
	rig_open(&suite.rig, SANDBOX_NONE);
	suite.best = sandbox_level(suite.rig.sandbox);
	(void)snprintf(suite.told, sizeof(suite.told), "ESCAPE_TOLD=");
	suite.uid = RIG_UID_BASE + 900 + 2 * (uid_t)(getpid() % 1000);
	(void)snprintf(suite.outside, sizeof(suite.outside), "%s/outside", suite.rig.dir);
	(void)snprintf(suite.control, sizeof(suite.control), "%s/control", suite.rig.dir);
	assert_int_equal(mkdir(suite.outside, 0700) | chmod(suite.outside, 0777), 0);
	assert_int_equal(mkdir(suite.control, 0700), 0);
	rig_write(suite.outside, "secret", "secret\n", 0666);
	AUTO_FREE char *secret = mem_format("%s/secret", suite.outside);
	suite.segment = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0644);
	AUTO_FREE char *segment = mem_format("%d", suite.segment);
	const char *const folders[] = {suite.rig.tree, suite.control};
	for (size_t i = 0; i < COUNT_OF(folders); i++) {
		AUTO_FREE char *link = mem_format("%s/way-out", folders[i]);
		AUTO_FREE char *attack = mem_format("%s/attack", folders[i]);
		AUTO_FREE char *setuid = mem_format("%s/attack-setuid", folders[i]);
		rig_write(folders[i], "segment", segment, 0644);
		assert_int_equal(symlink(secret, link), 0);
		if (folders[i] == suite.control) rig_copy_file("/proc/self/exe", attack, 0755);
		rig_copy_file("/proc/self/exe", setuid, 0755);
		// Another unprivileged user's.
		if (geteuid() == 0) assert_int_equal(chown(setuid, suite.uid + 1, suite.uid + 1) | chmod(setuid, 06755), 0);
	}
	if (geteuid() == 0) assert_int_equal(chown(suite.control, suite.uid, suite.uid), 0);
	assert_int_equal(seal_tree(AT_FDCWD, suite.rig.tree, suite.seal), 0);
	return escape_listen();
}

static inline int escape_teardown(void **state) {
	(void)state;
	char seal[DIGEST_TEXT] = "";
	assert_int_equal(seal_tree(AT_FDCWD, suite.rig.tree, seal), 0);
	if (strcmp(seal, suite.seal) != 0) fail_msg("an attack has changed the tree that others see");
	(void)shmctl(suite.segment, IPC_RMID, NULL);
	close(suite.abstract);
	close(suite.forgotten);
	rig_close(&suite.rig);
	return 0;
}

// Fills tests with one for each escape.
static inline void escape_tests(const struct escape *escapes, size_t count, struct CMUnitTest *tests) {
	for (size_t i = 0; i < count; i++)
		tests[i] = (struct CMUnitTest){
			.name = escapes[i].name, .test_func = escape_test, .initial_state = (void *)(uintptr_t)&escapes[i]};
}
