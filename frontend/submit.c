// The states of a submission:
//
//     submit_job
//       |-- Idempotency-Key, another under way with the same --> FOLLOWING -- the other has ended --> as it, or DIFFERS, or
//       |                                                         anew, where the other DIFFERS or is TOO_LATE
//       |-- Idempotency-Key, the ledger is up ----------------> LOOKING --+-- known, same body -----> REPEATED
//       |                                                         |       `-- known, other body ----> DIFFERS
//       |                                           unknown, or no answer
//       v                                                         v
//     GATHERED <--------------------------------------------------'
//       v the loop's next round
//     PRODUCED
//       |-- certainly not persisted --> REFUSED            |-- possibly persisted --> UNCERTAIN
//       v acknowledged
//     STORING -- ledger away ------> PENDING
//       |-- in the ledger ---------> ACCEPTED
//       v in the ledger, with an Idempotency-Key, and the insert met keys that were there already
//     CHECKING -- the same body ---> ACCEPTED             |-- other body --> DIFFERS (its record in Kafka counts for nothing:
//                                                          `-- no answer ---> PENDING  the ledger has the key)
//
// What has not enough time left to be produced is TOO_LATE.
//
// The client may go at any time, and one whose deadline is near is answered with what is known then; the submission itself
// always goes to its end.

#include "frontend/submit.h"

#include "frontend/batch.h"
#include "frontend/meters.h"
#include "lib/failpoint.h"
#include "lib/mem.h"

#include <string.h>

#define BUCKETS   1024
#define TICK_MS   250
#define ENOUGH    8   // rows for an insert beside another one
#define MARGIN_MS 500 // before the deadline, to get the answer out

enum state { LOOKING, FOLLOWING, GATHERED, PRODUCED, STORING, CHECKING };

struct submission {
	struct submit *submit;
	enum state state;
	struct trabajo trabajo;
	struct batch_entry entry;
	int64_t answer_by_ms;
	bool answered;
	submit_done *done; // NULL: nobody waits
	void *arg;
	struct submission *next, **place; // of all
	struct submission *next_gathered;

	// with an Idempotency-Key
	bool idempotent;
	char fingerprint[65];
	struct submission *leader;    // whom it follows
	struct submission *followers; // who follow it
	struct submission *sibling;   // next follower of the same, or next leader in the bucket
};

struct submit {
	struct submit_ports ports;
	struct batch *batch;
	struct loop_timer *send, *kick, *tick;
	struct submission *all;
	struct submission *gathered, **last_gathered; // to be produced in the loop's next round
	size_t count;
	struct submission *leaders[BUCKETS]; // by key
};

// ---- the end

static void answer(struct submission *submission, enum submit_outcome outcome) {
	static struct metric *const meters[] = {
		[SUBMIT_ACCEPTED] = &meter_submit_accepted,
		[SUBMIT_PENDING] = &meter_submit_pending,
		[SUBMIT_REPEATED] = &meter_submit_repeated,
		[SUBMIT_DIFFERS] = &meter_submit_differs,
		[SUBMIT_REFUSED] = &meter_submit_refused,
		[SUBMIT_TOO_LATE] = &meter_submit_refused,
		[SUBMIT_UNCERTAIN] = &meter_submit_uncertain,
	};
	if (submission->answered) return;
	submission->answered = true;
	metric_add(meters[outcome], 1);
	submit_done *done = submission->done;
	submission->done = NULL;
	if (done) done(outcome, submission->trabajo.key, submission->arg);
	failpoint("submit.answered");
}

// Keys of idempotent submissions are name-based UUIDs: their first digits are a hash already.
static struct submission **bucket_of(struct submit *submit, const char *key) {
	char digits[9] = {0};
	memcpy(digits, key, 8);
	return &submit->leaders[strtoul(digits, NULL, 16) % BUCKETS];
}

static void leader_remove(struct submission *submission) {
	struct submission **place = bucket_of(submission->submit, submission->trabajo.key);
	while (*place && *place != submission) place = &(*place)->sibling;
	if (*place) *place = submission->sibling;
}

static void submission_free(struct submission *submission) {
	struct submit *submit = submission->submit;
	*submission->place = submission->next;
	if (submission->next) submission->next->place = submission->place;
	submit->count--;
	metric_set(&meter_submit_under_way, (int64_t)submit->count);
	trabajo_clear(&submission->trabajo);
	free(submission);
}

// What the leader's end means for one who asked for the same key.
static enum submit_outcome follower_outcome(const struct submission *follower, enum submit_outcome outcome) {
	bool known = outcome == SUBMIT_ACCEPTED || outcome == SUBMIT_PENDING || outcome == SUBMIT_REPEATED;
	if (outcome == SUBMIT_DIFFERS) return SUBMIT_DIFFERS;
	if (!known) return outcome;
	if (strcmp(follower->fingerprint, follower->leader->fingerprint) != 0) return SUBMIT_DIFFERS;
	return outcome == SUBMIT_ACCEPTED ? SUBMIT_REPEATED : outcome;
}

static void start_anew(struct submission *submission);

static void finish(struct submission *submission, enum submit_outcome outcome) {
	if (submission->idempotent) leader_remove(submission);
	answer(submission, outcome);
	while (submission->followers) {
		struct submission *follower = submission->followers;
		submission->followers = follower->sibling;
		// The leader's body is not that of the known job, or its time is over: a follower's own may be otherwise.
		bool other_body = outcome == SUBMIT_DIFFERS && strcmp(follower->fingerprint, submission->fingerprint) != 0;
		if (other_body || outcome == SUBMIT_TOO_LATE) {
			start_anew(follower);
			continue;
		}
		answer(follower, follower_outcome(follower, outcome));
		submission_free(follower);
	}
	submission_free(submission);
}

// ---- ledger

static void checked(const char *fingerprint, struct submission *submission) {
	if (!fingerprint)
		finish(submission, SUBMIT_PENDING);
	else
		finish(submission, strcmp(fingerprint, submission->fingerprint) == 0 ? SUBMIT_ACCEPTED : SUBMIT_DIFFERS);
}

// Another frontend may have had the same key at the same moment, or our first look had no answer.
static void check(struct submission *submission) {
	struct submit *submit = submission->submit;
	if (!submit->ports.ledger_up(submit->ports.arg)) {
		finish(submission, SUBMIT_PENDING);
		return;
	}
	submission->state = CHECKING;
	submit->ports.lookup(submission->trabajo.key, checked, submission, submit->ports.arg);
}

static void entry_done(struct batch_entry *entry, bool stored, void *arg) {
	struct submit *submit = arg;
	struct submission *submission = (struct submission *)((char *)entry - offsetof(struct submission, entry));
	metric_add(&meter_ledger_waiting, -1);
	failpoint("submit.stored");
	if (stored) submit->ports.tap(submit->ports.arg);
	if (stored && entry->doubtful && submission->idempotent)
		check(submission);
	else
		finish(submission, stored ? SUBMIT_ACCEPTED : SUBMIT_PENDING);
}

static void insert(
	struct ledger_batch *rows, size_t from, size_t count, batch_inserted *inserted, struct batch_lane *lane, void *arg) {
	const struct submit *submit = arg;
	submit->ports.insert(rows, from, count, inserted, lane, submit->ports.arg);
}

// Deferred to the loop's next round, so that the acknowledgements of one round become one batch.
static void time_to_kick(void *arg) {
	struct submit *submit = arg;
	batch_kick(submit->batch);
}

static void store(struct submission *submission) {
	struct submit *submit = submission->submit;
	if (!submit->ports.ledger_up(submit->ports.arg)) {
		finish(submission, SUBMIT_PENDING);
		return;
	}
	submission->state = STORING;
	submission->entry.trabajo = &submission->trabajo;
	metric_add(&meter_ledger_waiting, 1);
	batch_add(submit->batch, &submission->entry);
	if (!loop_timer_active(submit->kick)) loop_timer_set(submit->kick, 0);
}

// ---- Kafka

void submit_delivered(struct submission *submission, enum kafka_delivery delivery, int64_t timestamp_ms) {
	switch (delivery) {
	case KAFKA_PERSISTED:
		failpoint("submit.acknowledged");
		submission->trabajo.posted_ms = timestamp_ms;
		store(submission);
		return;
	case KAFKA_NOT_PERSISTED:
		finish(submission, SUBMIT_REFUSED);
		return;
	case KAFKA_POSSIBLY_PERSISTED:
		finish(submission, SUBMIT_UNCERTAIN);
		return;
	}
}

// Kafka's answer might come after ours.
static bool too_late(const struct submission *submission) {
	return loop_now_ms() + SUBMIT_MESSAGE_TIMEOUT_MS > submission->answer_by_ms;
}

static int produce(struct submission *submission) {
	struct submit *submit = submission->submit;
	AUTO_FREE char *spec_text = submission->trabajo.spec.json ? json_write(submission->trabajo.spec.json) : NULL;
	submission->state = PRODUCED;
	int status = submit->ports.produce(&submission->trabajo, spec_text, submission, submit->ports.arg);
	failpoint("submit.produced");
	return status;
}

static struct submission *gathered_take(struct submit *submit) {
	struct submission *submission = submit->gathered;
	if (!submission) return NULL;
	submit->gathered = submission->next_gathered;
	if (!submit->gathered) submit->last_gathered = &submit->gathered;
	return submission;
}

static void time_to_send(void *arg) {
	struct submission *submission;
	while ((submission = gathered_take(arg)))
		if (too_late(submission))
			finish(submission, SUBMIT_TOO_LATE);
		else if (produce(submission))
			finish(submission, SUBMIT_REFUSED);
}

// What one round of the loop brings is produced together: between two requests lies the work on a request, and one after
// another a crowd would go to Kafka, and then to the ledger, in many small pieces.
// -1: too late.
static int gather(struct submission *submission) {
	struct submit *submit = submission->submit;
	if (too_late(submission)) return -1;
	submission->state = GATHERED;
	submission->next_gathered = NULL;
	*submit->last_gathered = submission;
	submit->last_gathered = &submission->next_gathered;
	if (!loop_timer_active(submit->send)) loop_timer_set(submit->send, 0);
	return 0;
}

// ---- Idempotency-Key

static void found(const char *fingerprint, struct submission *submission) {
	if (fingerprint)
		finish(submission, strcmp(fingerprint, submission->fingerprint) == 0 ? SUBMIT_REPEATED : SUBMIT_DIFFERS);
	else if (gather(submission))
		finish(submission, SUBMIT_TOO_LATE);
}

// 1: the rest goes by itself; 0: to be produced now.
static int idempotent_start(struct submission *submission) {
	struct submit *submit = submission->submit;
	struct submission **bucket = bucket_of(submit, submission->trabajo.key), *leader = *bucket;
	while (leader && strcmp(leader->trabajo.key, submission->trabajo.key) != 0) leader = leader->sibling;
	trabajo_fingerprint(&submission->trabajo, submission->fingerprint);
	if (leader) {
		submission->state = FOLLOWING;
		submission->leader = leader;
		submission->sibling = leader->followers;
		leader->followers = submission;
		return 1;
	}
	submission->idempotent = true;
	submission->sibling = *bucket;
	*bucket = submission;
	if (!submit->ports.ledger_up(submit->ports.arg)) return 0;
	submission->state = LOOKING;
	submit->ports.lookup(submission->trabajo.key, found, submission, submit->ports.arg);
	return 1;
}

static void start_anew(struct submission *submission) {
	submission->leader = submission->sibling = NULL;
	if (!idempotent_start(submission) && gather(submission)) finish(submission, SUBMIT_TOO_LATE);
}

// ---- deadlines

static enum submit_outcome outcome_so_far(const struct submission *submission) {
	const struct submission *leader = submission->leader;
	switch (submission->state) {
	case LOOKING:
	case GATHERED:
		return SUBMIT_TOO_LATE;
	case PRODUCED:
		return SUBMIT_UNCERTAIN;
	case STORING:
	case CHECKING:
		return SUBMIT_PENDING;
	case FOLLOWING:
		return follower_outcome(submission, outcome_so_far(leader));
	}
	return SUBMIT_UNCERTAIN;
}

static void time_to_look(void *arg) {
	struct submit *submit = arg;
	int64_t now_ms = loop_now_ms();
	for (struct submission *submission = submit->all; submission; submission = submission->next)
		if (submission->answer_by_ms <= now_ms) answer(submission, outcome_so_far(submission));
	if (submit->all) loop_timer_set(submit->tick, TICK_MS);
}

struct submit *submit_new(struct loop *loop, const struct submit_ports *ports) {
	struct submit *submit = mem_zalloc(sizeof *submit);
	submit->ports = *ports;
	submit->batch = batch_new(&(struct batch_port){
		.insert = insert, .done = entry_done, .arg = submit, .lanes = SUBMIT_LANES, .enough = ENOUGH});
	submit->last_gathered = &submit->gathered;
	submit->send = loop_timer_new(loop, time_to_send, submit);
	submit->kick = loop_timer_new(loop, time_to_kick, submit);
	submit->tick = loop_timer_new(loop, time_to_look, submit);
	return submit;
}

void submit_free(struct submit *submit) {
	if (!submit) return;
	batch_free(submit->batch);
	loop_timer_free(submit->send);
	loop_timer_free(submit->kick);
	loop_timer_free(submit->tick);
	free(submit);
}

size_t submit_under_way(const struct submit *submit) {
	return submit->count;
}

void submit_stop(struct submit *submit) {
	struct submission *submission;
	while ((submission = gathered_take(submit))) finish(submission, SUBMIT_REFUSED);
	batch_stop(submit->batch);
}

void submit_forget(struct submission *submission) {
	submission->done = NULL;
}

struct submission *submit_job(
	struct submit *submit, struct trabajo *trabajo, bool idempotent, int64_t left_ms, submit_done *done, void *arg) {
	struct submission *submission = mem_zalloc(sizeof *submission);
	submission->submit = submit;
	submission->trabajo = *trabajo;
	*trabajo = (struct trabajo){0};
	submission->answer_by_ms = loop_now_ms() + left_ms - MARGIN_MS;
	submission->done = done;
	submission->arg = arg;
	submission->next = submit->all;
	submission->place = &submit->all;
	if (submission->next) submission->next->place = &submission->next;
	submit->all = submission;
	metric_set(&meter_submit_under_way, (int64_t)++submit->count);
	if (!loop_timer_active(submit->tick)) loop_timer_set(submit->tick, TICK_MS);

	if (idempotent && idempotent_start(submission)) return submission;
	if (!gather(submission)) return submission;
	submission->done = NULL;
	finish(submission, SUBMIT_TOO_LATE);
	return NULL;
}
