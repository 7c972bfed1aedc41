// One submission's way from a checked request to an answer: Kafka first, then the ledger. Knows no service: they are ports.
#pragma once

#include "frontend/batch.h"
#include "lib/kafka.h"
#include "lib/ledger.h"
#include "lib/loop.h"
#include "lib/trabajo.h"

#include <stdbool.h>

#define SUBMIT_MESSAGE_TIMEOUT_MS 5000 // Kafka's part of a request's deadline
#define SUBMIT_CROWD              4    // submissions under way from which on they are gathered
#define SUBMIT_LANES              2    // inserts into the ledger at a time

enum submit_outcome {
	SUBMIT_ACCEPTED,  // acknowledged by Kafka, in the ledger
	SUBMIT_PENDING,   // acknowledged by Kafka; the workers bring it into the ledger
	SUBMIT_REPEATED,  // the same Idempotency-Key and body were accepted before
	SUBMIT_DIFFERS,   // the same Idempotency-Key with another body
	SUBMIT_REFUSED,   // certainly not accepted: Kafka did not take it
	SUBMIT_TOO_LATE,  // certainly not accepted: too little of the request's time was left for Kafka
	SUBMIT_UNCERTAIN, // Kafka may have it
};

struct submit;
struct submission;

typedef void submit_done(enum submit_outcome outcome, const char *key, void *arg);
// fingerprint NULL: the ledger has no such key, or could not say.
typedef void submit_found(const char *fingerprint, struct submission *submission);

struct submit_ports {
	// Copies. 0: submit_delivered is called once, later. -1: certainly not sent.
	int (*produce)(const struct trabajo *trabajo, const char *spec_text, struct submission *submission, void *arg);
	bool (*ledger_up)(void *arg); // whether it is worth asking the ledger; if not, the next two are not called
	void (*lookup)(const char *key, submit_found *found, struct submission *submission, void *arg); // found: once, later
	// As batch_port's.
	void (*insert)(struct ledger_batch *rows, size_t from, size_t count, batch_inserted *inserted, struct batch_lane *lane,
		void *arg);
	void (*tap)(void *arg); // something is queued in the ledger
	void *arg;
};

struct submit *submit_new(struct loop *loop, const struct submit_ports *ports) MUST_USE;
void submit_free(struct submit *submit); // when none is under way; NULL is fine
size_t submit_under_way(const struct submit *submit);
void submit_stop(struct submit *submit); // nothing more goes to Kafka or the ledger of what is under way

// Takes over what trabajo holds (key, owner, usuario, url and spec are set). idempotent: the key was made from an
// Idempotency-Key. left_ms: of the request's deadline; done is called before, once, not from inside. NULL: SUBMIT_TOO_LATE at once.
struct submission *submit_job(struct submit *submit, struct trabajo *trabajo, bool idempotent, int64_t left_ms,
	submit_done *done, void *arg) MUST_USE;
// Nobody waits for the answer any more; the submission goes its way.
void submit_forget(struct submission *submission);
void submit_delivered(struct submission *submission, enum kafka_delivery delivery, int64_t timestamp_ms);
