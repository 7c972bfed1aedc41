#include "worker/fetch.h"

#include "lib/mem.h"
#include "worker/fetch_child.h"
#include "worker/fetch_place.h"
#include "worker/fetch_result.h"
#include "worker/fetch_trees.h"

#include <ctype.h>
#include <string.h>
#include <sys/statvfs.h>

#define CONNECT_TIMEOUT_MS 10000
#define EVICT_TIMEOUT_MS   600000
#define SPARE_DELAY_MS     50
#define SPARE_MS           60000 // how long a child is kept ready after the last fetch
#define CACHE_BYTES_MAX    ((int64_t)10 << 30)
#define FILE_SLACK         ((int64_t)256 << 20) // a pack's index, beside the pack
#define ANSWER_MAX         65536
#define HEX                41

struct fetch_run {
	struct fetching *fetching;
	fetch_done *done;
	void *arg;
	struct fetch_run *next;
};

// One child at work, and who waits for it: all who want the same commit, of which there is only one.
struct fetching {
	struct fetcher *fetcher;
	struct fetch_child *child;
	char *url, *ref;
	struct fetch_run *runs;
	struct fetching *next;
};

struct fetcher {
	struct loop *loop;
	struct fetch_config config; // its texts are owned
	struct fetch_child_config child_config, evict_config;
	int dir_fd;
	struct fetch_trees *trees;
	struct fetching *fetchings;
	struct fetch_child *spare, *evictor;
	struct loop_timer *spare_timer;
	int64_t used_bytes; // as the last evict counted, and what came since; -1: not counted yet
	int64_t keep_bytes;
};

// ---- spare children: what takes long at their start is done before somebody waits for it

static void spare_ended(const char *answer, size_t length, const struct outcome *outcome, void *arg) {
	struct fetcher *fetcher = arg;
	(void)answer;
	(void)length;
	(void)outcome;
	fetcher->spare = NULL;
}

// Starts one a little after a fetch, when what it fetched has got going, and drops it when no fetch has come for a while.
static void spare_due(void *arg) {
	struct fetcher *fetcher = arg;
	if (fetcher->spare) {
		fetch_child_free(STEAL(fetcher->spare));
		return;
	}
	if (fetch_child_start(fetcher->loop, &fetcher->child_config, spare_ended, fetcher, &fetcher->spare, NULL) == 0)
		loop_timer_set(fetcher->spare_timer, SPARE_MS);
	else
		fetcher->spare = NULL; // the next fetch will say why
}

static void keep_spare(struct fetcher *fetcher) {
	loop_timer_set(fetcher->spare_timer, fetcher->spare ? SPARE_MS : SPARE_DELAY_MS);
}

// A child that has taken the order: the spare one, or a new one where there is none (or it has just died).
static int send(struct fetcher *fetcher, const struct fetch_child_config *config, const char *order, fetch_child_done *done,
	void *arg, struct fetch_child **child, struct error *error) {
	if (config == &fetcher->child_config && fetcher->spare) {
		struct fetch_child *spare = STEAL(fetcher->spare);
		if (fetch_child_order(spare, order) == 0) {
			fetch_child_hand_over(spare, done, arg);
			*child = spare;
			return 0;
		}
		fetch_child_free(spare);
	}
	if (fetch_child_start(fetcher->loop, config, done, arg, child, error) < 0) return -1;
	if (fetch_child_order(*child, order) == 0) return 0;
	fetch_child_free(*child);
	*child = NULL;
	return error_set(error, ERROR_UNAVAILABLE, "trabajos-fetch does not take its order");
}

// ---- room on the disk

static void evict(struct fetcher *fetcher, int64_t keep_bytes);

// Half of what is free or used by the caches already, at most 10 GiB.
static int64_t keep_by_default(const struct fetcher *fetcher) {
	struct statvfs status;
	if (fstatvfs(fetcher->dir_fd, &status) < 0) return CACHE_BYTES_MAX;
	int64_t room = ((int64_t)status.f_bavail * (int64_t)status.f_frsize + fetcher->used_bytes) / 2;
	return room < CACHE_BYTES_MAX ? room : CACHE_BYTES_MAX;
}

static void evicted(const char *text, size_t length, const struct outcome *outcome, void *arg) {
	struct fetcher *fetcher = arg;
	AUTO_JSON json_t *answer = NULL;
	bool first = fetcher->used_bytes < 0;
	int64_t bytes;
	(void)outcome;
	fetcher->evictor = NULL;
	if (!text || json_read(text, length, ANSWER_MAX, &answer, NULL) < 0) return;
	const json_t *removed = json_object_get(answer, "removed"), *tree;
	size_t index;
	json_array_foreach(removed, index, tree) {
		if (json_is_string(tree)) fetch_trees_forget(fetcher->trees, json_string_value(tree));
	}
	if (json_int(answer, "bytes", 0, INT64_MAX / 4, 0, &bytes, NULL) < 0) return;
	fetcher->used_bytes = bytes;
	if (fetcher->config.cache_bytes <= 0) fetcher->keep_bytes = keep_by_default(fetcher);
	if (first && bytes > fetcher->keep_bytes) evict(fetcher, fetcher->keep_bytes);
}

static void evict(struct fetcher *fetcher, int64_t keep_bytes) {
	if (fetcher->evictor) return;
	json_t *order = json_pack("{s:s, s:s, s:I, s:o}", "op", "evict", "dir", fetcher->config.dir, "keep_bytes",
		(json_int_t)keep_bytes, "in_use", fetch_trees_held(fetcher->trees));
	AUTO_FREE char *text = json_write(order);
	AUTO_FREE char *line = text ? mem_format("%s\n", text) : NULL;
	json_decref(order);
	// Not even started: the next growth asks again.
	if (line && send(fetcher, &fetcher->evict_config, line, evicted, fetcher, &fetcher->evictor, NULL) < 0)
		fetcher->evictor = NULL;
}

static void grew(struct fetcher *fetcher, int64_t bytes) {
	if (fetcher->used_bytes < 0) return;
	fetcher->used_bytes += bytes;
	if (fetcher->used_bytes > fetcher->keep_bytes) evict(fetcher, fetcher->keep_bytes / 10 * 9);
}

// ---- fetching

static bool is_commit_id(const char *ref) {
	return ref && strlen(ref) == HEX - 1 && strspn(ref, "0123456789abcdefABCDEF") == HEX - 1;
}

static void lower(const char *ref, char commit[HEX]) {
	for (size_t i = 0; i < HEX - 1; i++) commit[i] = (char)tolower((unsigned char)ref[i]);
	commit[HEX - 1] = '\0';
}

static void fetching_unlink(struct fetching *fetching) {
	struct fetching **at = &fetching->fetcher->fetchings;
	while (*at != fetching) at = &(*at)->next;
	*at = fetching->next;
}

static void fetching_free(struct fetching *fetching) {
	while (fetching->runs) {
		struct fetch_run *run = fetching->runs;
		fetching->runs = run->next;
		free(run);
	}
	free(fetching->url);
	free(fetching->ref);
	free(fetching);
}

static void fail(struct fetch_run *run, const char *text) {
	struct outcome outcome = {0};
	outcome_set(&outcome, OUTCOME_FETCH, BLAME_PLATFORM, "%s", text);
	run->done(NULL, &outcome, run->arg);
	outcome_clear(&outcome);
}

static void deliver(struct fetcher *fetcher, struct fetch_run *run, const json_t *answer) {
	AUTO_ERROR struct error error = {0};
	struct fetch_result result;
	if (fetch_result_read(answer, &result, &error) < 0) {
		fail(run, error_text(&error));
	} else if (!fetch_trees_hold(fetcher->trees, result.tree)) {
		fetch_result_clear(&result);
		fail(run, "the fetched tree had to make room for others");
	} else {
		run->done(&result, NULL, run->arg);
	}
}

static void deliver_all(struct fetching *fetching, const json_t *answer, const struct outcome *outcome) {
	struct fetcher *fetcher = fetching->fetcher;
	while (fetching->runs) { // one by one: a callee may cancel one that waits behind it
		struct fetch_run *run = fetching->runs;
		fetching->runs = run->next;
		if (outcome)
			run->done(NULL, outcome, run->arg);
		else
			deliver(fetcher, run, answer);
		free(run);
	}
}

static void note_success(struct fetching *fetching, json_t *answer) {
	const char *commit = json_text(answer, "commit");
	int64_t added;
	if (commit && is_commit_id(commit)) fetch_trees_remember(fetching->fetcher->trees, fetching->url, commit, answer);
	if (json_int(answer, "added_bytes", 0, INT64_MAX / 4, 0, &added, NULL) == 0) grew(fetching->fetcher, added);
}

static void fetched(const char *text, size_t length, const struct outcome *failure, void *arg) {
	struct fetching *fetching = arg;
	struct fetcher *fetcher = fetching->fetcher;
	struct outcome outcome = {0};
	AUTO_JSON json_t *answer = NULL;
	AUTO_ERROR struct error error = {0};
	fetching->child = NULL;
	fetching_unlink(fetching); // nobody joins it any more
	if (text && json_read(text, length, ANSWER_MAX, &answer, &error) < 0)
		outcome_set(&outcome, OUTCOME_FETCH, BLAME_PLATFORM, "trabajos-fetch's answer: %s", error_text(&error));
	else if (!text)
		outcome_set(&outcome, failure ? failure->code : OUTCOME_FETCH, failure ? failure->blame : BLAME_PLATFORM, "%s",
			failure ? failure->message : "trabajos-fetch ended");
	else if (json_is_true(json_object_get(answer, "ok")))
		note_success(fetching, answer);
	else if (fetch_failure_read(answer, &outcome) < 0)
		outcome_set(&outcome, OUTCOME_FETCH, BLAME_PLATFORM, "trabajos-fetch's answer makes no sense");
	keep_spare(fetcher);
	if (outcome.message && outcome.code == OUTCOME_DISK && fetcher->used_bytes > 0) evict(fetcher, fetcher->used_bytes / 2);
	deliver_all(fetching, answer, outcome.message ? &outcome : NULL);
	outcome_clear(&outcome);
	fetching_free(fetching);
}

static char *make_order(const struct fetcher *fetcher, const char *url, const char *ref) {
	const struct fetch_config *config = &fetcher->config;
	json_t *order = json_pack("{s:s, s:s, s:s?, s:s, s:s, s:I, s:I, s:I, s:I}", "op", "fetch", "url", url, "ref", ref,
		"git_allow", config->git_allow, "dir", config->dir, "pack_bytes", (json_int_t)config->pack_bytes, "tree_bytes",
		(json_int_t)config->tree_bytes, "files", (json_int_t)config->files, "connect_timeout_ms",
		(json_int_t)(config->timeout_ms < CONNECT_TIMEOUT_MS ? config->timeout_ms : CONNECT_TIMEOUT_MS));
	AUTO_FREE char *text = order ? json_write(order) : NULL;
	json_decref(order);
	return text ? mem_format("%s\n", text) : NULL;
}

static struct fetch_run *join(struct fetching *fetching, fetch_done *done, void *arg) {
	struct fetch_run *run = mem_zalloc(sizeof *run), **end = &fetching->runs;
	*run = (struct fetch_run){fetching, done, arg, NULL};
	while (*end) end = &(*end)->next;
	*end = run;
	return run;
}

// Only a commit id means the same to all who name it; a branch may have moved since the other one asked.
static struct fetching *find_same(const struct fetcher *fetcher, const char *url, const char *commit) {
	for (struct fetching *fetching = fetcher->fetchings; fetching; fetching = fetching->next)
		if (fetching->ref && strcmp(fetching->ref, commit) == 0 && strcmp(fetching->url, url) == 0) return fetching;
	return NULL;
}

int fetcher_start(struct fetcher *fetcher, const char *url, const char *ref, fetch_done *done, void *arg,
	struct fetch_run **run, struct error *error) {
	char commit[HEX];
	if (is_commit_id(ref)) {
		lower(ref, commit);
		ref = commit;
		struct fetching *same = find_same(fetcher, url, commit);
		if (same) {
			*run = join(same, done, arg);
			return 0;
		}
	}
	AUTO_FREE char *order = make_order(fetcher, url, ref);
	if (!order) return error_set(error, ERROR_INPUT, "the URL or ref is no UTF-8");
	struct fetching *fetching = mem_zalloc(sizeof *fetching);
	*fetching = (struct fetching){
		.fetcher = fetcher, .url = mem_strdup(url), .ref = mem_strdup(ref), .next = fetcher->fetchings};
	if (send(fetcher, &fetcher->child_config, order, fetched, fetching, &fetching->child, error) < 0) {
		fetching_free(fetching);
		return -1;
	}
	fetcher->fetchings = fetching;
	*run = join(fetching, done, arg);
	return 0;
}

void fetch_run_cancel(struct fetch_run *run) {
	struct fetching *fetching = run->fetching;
	struct fetch_run **at = &fetching->runs;
	while (*at && *at != run) at = &(*at)->next;
	if (*at) *at = run->next;
	free(run);
	if (fetching->runs || !fetching->child) return; // others wait, or the answers are being given out
	fetch_child_free(fetching->child);
	fetching_unlink(fetching);
	fetching_free(fetching);
}

int fetcher_cached(struct fetcher *fetcher, const char *url, const char *ref, struct fetch_result *result) {
	char commit[HEX];
	if (!is_commit_id(ref)) return 0;
	lower(ref, commit);
	const json_t *answer = fetch_trees_recall(fetcher->trees, url, commit);
	if (!answer || fetch_result_read(answer, result, NULL) < 0) return 0;
	result->remote = 0;
	if (fetch_trees_hold(fetcher->trees, result->tree)) return 1;
	fetch_trees_forget(fetcher->trees, result->tree);
	fetch_result_clear(result);
	return 0;
}

void fetcher_release(struct fetcher *fetcher, const char *tree) {
	fetch_trees_release(fetcher->trees, tree);
}

// ---- opening and closing

int fetcher_open(struct loop *loop, const struct fetch_config *config, struct fetcher **fetcher, struct error *error) {
	AUTO_CLOSE int program_fd = -1, dir_fd = -1;
	if (fetch_place_program(config, &program_fd, error) < 0 || fetch_place_open(config, &dir_fd, error) < 0) return -1;
	int64_t file_bytes = config->pack_bytes > config->tree_bytes ? config->pack_bytes : config->tree_bytes;
	struct fetcher *opened = mem_zalloc(sizeof *opened);
	*opened = (struct fetcher){.loop = loop,
		.config = *config,
		.child_config = {steal_fd(&program_fd), config->uid, config->gid, file_bytes + FILE_SLACK, config->timeout_ms},
		.dir_fd = steal_fd(&dir_fd),
		.used_bytes = -1,
		.keep_bytes = config->cache_bytes > 0 ? config->cache_bytes : CACHE_BYTES_MAX};
	opened->config.program = mem_strdup(config->program);
	opened->config.dir = mem_strdup(config->dir);
	opened->config.git_allow = mem_strdup(config->git_allow ? config->git_allow : "");
	opened->evict_config = opened->child_config;
	opened->evict_config.timeout_ms = EVICT_TIMEOUT_MS;
	opened->trees = fetch_trees_new(opened->dir_fd);
	opened->spare_timer = loop_timer_new(loop, spare_due, opened);
	evict(opened, opened->keep_bytes); // counts, and removes what processes that died have left
	*fetcher = opened;
	return 0;
}

void fetcher_close(struct fetcher *fetcher) {
	if (!fetcher) return;
	while (fetcher->fetchings) {
		struct fetching *fetching = fetcher->fetchings;
		fetcher->fetchings = fetching->next;
		fetch_child_free(fetching->child);
		fetching_free(fetching);
	}
	fetch_child_free(fetcher->spare);
	fetch_child_free(fetcher->evictor);
	loop_timer_free(fetcher->spare_timer);
	fetch_trees_free(fetcher->trees);
	close(fetcher->dir_fd);
	close(fetcher->child_config.program_fd);
	free((char *)(uintptr_t)fetcher->config.program);
	free((char *)(uintptr_t)fetcher->config.dir);
	free((char *)(uintptr_t)fetcher->config.git_allow);
	free(fetcher);
}
