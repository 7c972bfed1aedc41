#include "worker/reuse_ask.h"

#include "lib/mem.h"
#include "worker/statements.h"

#include <string.h>

#define WAIT_MS 2000

struct question {
	struct worker *worker;
	int slot;
	char key[37];
	int64_t attempt;
	void (*found)(struct job *job, const struct reuse_found *found);
};

static void answered(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	AUTO_FREE struct question *question = arg;
	(void)error;
	struct job *job = question->worker->slots[question->slot];
	if (!job || job_attempt(job) != question->attempt || strcmp(job_key(job), question->key) != 0) return;
	struct reuse_found found = {0};
	if (status == DB_OK && db_rows(result) == 1)
		found = (struct reuse_found){db_get(result, 0, 0), db_get_int(result, 0, 1), db_get_int(result, 0, 2)};
	question->found(job, &found);
}

void reuse_ask(const struct reuse_asker *asker, const struct reuse_facts *facts,
	void (*found)(struct job *job, const struct reuse_found *found)) {
	struct question *question = mem_zalloc(sizeof(*question));
	*question = (struct question){.worker = asker->worker, .slot = asker->slot, .attempt = asker->attempt, .found = found};
	memcpy(question->key, asker->key, sizeof(question->key));
	char print[65];
	reuse_print(facts, print);
	struct db_params *params = db_params_new();
	db_text(params, asker->key);
	db_int(params, asker->attempt);
	db_text(params, asker->owner);
	db_text(params, print);
	db_run(asker->worker->chores, &worker_reuse, params, WAIT_MS, WAIT_MS, answered, question);
}
