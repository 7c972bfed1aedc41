// Giving back what runs under a worker's name without its knowing, while the ledger refuses it for a moment.
#include "tests/unit/states_rig.h"
#include "worker/claim.h"
#include "worker/lease.c"

enum { PATIENCE_MS = 30000, LEASE_S = 1 };

static struct worker worker;
static struct loop_timer *patience;
static bool began; // a job that must run alone

// ---- the worker's main and its slots, of which there is none

int64_t slots_free(const struct worker *self UNUSED) {
	return 0;
}

int64_t slots_busy(const struct worker *self UNUSED) {
	return 0;
}

void slots_changed(struct worker *self UNUSED) {}

void worker_attempt_ended(struct worker *self UNUSED, bool started UNUSED) {}

bool worker_resting(const struct worker *self UNUSED) {
	return false;
}

void worker_slot_freed(struct worker *self UNUSED) {}

bool slots_keep_to_one(const struct worker *self UNUSED) {
	return true;
}

void slots_begin_alone(struct worker *self) {
	if (lease_gives_back(self->lease)) return;
	began = true;
	loop_stop(self->loop);
}

// ---- tests

static void too_long(void *arg UNUSED) {
	loop_stop(worker.loop);
}

static void connected(int is_connected, const char *why UNUSED, void *arg UNUSED) {
	if (is_connected && db_session_ready(worker.ledger) && db_session_ready(worker.pulse)) loop_stop(worker.loop);
}

static void run(void) {
	loop_timer_set(patience, PATIENCE_MS);
	loop_run(worker.loop);
}

// Refused by the ledger as often as that; SQLSTATE.
static void refuse(int times, const char *state) {
	AUTO_FREE char *sql = mem_format(
		"CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
		" IF old.status = 'Running' AND nextval('refusals') <= %d THEN RAISE 'refused' USING ERRCODE = '%s'; END IF;"
		" RETURN new; END $$; ALTER SEQUENCE refusals RESTART",
		times, state);
	must(sql);
}

static int up(void **state UNUSED) {
	must("CREATE SEQUENCE refusals");
	refuse(0, "40P01");
	must("CREATE TRIGGER refuse BEFORE UPDATE OF status ON trabajos FOR EACH ROW EXECUTE FUNCTION refuse()");
	must("INSERT INTO workers (worker, host, pid, version, slots, isolation)"
	     " VALUES ('worker-1', 'h', 1, 'v', 1, 'full')");
	worker = (struct worker){
		.phase = WORKER_SERVING, .loop = loop_new(), .slots = mem_zalloc_array(1, sizeof(struct job *))};
	worker.config.slots = 1;
	worker.config.lease_s = LEASE_S;
	snprintf(worker.id, sizeof(worker.id), "worker-1");
	patience = loop_timer_new(worker.loop, too_long, NULL);
	worker.ledger = db_session_open(worker.loop, &scratch.config);
	worker.pulse = db_session_open(worker.loop, &scratch.config);
	db_session_watch(worker.ledger, connected, NULL);
	db_session_watch(worker.pulse, connected, NULL);
	worker.lease = lease_new(&worker);
	worker.claimer = claimer_new(&worker);
	run();
	return db_session_ready(worker.ledger) && db_session_ready(worker.pulse) ? 0 : -1;
}

static int down(void **state UNUSED) {
	db_session_close(worker.ledger);
	db_session_close(worker.pulse);
	lease_free(worker.lease);
	claimer_free(worker.claimer);
	loop_timer_free(patience);
	loop_free(worker.loop);
	free(worker.slots);
	return 0;
}

// The job that waits for it would else wait for ever, and the one under our name be lost with its lease.
static void what_the_ledger_refused_to_take_back_is_given_back_again(void **state UNUSED) {
	static const char *const states[] = {"40P01", "P0001"};
	ADD_PLAIN(1, "ana", 0);
	beat(worker.lease);
	for (size_t i = 0; i < COUNT_OF(states); i++) {
		assert_claims(1, "ana");
		refuse(2, states[i]);
		began = false;
		lease_give_back_strays(worker.lease);
		run();
		assert_true(began);
		assert_says("SELECT concat_ws(' ', status, platform_failures) FROM trabajos", "Queued 0");
		assert_says("SELECT last_value FROM refusals", "3");
		assert_sound();
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_the_ledger_refused_to_take_back_is_given_back_again, up, down),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
