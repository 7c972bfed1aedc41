// A job that wants what is another's: of the job in the slot beside it, and of the worker, whose numbers it has been told, and of
// whomever else it finds or guesses. The victim is this program too: it has its secret in its environment, its memory, a file of
// its tree, an open descriptor, and in each kind of shared memory; at its end it says whether it was touched.
#include "tests/unit/escape_rig.h"

#include <signal.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define VICTIM      "victim"
#define VARIABLE    "SECRET"
#define BEGIN       "a secret of: "
#define DESCRIPTOR  9
#define FILE_NAME   "its-secret"
#define GUESSES     64
#define TARGETS     512
#define VICTIM_SLOT 1

// Of the victim, and of the worker. What begins it in other places is read from the command line: an attack's own memory and
// environment hold nothing like it.
static char in_memory[64] = BEGIN;

// ---- the victim

struct shared {
	char name[104]; // "/…"
	key_t key;
	int segment, memory, socket;
};

// The names are those that the attack guesses.
static void name_shared(struct shared *shared) {
	(void)snprintf(shared->name, sizeof(shared->name), "/victim-%s", escape_unique(getenv("ESCAPE_OUTSIDE")));
	uint32_t key = 5381;
	for (const char *at = shared->name; *at; at++) key = key * 33 + (unsigned char)*at;
	shared->key = (key_t)(key & 0x3fffffff) + 1;
}

static socklen_t victims_address(const struct shared *shared, struct sockaddr_un *address) {
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(address->sun_path + 1, shared->name, strlen(shared->name));
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(shared->name));
}

static bool share(struct shared *shared) {
	struct sockaddr_un address;
	name_shared(shared);
	socklen_t length = victims_address(shared, &address);
	shared->segment = shmget(shared->key, 4096, IPC_CREAT | 0600);
	bool no_segments = shared->segment < 0 && errno == ENOSYS;
	shared->memory = shm_open(shared->name, O_CREAT | O_RDWR, 0600);
	shared->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	// Where no group counts its memory, a box has no such segments at all.
	bool segment = shared->segment >= 0 || no_segments;
	return segment && shared->memory >= 0 && bind(shared->socket, (struct sockaddr *)&address, length) == 0 &&
	       listen(shared->socket, 8) == 0 && write(shared->memory, BEGIN, strlen(BEGIN)) > 0;
}

static void unshare_all(const struct shared *shared) {
	(void)shmctl(shared->segment, IPC_RMID, NULL);
	(void)shm_unlink(shared->name);
}

static bool is_traced(void) {
	AUTO_FCLOSE FILE *file = fopen("/proc/self/status", "re");
	char line[256];
	while (file && fgets(line, sizeof(line), file))
		if (strncmp(line, "TracerPid:\t", 11) == 0) return strtol(line + 11, NULL, 10) != 0;
	return false;
}

static const char *harm(const struct shared *shared, int file) {
	char text[sizeof(in_memory)] = "";
	if (strncmp(in_memory, BEGIN, strlen(BEGIN)) != 0) return "its memory was written to";
	if (pread(file, text, sizeof(text) - 1, 0) != (ssize_t)strlen(in_memory) || strcmp(text, in_memory) != 0)
		return "its file was written to";
	if (is_traced()) return "it is traced";
	if (accept(shared->socket, NULL, NULL) >= 0) return "somebody has connected";
	return NULL;
}

// Until it is told to end.
static int be_victim(void) {
	sigset_t end;
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &end, NULL);
	struct shared shared;
	// Where Yama guards processes (ptrace_scope 1), others may do it only by this leave.
	(void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	(void)snprintf(in_memory, sizeof(in_memory), "%s", getenv(VARIABLE));
	int file = open(FILE_NAME, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (!share(&shared) || dup2(file, DESCRIPTOR) < 0 || write(file, in_memory, strlen(in_memory)) < 0) {
		perror(VICTIM);
		return 90;
	}
	printf("%s is up at %p\n", VICTIM, (void *)in_memory);
	(void)fflush(stdout);
	int number;
	(void)sigwait(&end, &number);
	const char *what = escape_is_control() ? NULL : harm(&shared, file);
	unshare_all(&shared);
	(void)unlink(FILE_NAME);
	return what ? escape_achieved(what) : ESCAPE_NOTHING;
}

// ---- whom an attack goes for

struct target {
	pid_t pid;
	uintptr_t address; // of its secret; 0: who knows
};

static size_t add_target(struct target *targets, size_t count, pid_t pid, uintptr_t address) {
	bool known = count == TARGETS || pid <= 0 || pid == getpid();
	for (size_t i = 0; i < count && !known; i++) known = targets[i].pid == pid;
	if (!known) targets[count++] = (struct target){pid, address};
	return count;
}

// Those that it was told of; in a namespace of processes, where it can hit nobody but the box's, also all that it finds and guesses.
static size_t find_targets(struct target targets[TARGETS]) {
	size_t count = 0;
	char *at = getenv("ESCAPE_TOLD");
	while (at && *at && *at != '/') {
		pid_t pid = (pid_t)strtol(at, &at, 10);
		uintptr_t address = *at == ':' ? (uintptr_t)strtoull(at + 1, &at, 16) : 0;
		count = add_target(targets, count, pid, address);
		if (*at == ' ') at++;
	}
	if (escape_is_control() || getppid() != 1) return count;
	DIR *proc = opendir("/proc");
	for (struct dirent *entry; proc && (entry = readdir(proc));)
		count = add_target(targets, count, (pid_t)strtol(entry->d_name, NULL, 10), 0);
	if (proc) closedir(proc);
	for (pid_t pid = 1; pid <= GUESSES; pid++) count = add_target(targets, count, pid, 0);
	return count;
}

static int open_of(const struct target *target, const char *name, int flags) {
	char path[64];
	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)target->pid, name);
	return open(path, flags | O_NONBLOCK | O_CLOEXEC);
}

static int each_target(int (*attack)(const struct target *target)) {
	static struct target targets[TARGETS];
	size_t count = find_targets(targets);
	int result = ESCAPE_NOTHING;
	for (size_t i = 0; i < count && result != ESCAPE_ACHIEVED; i++) {
		int one = attack(&targets[i]);
		if (one != ESCAPE_NOTHING) result = one;
	}
	return result;
}

// ---- attacks by number

static int environment_of(const struct target *target) {
	char text[1024];
	AUTO_CLOSE int fd = open_of(target, "environ", O_RDONLY);
	return fd >= 0 && read(fd, text, sizeof(text)) > 0 ? escape_achieved("its environment") : ESCAPE_NOTHING;
}

static int read_environments(void) {
	return each_target(environment_of);
}

static int memory_of(const struct target *target) {
	char text[8];
	uintptr_t address = target->address ? target->address : (uintptr_t)in_memory;
	AUTO_CLOSE int fd = open_of(target, "mem", O_RDONLY);
	if (fd >= 0 && pread(fd, text, sizeof(text), (off_t)address) > 0) return escape_achieved("its memory");
	AUTO_CLOSE int maps = open_of(target, "maps", O_RDONLY);
	return maps >= 0 && read(maps, text, sizeof(text)) > 0 ? escape_achieved("where its memory is") : ESCAPE_NOTHING;
}

static int read_memories(void) {
	return each_target(memory_of);
}

static int memory_by_call(const struct target *target) {
	char text[8];
	uintptr_t address = target->address ? target->address : (uintptr_t)in_memory;
	const struct iovec mine = {text, sizeof(text)}, its = {(void *)address, sizeof(text)};
	long length = process_vm_readv(target->pid, &mine, 1, &its, 1, 0);
	return length > 0 || errno == EFAULT ? escape_achieved("its memory") : ESCAPE_NOTHING;
}

static int read_memories_by_call(void) {
	return each_target(memory_by_call);
}

static int write_by_call(const struct target *target) {
	static char text[] = "overwritten";
	uintptr_t address = target->address ? target->address : (uintptr_t)in_memory;
	const struct iovec mine = {text, sizeof(text)}, its = {(void *)address, sizeof(text)};
	if (process_vm_writev(target->pid, &mine, 1, &its, 1, 0) > 0) return escape_achieved("written");
	AUTO_CLOSE int fd = open_of(target, "mem", O_RDWR);
	return fd >= 0 ? escape_achieved("opened for writing") : ESCAPE_NOTHING;
}

static int write_memories(void) {
	return each_target(write_by_call);
}

static int trace(const struct target *target) {
	return ptrace(PTRACE_SEIZE, target->pid, NULL, NULL) == 0 ? escape_achieved("seized") : ESCAPE_NOTHING;
}

static int trace_them(void) {
	return each_target(trace);
}

static int descriptor_of(const struct target *target) {
	static const int numbers[] = {0, 1, 2, 3, 4, 5, 6, 7, DESCRIPTOR};
	char name[32];
	for (size_t i = 0; i < COUNT_OF(numbers); i++) {
		(void)snprintf(name, sizeof(name), "fd/%d", numbers[i]);
		AUTO_CLOSE int fd = open_of(target, name, O_RDONLY);
		if (fd >= 0) return escape_achieved(name);
	}
	return ESCAPE_NOTHING;
}

static int open_descriptors(void) {
	return each_target(descriptor_of);
}

static int take_one(const struct target *target) {
	static const int numbers[] = {0, 1, 2, 3, 4, 5, 6, 7, DESCRIPTOR};
	AUTO_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, target->pid, 0);
	if (pidfd < 0) return ESCAPE_NOTHING;
	for (size_t i = 0; i < COUNT_OF(numbers); i++)
		if (syscall(SYS_pidfd_getfd, pidfd, numbers[i], 0) >= 0) return escape_achieved("a descriptor");
	// a container's own filter may forbid the call, to the control too
	return errno == EPERM ? escape_refused("pidfd_getfd") : ESCAPE_NOTHING;
}

static int take_descriptors(void) {
	return each_target(take_one);
}

// Number 0 asks only for the right to send one.
static int signal_one(const struct target *target) {
	if (target->pid == getppid()) return ESCAPE_NOTHING; // of the box's own pid 1 test_sandbox_escape.c knows more
	return kill(target->pid, 0) == 0 ? escape_achieved("it could be killed") : ESCAPE_NOTHING;
}

static int signal_them(void) {
	return each_target(signal_one);
}

static int folders_of(const struct target *target) {
	static const char *const names[] = {"root/etc", "cwd", "exe"};
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		AUTO_CLOSE int fd = open_of(target, names[i], O_RDONLY);
		if (fd >= 0) return escape_achieved(names[i]);
	}
	return ESCAPE_NOTHING;
}

static int go_into_folders(void) {
	return each_target(folders_of);
}

// ---- attacks by name

static int connect_to_it(void) {
	struct shared shared;
	struct sockaddr_un address;
	name_shared(&shared);
	socklen_t length = victims_address(&shared, &address);
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return connect(fd, (struct sockaddr *)&address, length) == 0 ? escape_achieved("connected") : ESCAPE_NOTHING;
}

static int open_its_memory(void) {
	struct shared shared;
	name_shared(&shared);
	AUTO_CLOSE int fd = shm_open(shared.name, O_RDONLY, 0);
	return fd >= 0 ? escape_achieved("opened") : ESCAPE_NOTHING;
}

static int attach_its_segment(void) {
	struct shared shared;
	name_shared(&shared);
	int segment = shmget(shared.key, 0, 0);
	return segment >= 0 && shmat(segment, NULL, 0) != (void *)-1 ? escape_achieved("attached") : ESCAPE_NOTHING;
}

// Its tree and its places, by the names that they have outside of any box.
static int open_its_file(void) {
	const char *told = getenv("ESCAPE_TOLD"), *place = told ? strchr(told, '/') : NULL;
	if (!place) return ESCAPE_NOTHING;
	AUTO_FREE char *path = mem_format("%s/" FILE_NAME, place);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 ? escape_achieved(path) : ESCAPE_NOTHING;
}

static const struct escape escapes[] = {
	{.name = "a_neighbour's_and_the_worker's_environment_cannot_be_read",
		.fn = read_environments,
		.weakest = SANDBOX_REDUCED,
		.uids_apart = true},
	{.name = "a_neighbour's_and_the_worker's_memory_cannot_be_read",
		.fn = read_memories,
		.weakest = SANDBOX_REDUCED,
		.uids_apart = true},
	{.name = "a_neighbour's_and_the_worker's_memory_cannot_be_read_by_call",
		.fn = read_memories_by_call,
		.weakest = SANDBOX_NONE},
	{.name = "a_neighbour's_and_the_worker's_memory_cannot_be_written",
		.fn = write_memories,
		.weakest = SANDBOX_REDUCED,
		.uids_apart = true},
	{.name = "a_neighbour_and_the_worker_cannot_be_traced", .fn = trace_them, .weakest = SANDBOX_NONE},
	{.name = "a_neighbour's_and_the_worker's_descriptors_cannot_be_opened",
		.fn = open_descriptors,
		.weakest = SANDBOX_REDUCED,
		.uids_apart = true},
	{.name = "a_neighbour's_and_the_worker's_descriptors_cannot_be_taken", .fn = take_descriptors, .weakest = SANDBOX_NONE},
	{.name = "a_neighbour_and_the_worker_cannot_be_signalled",
		.fn = signal_them,
		.weakest = SANDBOX_REDUCED,
		.uids_apart = true},
	{.name = "a_neighbour's_and_the_worker's_folders_cannot_be_entered_by_number",
		.fn = go_into_folders,
		.weakest = SANDBOX_REDUCED,
		.uids_apart = true},
	{.name = "a_neighbour's_file_cannot_be_opened_by_its_name",
		.fn = open_its_file,
		.weakest = SANDBOX_REDUCED,
		.uids_apart = true},
	{.name = "a_neighbour's_abstract_socket_is_out_of_reach", .fn = connect_to_it, .weakest = SANDBOX_REDUCED},
	{.name = "a_neighbour's_shared_memory_is_out_of_reach",
		.fn = open_its_memory,
		.weakest = SANDBOX_REDUCED,
		.uids_apart = true},
	{.name = "a_neighbour's_system_v_segment_is_out_of_reach",
		.fn = attach_its_segment,
		.weakest = SANDBOX_REDUCED,
		.uids_apart = true},
};

static const struct escape victim = {.name = VICTIM, .fn = be_victim};

// ---- tests

// The host's number of the victim: its secret stands in its environment, which the test may read.
static bool is_victim(pid_t pid, const char *secret) {
	AUTO_FREE char *path = mem_format("/proc/%d/environ", (int)pid);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[4096];
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text));
	return length > 0 && memmem(text, (size_t)length, secret, strlen(secret));
}

static pid_t find_victim(const char *secret) {
	DIR *proc = opendir("/proc");
	pid_t found = 0;
	assert_non_null(proc);
	for (struct dirent *entry; !found && (entry = readdir(proc));) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		if (pid > 0 && pid != getpid() && is_victim(pid, secret)) found = pid;
	}
	closedir(proc);
	if (!found) fail_msg("the victim is not to be found");
	return found;
}

// The victim, the worker, and where the victim's file is, last: its name may hold anything.
static void tell(const char *secret, const char *said) {
	pid_t pid = find_victim(secret);
	char place[PATH_MAX] = "";
	AUTO_FREE char *link = mem_format("/proc/%d/cwd", (int)pid);
	(void)!readlink(link, place, sizeof(place) - 1);
	const char *address = strstr(said, "0x");
	assert_non_null(address);
	(void)snprintf(suite.told, sizeof(suite.told), "ESCAPE_TOLD=%d:%llx %d:%llx %s", (int)pid, strtoull(address, NULL, 16),
		(int)getpid(), (unsigned long long)(uintptr_t)in_memory, place);
}

static void new_secret(char secret[64]) {
	uint64_t number;
	assert_int_equal(getrandom(&number, sizeof(number), 0), sizeof(number));
	(void)snprintf(secret, 64, VARIABLE "=%s%016llx", BEGIN, (unsigned long long)number);
}

// ---- outside of any box, as the attack's own user

static NORETURN void exec_victim(char *secret, int out) {
	if (setsid() < 0 || dup2(out, STDOUT_FILENO) < 0 || chdir(suite.control) != 0) _exit(95);
	escape_drop_rights();
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	char *outside = mem_format("ESCAPE_OUTSIDE=%s", suite.outside);
	char control[] = "ESCAPE_CONTROL=1", leaks[] = "ASAN_OPTIONS=detect_leaks=0";
	char *env[] = {outside, control, leaks, secret, NULL};
	(void)execle("./attack", "attack", "attack", VICTIM, NULL, env);
	_exit(97);
}

static const char *prove(const struct escape *escape) {
	char secret[64], said[128] = "";
	int ends[2];
	new_secret(secret);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) exec_victim(secret, ends[1]);
	close(ends[1]);
	if (read(ends[0], said, sizeof(said) - 1) <= 0) fail_msg("the victim did not come up");
	tell(secret, said);
	const char *unproven = escape_prove(escape);
	(void)kill(pid, SIGTERM);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(ends[0]);
	return unproven;
}

// ---- in the box beside it

static void start_victim(const char *secret, struct rig_result *result) {
	static const char *const argv[] = {"./attack", "attack", VICTIM, NULL};
	AUTO_FREE char *outside = mem_format("ESCAPE_OUTSIDE=%s", suite.outside);
	const char *const env[] = {outside, "ASAN_OPTIONS=detect_leaks=0", secret, NULL};
	*result = (struct rig_result){.loop = suite.rig.loop, .out = mem_zalloc(RIG_KEEP + 1), .err = mem_zalloc(RIG_KEEP + 1)};
	const struct sandbox_job job = {.slot = VICTIM_SLOT,
		.tree = suite.rig.tree,
		.argv = (char *const *)(uintptr_t)argv,
		.env = (char *const *)(uintptr_t)env,
		.limits = rig_limits()};
	const struct sandbox_handlers handlers = {.output = rig_output, .done = rig_done, .arg = result};
	AUTO_ERROR struct error error = {0};
	if (sandbox_start(suite.rig.sandbox, &job, &handlers, &result->run, &error) != 0) fail_msg("%s", error_text(&error));
	for (int waited = 0; !strchr(result->out, '\n') && !result->done && waited < rig_patience_ms(); waited += 5)
		rig_run_loop_ms(&suite.rig, 5);
	if (result->done || !strchr(result->out, '\n'))
		fail_msg("the victim did not come up: exit %d: %s%s%s", result->report.exit_code, result->out, result->err,
			error_text(&result->report.error));
}

static void beside_victim(const struct escape *escape, enum sandbox_level level) {
	char secret[64];
	AUTO_RESULT struct rig_result result;
	rig_force(&suite.rig, level);
	new_secret(secret);
	start_victim(secret, &result);
	tell(secret, result.out);
	escape_attack(&(struct escape_trial){escape, level});
	assert_false(result.done);
	sandbox_terminate(result.run);
	while (!result.done) loop_run(suite.rig.loop);
	if (result.report.exit_code != ESCAPE_NOTHING || is_traced() || strcmp(in_memory, BEGIN) != 0)
		fail_msg("%s: at level %s: exit %d, signal %d: %s%s", escape->name, sandbox_level_names[level],
			result.report.exit_code, result.report.signal, result.out, result.err);
}

static void victim_test(void **state) {
	const struct escape *escape = *state;
	const char *unproven = prove(escape);
	escape_try_levels(escape, beside_victim);
	escape_unproven(escape, unproven);
}

int main(int argc, char **argv) {
	if (argc > 2 && strcmp(argv[1], "attack") == 0) {
		int code = escape_main(escapes, COUNT_OF(escapes), argv[2]);
		return code == 99 ? escape_main(&victim, 1, argv[2]) : code;
	}
	struct CMUnitTest tests[COUNT_OF(escapes)];
	escape_tests(escapes, COUNT_OF(escapes), tests);
	for (size_t i = 0; i < COUNT_OF(tests); i++) tests[i].test_func = victim_test;
	return cmocka_run_group_tests_name("what is another's", tests, escape_setup, escape_teardown);
}
