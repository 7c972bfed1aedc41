#include "worker/fetch.h"

#include "lib/giturl.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "worker/credentials.h"
#include "worker/fetch_ca.h"
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
#define MEMORY_BASE        ((int64_t)512 << 20) // libraries, the windows on packs (mirror.c), names of refs and objects
#define MEMORY_MAX         ((int64_t)3 << 30)
#define HEX                41

struct fetch_run {
	struct fetching *fetching;
	fetch_done *done;
	void *arg;
	struct fetch_run *next;
};

// One child's work, and who waits for it. Those of one place go one after another, first come, first served.
struct fetching {
	struct fetcher *fetcher;
	struct fetch_child *child;   // NULL: not begun, or over
	struct loop_timer *patience; // of those that wait for their turn
	bool begun;
	char *place; // the URL, and the credential where there is one: what has a mirror of its own
	char *ref, *order;
	struct fetch_run *runs;
	struct fetching *next;
};

struct fetcher {
	struct loop *loop;
	struct fetch_config config; // its texts are owned
	struct fetch_child_config child_config, evict_config;
	int dir_fd;
	struct fetch_trees *trees;
	struct credentials *credentials;
	struct giturl_rules *rules; // of GIT_ALLOW
	struct fetching *fetchings; // those to come and those at work, oldest first
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
static int give(struct fetcher *fetcher, const struct fetch_child_config *config, const char *order, fetch_child_done *done,
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
	if (line && give(fetcher, &fetcher->evict_config, line, evicted, fetcher, &fetcher->evictor, NULL) < 0)
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

// It may hold a password.
static void forget_order(struct fetching *fetching) {
	if (fetching->order) explicit_bzero(fetching->order, strlen(fetching->order));
	free(STEAL(fetching->order));
}

static void fetching_free(struct fetching *fetching) {
	while (fetching->runs) {
		struct fetch_run *run = fetching->runs;
		fetching->runs = run->next;
		free(run);
	}
	loop_timer_free(fetching->patience);
	free(fetching->place);
	free(fetching->ref);
	forget_order(fetching);
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
	if (commit && is_commit_id(commit)) fetch_trees_remember(fetching->fetcher->trees, fetching->place, commit, answer);
	if (json_int(answer, "added_bytes", 0, INT64_MAX / 4, 0, &added, NULL) == 0) grew(fetching->fetcher, added);
}

static void begin_next(struct fetcher *fetcher, const char *place);

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
	if (!text) evict(fetcher, fetcher->keep_bytes); // sweeps what it has left half written
	if (outcome.message && outcome.code == OUTCOME_DISK && fetcher->used_bytes > 0) evict(fetcher, fetcher->used_bytes / 2);
	begin_next(fetcher, fetching->place);
	deliver_all(fetching, answer, outcome.message ? &outcome : NULL);
	outcome_clear(&outcome);
	fetching_free(fetching);
}

static int begin(struct fetching *fetching, struct error *error) {
	struct fetcher *fetcher = fetching->fetcher;
	fetching->begun = true;
	if (fetching->patience) loop_timer_stop(fetching->patience);
	int done = give(fetcher, &fetcher->child_config, fetching->order, fetched, fetching, &fetching->child, error);
	forget_order(fetching);
	return done;
}

// The oldest one that waits for the place. What cannot be started fails, and the one behind it is tried.
static void begin_next(struct fetcher *fetcher, const char *place) {
	AUTO_ERROR struct error error = {0};
	struct fetching *next = fetcher->fetchings;
	while (next && strcmp(next->place, place) != 0) next = next->next;
	if (!next || next->begun || begin(next, &error) == 0) return;
	struct outcome outcome = {0};
	outcome_set(&outcome, OUTCOME_FETCH, BLAME_PLATFORM, "cannot start the fetch: %s", error_text(&error));
	fetching_unlink(next);
	begin_next(fetcher, place);
	deliver_all(next, NULL, &outcome);
	outcome_clear(&outcome);
	fetching_free(next);
}

// A server that is slow with one ref after another holds nobody longer than twice the time limit of a fetch.
static void waited_too_long(void *arg) {
	struct fetching *fetching = arg;
	struct outcome outcome = {0};
	outcome_set(&outcome, OUTCOME_FETCH, BLAME_PLATFORM, "waiting for another fetch of this URL took longer than %lld s",
		(long long)fetching->fetcher->config.timeout_ms / 1000);
	fetching_unlink(fetching);
	fetching->begun = true; // nobody can be taken off it any more
	deliver_all(fetching, NULL, &outcome);
	outcome_clear(&outcome);
	fetching_free(fetching);
}

static char *make_order(const struct fetcher *fetcher, const char *url, const char *ref, const struct credential *credential) {
	const struct fetch_config *config = &fetcher->config;
	json_t *shown = credential ? json_pack("{s:s, s:s, s:s}", "id", credential->id, "username", credential->username,
					     "password", credential->password)
				   : json_null();
	json_t *order = json_pack("{s:s, s:s, s:s?, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:o}", "op", "fetch", "url", url, "ref",
		ref, "git_allow", config->git_allow, "git_deny", config->git_deny, "dir", config->dir, "pack_bytes",
		(json_int_t)config->pack_bytes, "tree_bytes", (json_int_t)config->tree_bytes, "files",
		(json_int_t)config->files, "connect_timeout_ms",
		(json_int_t)(config->timeout_ms < CONNECT_TIMEOUT_MS ? config->timeout_ms : CONNECT_TIMEOUT_MS), "credential",
		shown);
	char *text = order ? json_write(order) : NULL;
	json_decref(order);
	if (!text) return NULL;
	char *line = mem_format("%s\n", text);
	explicit_bzero(text, strlen(text));
	free(text);
	return line;
}

static struct fetch_run *join(struct fetching *fetching, fetch_done *done, void *arg) {
	struct fetch_run *run = mem_zalloc(sizeof *run), **end = &fetching->runs;
	*run = (struct fetch_run){fetching, done, arg, NULL};
	while (*end) end = &(*end)->next;
	*end = run;
	return run;
}

// A commit id means the same to all who name it; a branch may have moved since one that has begun asked.
static struct fetching *find_same(const struct fetcher *fetcher, const char *place, const char *ref) {
	for (struct fetching *fetching = fetcher->fetchings; fetching; fetching = fetching->next) {
		if (strcmp(fetching->place, place) != 0 || (fetching->begun && !is_commit_id(ref))) continue;
		if (ref && fetching->ref ? strcmp(fetching->ref, ref) == 0 : ref == fetching->ref) return fetching;
	}
	return NULL;
}

// What the file says now. A broken one changes nothing; the operator hears of it.
static const struct credential *find_credential(struct fetcher *fetcher, const char *text, const struct fetch_asker *asker) {
	AUTO_ERROR struct error error = {0};
	struct giturl url;
	int changed = credentials_refresh(fetcher->credentials, &error);
	if (changed < 0)
		log_error(log_m("GIT_CREDENTIALS_FILE is broken, what it said before holds on"), log_e(&error));
	else if (changed > 0)
		log_info(log_m("GIT_CREDENTIALS_FILE was read anew"));
	if (giturl_check(text, fetcher->rules, &url, NULL) < 0) return NULL;
	const struct credential *found = credentials_find(fetcher->credentials, &url, asker->owner, asker->usuario);
	giturl_clear(&url);
	return found;
}

static char *name_place(const char *url, const struct credential *credential) {
	return credential ? mem_format("%s\n%s", url, credential->id) : mem_strdup(url);
}

// Behind those that are there already.
static int enqueue(struct fetching *fetching, struct error *error) {
	struct fetching **end = &fetching->fetcher->fetchings;
	bool first = true;
	for (; *end; end = &(*end)->next) first = first && strcmp((*end)->place, fetching->place) != 0;
	if (first && begin(fetching, error) < 0) return -1;
	*end = fetching;
	if (first) return 0;
	fetching->patience = loop_timer_new(fetching->fetcher->loop, waited_too_long, fetching);
	loop_timer_set(fetching->patience, fetching->fetcher->config.timeout_ms);
	if (!fetching->fetcher->spare) keep_spare(fetching->fetcher);
	return 0;
}

int fetcher_start(struct fetcher *fetcher, const char *url, const char *ref, const struct fetch_asker *asker, fetch_done *done,
	void *arg, struct fetch_run **run, struct error *error) {
	char commit[HEX];
	const struct credential *credential = find_credential(fetcher, url, asker);
	AUTO_FREE char *place = name_place(url, credential);
	if (is_commit_id(ref)) {
		lower(ref, commit);
		ref = commit;
	}
	struct fetching *fetching = find_same(fetcher, place, ref);
	if (fetching) {
		*run = join(fetching, done, arg);
		return 0;
	}
	char *order = make_order(fetcher, url, ref, credential);
	if (!order) return error_set(error, ERROR_INPUT, "the URL or ref is no UTF-8");
	fetching = mem_zalloc(sizeof *fetching);
	*fetching = (struct fetching){.fetcher = fetcher, .place = STEAL(place), .ref = mem_strdup(ref), .order = order};
	if (enqueue(fetching, error) < 0) {
		fetching_free(fetching);
		return -1;
	}
	*run = join(fetching, done, arg);
	return 0;
}

void fetch_run_cancel(struct fetch_run *run) {
	struct fetching *fetching = run->fetching;
	struct fetcher *fetcher = fetching->fetcher;
	struct fetch_run **at = &fetching->runs;
	while (*at && *at != run) at = &(*at)->next;
	if (*at) *at = run->next;
	free(run);
	if (fetching->runs || (fetching->begun && !fetching->child)) return; // others wait, or the answers are being given out
	bool killed = fetching->child != NULL;
	fetch_child_free(fetching->child);
	fetching_unlink(fetching);
	if (killed) evict(fetcher, fetcher->keep_bytes); // as in fetched
	begin_next(fetcher, fetching->place);
	fetching_free(fetching);
}

int fetcher_cached(struct fetcher *fetcher, const char *url, const char *ref, const struct fetch_asker *asker,
	struct fetch_result *result) {
	char commit[HEX];
	if (!is_commit_id(ref)) return 0;
	lower(ref, commit);
	AUTO_FREE char *place = name_place(url, find_credential(fetcher, url, asker));
	const json_t *answer = fetch_trees_recall(fetcher->trees, place, commit);
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

static int prepare_trust(
	const struct fetch_config *config, int dir_fd, struct credentials **credentials, char **variable, struct error *error) {
	AUTO_FREE char *bundle = NULL;
	if (config->git_ca_file && *config->git_ca_file) {
		if (fetch_ca_prepare(config->git_ca_file, config->dir, dir_fd, &bundle, error) < 0) return -1;
		*variable = mem_format("GIT_CA_FILE=%s", bundle);
	}
	if (credentials_open(config->git_credentials_file, credentials, error) == 0) return 0;
	free(STEAL(*variable));
	return error_wrap(error, "GIT_CREDENTIALS_FILE");
}

int fetcher_open(struct loop *loop, const struct fetch_config *config, struct fetcher **fetcher, struct error *error) {
	AUTO_CLOSE int program_fd = -1, dir_fd = -1;
	struct credentials *credentials = NULL;
	char *ca_variable = NULL;
	if (fetch_place_program(config, &program_fd, error) < 0 || fetch_place_open(config, &dir_fd, error) < 0 ||
		prepare_trust(config, dir_fd, &credentials, &ca_variable, error) < 0)
		return -1;
	int64_t most_bytes = config->pack_bytes > config->tree_bytes ? config->pack_bytes : config->tree_bytes;
	// A file that is kept as a delta is there three times while it is put together: what it was, how it differs, what it is.
	int64_t memory_bytes = most_bytes < (MEMORY_MAX - MEMORY_BASE) / 3 ? MEMORY_BASE + 3 * most_bytes : MEMORY_MAX;
	struct fetcher *opened = mem_zalloc(sizeof *opened);
	*opened = (struct fetcher){.loop = loop,
		.config = *config,
		.child_config = {steal_fd(&program_fd), config->uid, config->gid, most_bytes + FILE_SLACK, memory_bytes,
			config->timeout_ms, ca_variable},
		.dir_fd = steal_fd(&dir_fd),
		.credentials = credentials,
		.used_bytes = -1,
		.keep_bytes = config->cache_bytes > 0 ? config->cache_bytes : CACHE_BYTES_MAX};
	opened->config.program = mem_strdup(config->program);
	opened->config.dir = mem_strdup(config->dir);
	opened->config.git_allow = mem_strdup(config->git_allow ? config->git_allow : "");
	opened->config.git_deny = mem_strdup(config->git_deny ? config->git_deny : "");
	opened->evict_config = opened->child_config;
	opened->evict_config.timeout_ms = EVICT_TIMEOUT_MS;
	opened->trees = fetch_trees_new(opened->dir_fd);
	// Broken rules are refused before this (worker/main.c), and by every child.
	if (giturl_rules_parse(opened->config.git_allow, &opened->rules, NULL) < 0) opened->rules = NULL;
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
	credentials_free(fetcher->credentials);
	giturl_rules_free(fetcher->rules);
	free(fetcher->child_config.ca_variable);
	free((char *)(uintptr_t)fetcher->config.program);
	free((char *)(uintptr_t)fetcher->config.dir);
	free((char *)(uintptr_t)fetcher->config.git_allow);
	free((char *)(uintptr_t)fetcher->config.git_deny);
	free(fetcher);
}
