// The worker's side of fetching, against a child of our own: this program itself, executed as trabajos-fetch, does what the URL
// says.
#include "lib/json.h"
#include "lib/mem.h"
#include "lib/sanitized.h"
#include "worker/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

#define MIRROR "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define COMMIT "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define TREE   "trees/" MIRROR "/" COMMIT
#define PLAN                                                                                                                     \
	"{\"kind\":\"main.sh\",\"command\":\"./main.sh\",\"argv\":[\"./main.sh\"],\"timeout_s\":-1,\"memory_mb\":-1,\"env\":[]," \
	"\"artifacts\":[]}"
#define DONE                                                                                                                   \
	"{\"ok\":true,\"commit\":\"" COMMIT "\",\"tree\":\"" TREE "\",\"mirror\":\"" MIRROR "\",\"plan\":" PLAN                \
	",\"looked_for\":null,\"plan_error\":null,\"bytes\":4096,\"files\":1,\"remote\":true,\"added_bytes\":4096,\"times_us\":{}}\n"

// ---- the child

static void say(const char *text) {
	size_t length = strlen(text);
	while (length > 0) {
		ssize_t done = write(STDOUT_FILENO, text, length);
		if (done < 0) exit(9);
		text += done;
		length -= (size_t)done;
	}
}

static void make_tree(const char *dir) {
	AUTO_FREE char *mirror = mem_format("%s/trees/" MIRROR, dir);
	AUTO_FREE char *tree = mem_format("%s/" TREE, dir);
	AUTO_FREE char *json = mem_format("%s/" TREE ".json", dir);
	mkdir(mirror, 0750);
	mkdir(tree, 0755);
	close(open(json, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

// One byte into WORKER_DIR/count for each time that a child was really asked.
static void count(const char *dir) {
	AUTO_FREE char *path = mem_format("%s/trees/count", dir);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (write(fd, "x", 1) != 1) exit(9);
}

static void pause_ms(int ms) {
	const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
	nanosleep(&time, NULL);
}

static void say_limits(void) {
	struct rlimit files, core, memory;
	char victim[8] = "";
	AUTO_CLOSE int fd = open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC);
	if (read(fd, victim, sizeof victim - 1) > 0) victim[strcspn(victim, "\n")] = '\0';
	getrlimit(RLIMIT_FSIZE, &files);
	getrlimit(RLIMIT_CORE, &core);
	getrlimit(RLIMIT_AS, &memory);
	AUTO_FREE char *text =
		mem_format("{\"ok\":false,\"code\":\"fetch\",\"blame\":\"limit\",\"message\":\"%d %llu %llu %llu %s %d\"}\n",
			(int)getuid(), (unsigned long long)files.rlim_cur, (unsigned long long)core.rlim_cur,
			SANITIZED ? 0 : (unsigned long long)memory.rlim_cur, victim, fcntl(20, F_GETFD));
	say(text);
}

static int act(const char *what, const char *dir) {
	if (strcmp(what, "fine") == 0 || strcmp(what, "slow") == 0) {
		if (*what == 's') pause_ms(300);
		make_tree(dir);
		say(DONE);
	} else if (strcmp(what, "treeless") == 0) {
		say(DONE);
	} else if (strcmp(what, "hang") == 0) {
		pause_ms(60000);
	} else if (strcmp(what, "crash") == 0) {
		raise(SIGKILL);
	} else if (strcmp(what, "computes") == 0) {
		raise(SIGXCPU);
	} else if (strcmp(what, "flood") == 0) {
		for (int i = 0; i < 100000; i++) say("flood flood flood flood flood\n");
	} else if (strcmp(what, "late-exit") == 0) {
		say(DONE);
		return 3;
	} else if (strcmp(what, "limits") == 0) {
		say_limits();
	} else if (strcmp(what, "denied") == 0) {
		say("{\"ok\":false,\"code\":\"denied\",\"blame\":\"user\",\"message\":\"no\"}\n");
	} else if (strcmp(what, "disk") == 0) {
		say("{\"ok\":false,\"code\":\"disk\",\"blame\":\"platform\",\"message\":\"full\"}\n");
	} else {
		say("nonsense\n");
	}
	return 0;
}

static int play_child(void) {
	static char line[100000];
	AUTO_JSON json_t *order = NULL;
	if (!fgets(line, sizeof line, stdin)) return 1;
	if (json_read(line, strlen(line), sizeof line, &order, NULL) < 0) return 2;
	const char *dir = json_text(order, "dir"), *url = json_text(order, "url");
	if (strcmp(json_text(order, "op"), "evict") == 0) {
		say("{\"ok\":true,\"removed\":[],\"bytes\":1000}\n");
		return 0;
	}
	count(dir);
	return act(url + strlen("https://h.org/"), dir);
}

// ---- the worker

static const struct fetch_asker asker = {"0001", "ana"};

struct rig;
struct seat {
	struct rig *rig;
	size_t number;
};

struct rig {
	struct loop *loop;
	struct fetcher *fetcher;
	char *dir;
	struct seat seats[4];
	struct fetch_run *runs[4];
	struct fetch_result results[4];
	struct outcome outcomes[4];
	size_t over, wanted;
};

static int up(void **state) {
	AUTO_ERROR struct error error = {0};
	struct rig *rig = mem_zalloc(sizeof *rig);
	rig->dir = mem_strdup("/tmp/test_fetch.XXXXXX");
	if (!mkdtemp(rig->dir)) return -1;
	rig->loop = loop_new();
	const struct fetch_config config = {.program = "/proc/self/exe",
		.dir = rig->dir,
		.git_allow = "",
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
		.pack_bytes = 1 << 20,
		.tree_bytes = 1 << 20,
		.files = 100,
		.timeout_ms = 2000};
	*state = rig;
	if (fetcher_open(rig->loop, &config, &rig->fetcher, &error) < 0) fail_msg("%s", error_text(&error));
	return 0;
}

static int down(void **state) {
	static const char *const names[] = {TREE ".json", TREE, "trees/" MIRROR, "trees/count", "trees", "mirrors", NULL};
	struct rig *rig = *state;
	fetcher_close(rig->fetcher);
	loop_free(rig->loop);
	for (const char *const *name = names; *name; name++) {
		AUTO_FREE char *path = mem_format("%s/%s", rig->dir, *name);
		if (unlink(path) < 0) rmdir(path);
	}
	int done = rmdir(rig->dir);
	for (size_t i = 0; i < COUNT_OF(rig->results); i++) {
		fetch_result_clear(&rig->results[i]);
		outcome_clear(&rig->outcomes[i]);
	}
	free(rig->dir);
	free(rig);
	return done;
}

static size_t children_asked(const struct rig *rig) {
	AUTO_FREE char *path = mem_format("%s/trees/count", rig->dir);
	struct stat status = {0};
	return stat(path, &status) < 0 ? 0 : (size_t)status.st_size;
}

static void over(struct fetch_result *result, const struct outcome *outcome, void *arg) {
	struct seat *seat = arg;
	struct rig *rig = seat->rig;
	if (result) rig->results[seat->number] = *result;
	if (outcome) outcome_set(&rig->outcomes[seat->number], outcome->code, outcome->blame, "%s", outcome->message);
	assert_true((result == NULL) != (outcome == NULL));
	rig->runs[seat->number] = NULL;
	if (++rig->over == rig->wanted) loop_stop(rig->loop);
}

static void start(struct rig *rig, size_t number, const char *what, const char *ref) {
	AUTO_ERROR struct error error = {0};
	AUTO_FREE char *url = mem_format("https://h.org/%s", what);
	struct seat *seat = &rig->seats[number];
	*seat = (struct seat){rig, number};
	fetch_result_clear(&rig->results[number]);
	if (fetcher_start(rig->fetcher, url, ref, &asker, over, seat, &rig->runs[number], &error) < 0)
		fail_msg("%s", error_text(&error));
}

static void run_until(struct rig *rig, size_t wanted) {
	rig->wanted = wanted;
	if (rig->over < wanted) loop_run(rig->loop);
}

static void expect_failure(struct rig *rig, const char *what, enum outcome_code code, enum blame blame, const char *word) {
	start(rig, 0, what, NULL);
	run_until(rig, rig->over + 1);
	assert_null(rig->results[0].tree);
	if (rig->outcomes[0].code != code || rig->outcomes[0].blame != blame || !strstr(rig->outcomes[0].message, word))
		fail_msg("%s: %s %d: %s", what, outcome_code_name(rig->outcomes[0].code), (int)rig->outcomes[0].blame,
			rig->outcomes[0].message);
}

// ---- what must hold

static void a_fetch_gives_commit_tree_and_plan(void **state) {
	struct rig *rig = *state;
	start(rig, 0, "fine", "main");
	run_until(rig, 1);
	if (rig->outcomes[0].message) fail_msg("%s", rig->outcomes[0].message);
	assert_string_equal(rig->results[0].commit, COMMIT);
	assert_string_equal(rig->results[0].tree, TREE);
	assert_string_equal(rig->results[0].mirror, MIRROR);
	assert_string_equal(rig->results[0].plan.command, "./main.sh");
	assert_int_equal(rig->results[0].bytes, 4096);
	assert_int_equal(rig->results[0].remote, 1);
	fetcher_release(rig->fetcher, TREE);
}

static void a_known_commit_is_answered_without_a_child(void **state) {
	struct rig *rig = *state;
	struct fetch_result result;
	assert_int_equal(fetcher_cached(rig->fetcher, "https://h.org/fine", COMMIT, &asker, &result), 0);
	start(rig, 0, "fine", "main");
	run_until(rig, 1);
	fetcher_release(rig->fetcher, TREE);
	assert_int_equal(fetcher_cached(rig->fetcher, "https://h.org/fine", "main", &asker, &result), 0);
	assert_int_equal(fetcher_cached(rig->fetcher, "https://h.org/other", COMMIT, &asker, &result), 0);
	assert_int_equal(
		fetcher_cached(rig->fetcher, "https://h.org/fine", "AAAAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", &asker, &result),
		1);
	assert_string_equal(result.tree, TREE);
	assert_int_equal(result.remote, 0);
	fetch_result_clear(&result);
	fetcher_release(rig->fetcher, TREE);
	assert_int_equal(children_asked(rig), 1);
}

static void a_known_commit_whose_tree_is_gone_is_forgotten(void **state) {
	struct rig *rig = *state;
	struct fetch_result result;
	start(rig, 0, "fine", NULL);
	run_until(rig, 1);
	fetcher_release(rig->fetcher, TREE);
	AUTO_FREE char *tree = mem_format("%s/" TREE, rig->dir);
	assert_int_equal(rmdir(tree), 0);
	assert_int_equal(fetcher_cached(rig->fetcher, "https://h.org/fine", COMMIT, &asker, &result), 0);
}

static void a_held_tree_is_locked_until_its_last_release(void **state) {
	struct rig *rig = *state;
	start(rig, 0, "fine", "main");
	start(rig, 1, "fine", "main");
	run_until(rig, 2);
	AUTO_FREE char *tree = mem_format("%s/" TREE, rig->dir);
	AUTO_CLOSE int fd = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), -1);
	fetcher_release(rig->fetcher, TREE);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), -1);
	fetcher_release(rig->fetcher, TREE);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
}

static void who_wants_the_same_commit_shares_a_child(void **state) {
	struct rig *rig = *state;
	for (size_t i = 0; i < 3; i++) start(rig, i, "slow", COMMIT);
	fetch_run_cancel(rig->runs[0]); // its seat is ours again, and the others go on
	run_until(rig, 2);
	assert_null(rig->results[0].tree);
	assert_string_equal(rig->results[1].tree, TREE);
	assert_string_equal(rig->results[2].tree, TREE);
	assert_int_equal(children_asked(rig), 1);
	fetcher_release(rig->fetcher, TREE);
	fetcher_release(rig->fetcher, TREE);
}

// Whoever came after it had begun: the branch may have moved since it asked.
static void those_that_want_a_branch_meanwhile_share_the_next_child(void **state) {
	struct rig *rig = *state;
	for (size_t i = 0; i < 4; i++) start(rig, i, "slow", "main");
	run_until(rig, 1);
	assert_string_equal(rig->results[0].tree, TREE);
	assert_null(rig->results[1].tree);
	run_until(rig, 4);
	for (size_t i = 0; i < 4; i++) assert_string_equal(rig->results[i].tree, TREE);
	assert_int_equal(children_asked(rig), 2);
}

static void a_url_is_fetched_once_at_a_time_and_others_meanwhile(void **state) {
	struct rig *rig = *state;
	start(rig, 0, "hang", "one");
	start(rig, 1, "hang", "two");
	start(rig, 2, "fine", NULL);
	run_until(rig, 1);
	assert_string_equal(rig->results[2].tree, TREE);
	while (children_asked(rig) < 2) pause_ms(5);
	assert_int_equal(children_asked(rig), 2);
	fetch_run_cancel(rig->runs[0]); // the next one begins
	while (children_asked(rig) < 3) pause_ms(5);
	fetch_run_cancel(rig->runs[1]);
}

static void nobody_waits_for_others_longer_than_for_a_fetch(void **state) {
	struct rig *rig = *state;
	for (size_t i = 0; i < 3; i++) {
		AUTO_FREE char *ref = mem_format("ref%zu", i);
		start(rig, i, "hang", ref);
	}
	run_until(rig, 3);
	assert_non_null(strstr(rig->outcomes[0].message, "fetching took longer than 2 s"));
	assert_non_null(strstr(rig->outcomes[2].message, "waiting for another fetch of this URL took longer than 2 s"));
}

static void who_is_cancelled_while_waiting_costs_no_child(void **state) {
	struct rig *rig = *state;
	start(rig, 0, "slow", "one");
	start(rig, 1, "slow", "two");
	start(rig, 2, "slow", "three");
	fetch_run_cancel(rig->runs[1]);
	run_until(rig, 2);
	assert_null(rig->results[1].tree);
	assert_string_equal(rig->results[2].tree, TREE);
	assert_int_equal(children_asked(rig), 2);
}

static void a_failure_does_not_stop_who_waits_behind_it(void **state) {
	struct rig *rig = *state;
	start(rig, 0, "crash", "one");
	start(rig, 1, "crash", "two");
	run_until(rig, 2);
	assert_non_null(rig->outcomes[0].message);
	assert_non_null(rig->outcomes[1].message);
	assert_int_equal(children_asked(rig), 2);
}

static void the_childs_failures_come_with_their_blame(void **state) {
	struct rig *rig = *state;
	expect_failure(rig, "denied", OUTCOME_DENIED, BLAME_USER, "no");
	expect_failure(rig, "disk", OUTCOME_DISK, BLAME_PLATFORM, "full");
	expect_failure(rig, "nonsense", OUTCOME_FETCH, BLAME_PLATFORM, "answer");
	expect_failure(rig, "crash", OUTCOME_FETCH, BLAME_PLATFORM, "signal 9");
	expect_failure(rig, "computes", OUTCOME_FETCH, BLAME_LIMIT, "computing");
	expect_failure(rig, "flood", OUTCOME_FETCH, BLAME_PLATFORM, "too much");
	expect_failure(rig, "late-exit", OUTCOME_FETCH, BLAME_PLATFORM, "exited with 3");
	expect_failure(rig, "treeless", OUTCOME_FETCH, BLAME_PLATFORM, "room");
}

static void a_child_that_takes_too_long_is_killed(void **state) {
	struct rig *rig = *state;
	expect_failure(rig, "hang", OUTCOME_FETCH, BLAME_PLATFORM, "longer than 2 s");
}

static void a_cancelled_fetch_is_not_heard_of_again(void **state) {
	struct rig *rig = *state;
	start(rig, 0, "hang", NULL);
	start(rig, 1, "fine", NULL);
	fetch_run_cancel(rig->runs[0]);
	run_until(rig, 1);
	assert_null(rig->outcomes[0].message);
	assert_string_equal(rig->results[1].tree, TREE);
}

static void a_spare_child_takes_the_next_order(void **state) {
	struct rig *rig = *state;
	start(rig, 0, "fine", NULL);
	run_until(rig, 1);
	struct loop_timer *timer = loop_timer_new(rig->loop, (void (*)(void *))loop_stop, rig->loop);
	loop_timer_set(timer, 300);
	loop_run(rig->loop);
	loop_timer_free(timer);
	expect_failure(rig, "denied", OUTCOME_DENIED, BLAME_USER, "no");
}

static void the_child_has_limits_and_no_descriptors_of_ours(void **state) {
	struct rig *rig = *state;
	int mine = fcntl(rig->fetcher ? STDERR_FILENO : -1, F_DUPFD_CLOEXEC, 20);
	assert_int_equal(mine, 20);
	AUTO_FREE char *expected = mem_format("%d %llu 0 %llu 800 -1", (int)getuid(), (1ULL << 20) + (256ULL << 20),
		SANITIZED ? 0 : (3ULL << 20) + (512ULL << 20));
	expect_failure(rig, "limits", OUTCOME_FETCH, BLAME_LIMIT, expected);
	close(mine);
}

static void a_folder_that_the_childs_uid_cannot_reach_is_named(void **state) {
	(void)state;
	AUTO_ERROR struct error error = {0};
	struct loop *loop = loop_new();
	struct fetcher *fetcher = NULL;
	char outer[] = "/tmp/test_fetch.XXXXXX"; // mkdtemp makes it 0700
	assert_non_null(mkdtemp(outer));
	AUTO_FREE char *dir = mem_format("%s/inner", outer);
	const struct fetch_config config = {
		.program = "/proc/self/exe", .dir = dir, .git_allow = "", .uid = 54321, .gid = 54321, .timeout_ms = 1000};
	assert_int_equal(fetcher_open(loop, &config, &fetcher, &error), -1);
	assert_non_null(strstr(error_text(&error), "is closed to uid 54321"));
	rmdir(dir);
	rmdir(outer);
	loop_free(loop);
}

static void a_missing_program_is_named(void **state) {
	(void)state;
	AUTO_ERROR struct error error = {0};
	struct loop *loop = loop_new();
	struct fetcher *fetcher = NULL;
	const struct fetch_config config = {
		.program = "/nowhere/trabajos-fetch", .dir = "/tmp/x", .git_allow = "", .uid = (uid_t)-1, .timeout_ms = 1000};
	assert_int_equal(fetcher_open(loop, &config, &fetcher, &error), -1);
	assert_non_null(strstr(error_text(&error), "/nowhere/trabajos-fetch"));
	loop_free(loop);
}

int main(int argc, char **argv) {
	(void)argc;
	if (strcmp(argv[0], "trabajos-fetch") == 0) return play_child();
#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, up, down)
	const struct CMUnitTest tests[] = {
		WITH_RIG(a_fetch_gives_commit_tree_and_plan),
		WITH_RIG(a_known_commit_is_answered_without_a_child),
		WITH_RIG(a_known_commit_whose_tree_is_gone_is_forgotten),
		WITH_RIG(a_held_tree_is_locked_until_its_last_release),
		WITH_RIG(who_wants_the_same_commit_shares_a_child),
		WITH_RIG(those_that_want_a_branch_meanwhile_share_the_next_child),
		WITH_RIG(a_url_is_fetched_once_at_a_time_and_others_meanwhile),
		WITH_RIG(nobody_waits_for_others_longer_than_for_a_fetch),
		WITH_RIG(who_is_cancelled_while_waiting_costs_no_child),
		WITH_RIG(a_failure_does_not_stop_who_waits_behind_it),
		WITH_RIG(the_childs_failures_come_with_their_blame),
		WITH_RIG(a_child_that_takes_too_long_is_killed),
		WITH_RIG(a_cancelled_fetch_is_not_heard_of_again),
		WITH_RIG(a_spare_child_takes_the_next_order),
		WITH_RIG(the_child_has_limits_and_no_descriptors_of_ours),
		cmocka_unit_test(a_folder_that_the_childs_uid_cannot_reach_is_named),
		cmocka_unit_test(a_missing_program_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
