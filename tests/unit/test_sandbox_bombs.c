// Jobs that want all of the machine. The bombs are small enough for the outside, where nothing stops them, to bear.
#include "tests/unit/escape_rig.h"

#include <sys/mman.h>

#define FORKS         96    // a job may have 32 processes
#define FILES         24000 // its disk of 64 MiB may have 16,384
#define NEIGHBOUR_SUM "44969d026ed4164dbe77d48d4d359e98ac4057008cafd61723be72bff83e5fd4"

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

// It counts what it can compute, for as long as the bomb lasts and some.
static void a_neighbour_of_a_fork_bomb_stays_correct(void **state) {
	(void)state;
	rig_force(&suite.rig, suite.best);
	rig_require(&suite.rig, SANDBOX_REDUCED);
	static const char *const argv[] = {"/bin/sh", "-c",
		"i=0; while [ $i -lt 60 ]; do echo $i | sha256sum >/dev/null || exit 9; i=$((i + 1)); done; seq 50000 | sha256sum",
		NULL};
	static const char *const env[] = {NULL};
	struct rig_result neighbour = {
		.loop = suite.rig.loop, .out = mem_zalloc(RIG_KEEP + 1), .err = mem_zalloc(RIG_KEEP + 1)};
	const struct sandbox_job job = {.slot = 1,
		.tree = suite.rig.tree,
		.argv = (char *const *)(uintptr_t)argv,
		.env = (char *const *)(uintptr_t)env,
		.limits = rig_limits()};
	const struct sandbox_handlers handlers = {.output = rig_output, .done = rig_done, .arg = &neighbour};
	assert_int_equal(sandbox_start(suite.rig.sandbox, &job, &handlers, &neighbour.run, NULL), 0);
	static const char *const bomb_argv[] = {"/bin/sh", "-c", "b() { b | b & }; b; while :; do b; done 2>/dev/null", NULL};
	AUTO_RESULT struct rig_result bomb;
	rig_run_job(&suite.rig, &(struct rig_job){.argv = bomb_argv, .kill_ms = 1500}, &bomb);
	while (!neighbour.done) loop_run(suite.rig.loop);
	assert_int_equal(neighbour.report.exit_code, 0);
	assert_string_equal(neighbour.out, NEIGHBOUR_SUM "  -\n");
	assert_string_equal(neighbour.err, "");
	// Without a control group nothing counts the refusals.
	if (limits_processes(suite.rig.sandbox->maker.limits)) assert_true(bomb.report.processes_hit);
	rig_result_clear(&neighbour);
}

int main(int argc, char **argv) {
	if (argc > 2 && strcmp(argv[1], "attack") == 0) return escape_main(escapes, COUNT_OF(escapes), argv[2]);
	struct CMUnitTest tests[COUNT_OF(escapes) + 1];
	escape_tests(escapes, COUNT_OF(escapes), tests);
	tests[COUNT_OF(escapes)] = (struct CMUnitTest)cmocka_unit_test(a_neighbour_of_a_fork_bomb_stays_correct);
	return cmocka_run_group_tests_name("what succeeds outside and fails in the box", tests, escape_setup, escape_teardown);
}
