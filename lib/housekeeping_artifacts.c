#include "lib/housekeeping_artifacts.h"

#include "lib/failpoint.h"
#include "lib/lifecycle.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"
#include "lib/task.h"

#include <stdbool.h>
#include <string.h>

#define EVERY_MS   failpoint_sooner(60000)
#define FIRST_MS   1000
#define MORE_MS    200
#define BATCH      100
#define TIMEOUT_MS 20000
#define STOP_MS    3000

// What a thread removes: a file server or a store elsewhere may take its time.
struct removal {
	struct housekeeping_artifacts *chore;
	struct task *task;
	struct loop_wakeup *ended;
	size_t count, done;
	struct {
		char id[37], sha256[65];
	} objects[BATCH]; // the first `done` are gone
	struct error error;
};

struct housekeeping_artifacts {
	struct loop *loop;
	struct removal *removal; // NULL: none under way
	struct db_session *session;
	const struct blobs_config *store; // NULL: none
	struct loop_timer *timer;
	bool under_way, stopped, more;
};

static struct metric removed_count = {.name = "trabajos_artifacts_removed_total",
	.help = "artifacts that were never seen, and contents that no job has any more, removed from the ledger",
	.type = METRIC_COUNTER};
static struct metric objects_count = {.name = "trabajos_artifacts_objects_removed_total",
	.help = "objects removed from the artifacts' store",
	.type = METRIC_COUNTER};

// $1 how many. Who writes has an hour from when he reserves the content until his rows name it.
static const struct db_statement collect_statement = {
	"housekeeping_artifacts", "SELECT artifacts_collect($1::int, interval '1 hour')"};
// $1 place, $2 how many → (id, sha256)
static const struct db_statement doomed_statement = {
	"housekeeping_doomed", "SELECT id, sha256 FROM blobs_doomed_take($1, $2::int)"};
// $1 ids
static const struct db_statement gone_statement = {"housekeeping_gone", "DELETE FROM blobs_doomed WHERE id = ANY ($1::uuid[])"};

static void rest(struct housekeeping_artifacts *chore) {
	loop_timer_set(chore->timer, chore->more ? MORE_MS : lifecycle_jitter_ms(EVERY_MS));
	chore->more = false;
}

// Whether the answer still matters.
static bool answered(struct housekeeping_artifacts *chore, enum db_status status, const struct error *error, const char *what) {
	chore->under_way = false;
	if (chore->stopped) {
		free(chore);
		return false;
	}
	if (status == DB_OK) return true;
	if (status != DB_UNAVAILABLE && status != DB_RETRY) log_warn(log_m(what), log_e(error));
	rest(chore);
	return false;
}

static void run(
	struct housekeeping_artifacts *chore, const struct db_statement *statement, struct db_params *params, db_done *done) {
	chore->under_way = true;
	db_run(chore->session, statement, params, 0, TIMEOUT_MS, done, chore);
}

static void gone(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct housekeeping_artifacts *chore = arg;
	(void)result;
	if (answered(chore, status, error, "cannot note removed artifacts")) rest(chore);
}

static void removal_free(struct removal *removal) {
	loop_wakeup_free(removal->ended);
	error_clear(&removal->error);
	free(removal);
}

// What cannot be removed now is tried again by whoever takes it next.
static void removed(void *arg) {
	struct housekeeping_artifacts *chore = arg;
	struct removal *removal = STEAL(chore->removal);
	if (task_end(removal->task, TIMEOUT_MS) != 0) mem_die("artifacts: a thread does not end");
	if (removal->error.kind) log_warn(log_m("cannot remove artifacts"), log_e(&removal->error));
	metric_add(&objects_count, (int64_t)removal->done);
	const char *ids[BATCH];
	for (size_t i = 0; i < removal->done; i++) ids[i] = removal->objects[i].id;
	struct db_params *params = db_params_new();
	db_text_array(params, ids, removal->done);
	removal_free(removal);
	run(chore, &gone_statement, params, gone);
}

static void remove_run(struct task *task, void *arg) {
	struct removal *removal = arg;
	for (; removal->done < removal->count && !task_ending(task); removal->done++) {
		const struct blobs_object object = {
			.id = removal->objects[removal->done].id, .sha256 = removal->objects[removal->done].sha256};
		if (blobs_remove(removal->chore->store, &object, &removal->error) != 0) break;
	}
	loop_wakeup_fire(removal->ended);
}

static void remove_objects(struct housekeeping_artifacts *chore, const struct db_result *result) {
	struct removal *removal = mem_zalloc(sizeof(*removal));
	removal->chore = chore;
	for (size_t row = 0; row < db_rows(result) && row < BATCH; row++, removal->count++) {
		snprintf(removal->objects[row].id, sizeof(removal->objects[row].id), "%s", db_get(result, row, 0));
		snprintf(removal->objects[row].sha256, sizeof(removal->objects[row].sha256), "%s", db_get(result, row, 1));
	}
	removal->ended = loop_wakeup_new(chore->loop, removed, chore);
	chore->removal = removal;
	removal->task = task_start("blobs", remove_run, removal);
}

static void taken(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct housekeeping_artifacts *chore = arg;
	if (!answered(chore, status, error, "cannot look for artifacts to remove")) return;
	if (db_rows(result) == BATCH) chore->more = true;
	if (db_rows(result) == 0)
		rest(chore);
	else
		remove_objects(chore, result);
}

static void collected(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct housekeeping_artifacts *chore = arg;
	if (!answered(chore, status, error, "cannot collect artifacts")) return;
	int64_t removed = db_get_int(result, 0, 0);
	metric_add(&removed_count, removed);
	if (removed >= BATCH) chore->more = true;
	if (!chore->store) {
		rest(chore);
		return;
	}
	struct db_params *params = db_params_new();
	db_text(params, blobs_place(chore->store));
	db_int(params, BATCH);
	run(chore, &doomed_statement, params, taken);
}

static void due(void *arg) {
	struct housekeeping_artifacts *chore = arg;
	if (!db_session_ready(chore->session)) {
		rest(chore);
		return;
	}
	struct db_params *params = db_params_new();
	db_int(params, BATCH);
	run(chore, &collect_statement, params, collected);
}

void housekeeping_artifacts_stop(struct housekeeping_artifacts *chore) {
	if (!chore) return;
	loop_timer_free(chore->timer);
	chore->timer = NULL;
	chore->stopped = true;
	// The process ends; a thread that does not end with it is left to itself, and what it needs with it.
	if (chore->removal && task_end(chore->removal->task, STOP_MS) != 0) return;
	if (chore->removal) removal_free(STEAL(chore->removal));
	if (!chore->under_way) free(chore);
}

struct housekeeping_artifacts *housekeeping_artifacts_start(
	struct loop *loop, struct db_session *session, const struct blobs_config *store) {
	metrics_register(&removed_count);
	metrics_register(&objects_count);
	struct housekeeping_artifacts *chore = mem_zalloc(sizeof(*chore));
	chore->loop = loop;
	chore->session = session;
	chore->store = store && strcmp(blobs_place(store), "ledger") != 0 ? store : NULL;
	chore->timer = loop_timer_new(loop, due, chore);
	loop_timer_set(chore->timer, lifecycle_jitter_ms(FIRST_MS));
	return chore;
}
