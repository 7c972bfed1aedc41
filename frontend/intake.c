#include "frontend/intake.h"

#include "frontend/statements.h"
#include "lib/log.h"
#include "lib/mem.h"

#define LOOKUP_TIMEOUT_MS 1000
#define INSERT_TIMEOUT_MS 2000

struct intake {
	struct loop *loop;
	struct submit *submit;
	struct kafka_producer *at_once, *gather;  // for a lone submission, and for many at a time
	struct db_session *inserts[SUBMIT_LANES]; // NULL: no ledger yet
	struct db_session *lookups;               // apart, so that a look-up does not wait for a batch
	struct ledger_tap *tap;
};

// What a callback of the ledger needs to know.
struct lookup {
	submit_found *found;
	struct submission *submission;
};
struct insert {
	batch_inserted *inserted;
	struct batch_lane *lane;
	size_t count;
};

static int produce(const struct trabajo *trabajo, const char *spec_text, struct submission *submission, void *arg) {
	const struct intake *intake = arg;
	struct kafka_header headers[TRABAJO_HEADERS];
	size_t count = trabajo_headers(trabajo, spec_text, headers);
	struct error error AUTO_ERROR = {0};
	bool crowd = submit_under_way(intake->submit) > SUBMIT_CROWD;
	struct kafka_producer *producer = crowd ? intake->gather : intake->at_once;
	int status =
		kafka_produce(producer, trabajo->key, trabajo->url, strlen(trabajo->url), headers, count, submission, &error);
	if (status) log_warn(log_m("a job could not be handed to Kafka"), log_s("key", trabajo->key), log_e(&error));
	return status;
}

static void delivered(enum kafka_delivery delivery, int64_t timestamp_ms, void *opaque, void *arg) {
	(void)arg;
	submit_delivered(opaque, delivery, timestamp_ms);
}

static bool ledger_up(void *arg) {
	return intake_ledger_ready(arg);
}

static void looked_up(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct lookup lookup = *(struct lookup *)arg;
	free(arg);
	if (status == DB_FAILED) log_error(log_m("the ledger's look-up failed"), log_e(error));
	lookup.found(status == DB_OK && db_rows(result) ? db_get(result, 0, 0) : NULL, lookup.submission);
}

// Its own, or while that is away another one's.
static struct db_session *session_of(const struct intake *intake, struct db_session *own) {
	for (size_t i = 0; i < SUBMIT_LANES && !db_session_ready(own); i++)
		if (db_session_ready(intake->inserts[i])) return intake->inserts[i];
	return own;
}

static void lookup(const char *key, submit_found *found, struct submission *submission, void *arg) {
	const struct intake *intake = arg;
	struct lookup *context = mem_zalloc(sizeof *context);
	*context = (struct lookup){found, submission};
	struct db_params *params = db_params_new();
	db_text(params, key);
	db_run(session_of(intake, intake->lookups), &statement_fingerprint, params, 0, LOOKUP_TIMEOUT_MS, looked_up, context);
}

static void batch_came(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct insert insert = *(struct insert *)arg;
	free(arg);
	int64_t known = status == DB_OK ? (int64_t)insert.count - db_get_int(result, 0, 0) : 0;
	insert.inserted(status, known, status == DB_OK ? db_get_int(result, 0, 1) : 0, error, insert.lane);
}

static void insert(
	struct ledger_batch *rows, size_t from, size_t count, batch_inserted *inserted, struct batch_lane *lane, void *arg) {
	const struct intake *intake = arg;
	struct insert *context = mem_zalloc(sizeof *context);
	*context = (struct insert){inserted, lane, count};
	db_run(session_of(intake, intake->inserts[batch_lane_number(lane)]), &ledger_insert,
		ledger_batch_params(rows, from, count), 0, INSERT_TIMEOUT_MS, batch_came, context);
}

static void tap(void *arg) {
	const struct intake *intake = arg;
	ledger_tap(intake->tap);
}

static int open_producer(struct intake *intake, const struct kafka_config *kafka, enum kafka_pace pace,
	struct kafka_producer **producer, struct error *error) {
	return kafka_producer_open(
		intake->loop, kafka, KAFKA_TOPIC_TRABAJOS, pace, SUBMIT_MESSAGE_TIMEOUT_MS, delivered, intake, producer, error);
}

int intake_open(struct loop *loop, const struct kafka_config *kafka, struct intake **intake, struct error *error) {
	struct intake *opened = mem_zalloc(sizeof *opened);
	const struct submit_ports ports = {
		.produce = produce, .ledger_up = ledger_up, .lookup = lookup, .insert = insert, .tap = tap, .arg = opened};
	opened->loop = loop;
	if (open_producer(opened, kafka, KAFKA_AT_ONCE, &opened->at_once, error) ||
		open_producer(opened, kafka, KAFKA_GATHER, &opened->gather, error)) {
		kafka_producer_close(opened->at_once, 0);
		free(opened);
		return -1;
	}
	opened->submit = submit_new(loop, &ports);
	*intake = opened;
	return 0;
}

void intake_ledger(struct intake *intake, const struct db_config *db) {
	for (size_t i = 0; i < SUBMIT_LANES; i++) intake->inserts[i] = db_session_open(intake->loop, db);
	intake->lookups = db_session_open(intake->loop, db);
	intake->tap = ledger_tap_open(intake->loop, db);
}

// What is acknowledged during the flush is left to the workers; whoever waits for an answer has gone by now.
void intake_close(struct intake *intake, int64_t flush_ms) {
	if (!intake) return;
	submit_stop(intake->submit);
	kafka_producer_close(intake->at_once, flush_ms);
	kafka_producer_close(intake->gather, flush_ms);
	for (size_t i = 0; i < SUBMIT_LANES; i++) db_session_close(intake->inserts[i]);
	db_session_close(intake->lookups);
	ledger_tap_close(intake->tap);
	submit_free(intake->submit);
	free(intake);
}

void intake_tap(const struct intake *intake) {
	if (intake->tap) ledger_tap(intake->tap);
}

struct submit *intake_submit(const struct intake *intake) {
	return intake->submit;
}

const char *intake_kafka_trouble(const struct intake *intake) {
	const char *trouble = kafka_producer_trouble(intake->at_once);
	return trouble ? trouble : kafka_producer_trouble(intake->gather);
}

bool intake_kafka_ready(const struct intake *intake) {
	return !intake_kafka_trouble(intake);
}

bool intake_ledger_ready(const struct intake *intake) {
	for (size_t i = 0; i < SUBMIT_LANES; i++)
		if (intake->inserts[i] && db_session_ready(intake->inserts[i])) return true;
	return false;
}
