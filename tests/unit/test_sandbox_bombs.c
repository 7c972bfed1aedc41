// Jobs that want all of the machine. The bombs are small enough for the outside, where nothing stops them, to bear.
#include "tests/unit/escape_rig.h"

#include <sys/mman.h>

#define FORKS 96    // a job may have 32 processes
#define FILES 24000 // its disk of 64 MiB may have 16,384

static int start_many(void) {
	int wait_for[2], started = 0;
	if (pipe2(wait_for, O_CLOEXEC) != 0) return ESCAPE_NOTHING;
	for (pid_t pid = 1; started < FORKS && pid > 0; started += pid > 0) {
		pid = fork();
		char byte;
		if (pid == 0) {
			close(wait_for[1]);
			_exit((int)read(wait_for[0], &byte, 1));
		}
	}
	close(wait_for[0]);
	close(wait_for[1]);
	while (wait(NULL) > 0)
		;
	return started == FORKS ? escape_achieved("many processes") : ESCAPE_NOTHING;
}

static void name_file(int number, char path[32]) {
	(void)snprintf(path, 32, "f%d", number);
}

// In the box pid 1 looks at the number from time to time, and ends the job: there is nothing else to wait for.
static int make_many_files(void) {
	int made = 0;
	char path[32];
	for (; made < FILES; made++) {
		name_file(made, path);
		if (mknod(path, S_IFREG | 0600, 0) != 0) break;
	}
	if (!escape_is_control()) (void)poll(NULL, 0, 20000);
	for (int i = 0; i < made; i++) {
		name_file(i, path);
		(void)unlink(path);
	}
	return made == FILES ? escape_achieved("many files") : ESCAPE_NOTHING;
}

static int take_memory(void) {
	const size_t size = 192 << 20; // the job may have 128 MiB
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) return ESCAPE_NOTHING;
	for (size_t i = 0; i < size; i += 4096) memory[i] = 1;
	// Longer than the sampler needs to see it.
	if (!escape_is_control()) (void)poll(NULL, 0, 20000);
	return escape_achieved("much memory");
}

static int fill_disk(void) {
	static char block[1 << 20];
	int64_t total = 0;
	for (int part = 0; part < 3; part++) {
		AUTO_FREE char *path = mem_format("part-%d", part);
		AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		for (int i = 0; fd >= 0 && i < 32 && write(fd, block, sizeof(block)) == (ssize_t)sizeof(block); i++)
			total += (int64_t)sizeof(block);
	}
	for (int part = 0; part < 3; part++) {
		AUTO_FREE char *path = mem_format("part-%d", part);
		(void)unlink(path);
	}
	return total > 64 * RIG_MB ? escape_achieved("much disk") : ESCAPE_NOTHING;
}

static const struct escape escapes[] = {
	{.name = "a_fork_bomb_has_an_end", .fn = start_many, .weakest = SANDBOX_REDUCED},
	{.name = "an_inode_bomb_has_an_end", .fn = make_many_files, .weakest = SANDBOX_REDUCED, .killed = true},
	{.name = "a_memory_bomb_has_an_end", .fn = take_memory, .weakest = SANDBOX_REDUCED, .killed = true},
	{.name = "a_disk_bomb_has_an_end", .fn = fill_disk, .weakest = SANDBOX_REDUCED},
};

// ---- what has no end by itself, and is nothing that could be achieved: only the neighbour tells

static const struct bomb {
	const char *name, *script;
} bombs[] = {
	{"a_neighbour_of_a_fork_bomb_stays_correct_and_quick", "b() { b | b & }; b; while :; do b; done 2>/dev/null"},
	{"a_neighbour_of_a_flood_of_output_stays_correct_and_quick", "yes"},
	{"a_neighbour_of_busy_loops_stays_correct_and_quick", "for i in 1 2 3 4 5 6 7 8; do while :; do :; done & done; wait"},
	{"a_neighbour_of_a_churn_of_files_stays_correct_and_quick",
		"while :; do mkdir -p a/b/c; echo x >a/b/c/d; ln a/b/c/d e; mv a z; rm -r z e; done"},
	{"a_neighbour_of_a_storm_of_signals_and_sessions_stays_correct_and_quick",
		"trap '' TERM; while :; do setsid sleep 60 & kill -TERM -1; kill -KILL $! 2>/dev/null; done"},
};

static void set_off(void *arg) {
	const struct bomb *bomb = arg;
	const char *const argv[] = {"/bin/sh", "-c", bomb->script, NULL};
	bool hits = bomb == bombs && limits_processes(suite.rig.sandbox->maker.limits);
	// A busy machine takes longer until it goes off.
	for (int kill_ms = 400;; kill_ms *= 2) {
		AUTO_RESULT struct rig_result result;
		rig_run_job(&suite.rig, &(struct rig_job){.argv = argv, .kill_ms = kill_ms}, &result);
		if (result.report.ran && (!hits || result.report.processes_hit)) return;
		if (kill_ms > 60000) fail_msg("%s: it did not go off: %s", bomb->name, error_text(&result.report.error));
	}
}

static void beside_a_bomb(void **state) {
	rig_force(&suite.rig, suite.best);
	rig_require(&suite.rig, SANDBOX_REDUCED);
	const struct bomb *bomb = *state;
	neighbour_beside(&suite.rig, bomb->name, set_off, *state);
}

int main(int argc, char **argv) {
	if (argc > 2 && strcmp(argv[1], "attack") == 0) return escape_main(escapes, COUNT_OF(escapes), argv[2]);
	struct CMUnitTest tests[COUNT_OF(escapes) + COUNT_OF(bombs)];
	escape_tests(escapes, COUNT_OF(escapes), tests);
	for (size_t i = 0; i < COUNT_OF(bombs); i++)
		tests[COUNT_OF(escapes) + i] = (struct CMUnitTest){
			.name = bombs[i].name, .test_func = beside_a_bomb, .initial_state = (void *)(uintptr_t)&bombs[i]};
	return cmocka_run_group_tests_name("what succeeds outside and fails in the box", tests, escape_setup, escape_teardown);
}
