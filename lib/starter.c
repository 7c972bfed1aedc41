#include "lib/starter.h"

#include "lib/lifecycle.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/task.h"

#include <pthread.h>
#include <string.h>

#define BACKOFF_FIRST_MS 250
#define BACKOFF_CAP_MS   10000

struct starter {
	struct starter_step step;
	struct loop_wakeup *wakeup;
	struct task *task;
	bool done; // of the loop's thread

	pthread_mutex_t lock; // of what follows
	bool tried;
	struct error error; // of the last try
};

bool starter_hopeless(const struct error *error) {
	return error->kind == ERROR_INPUT || error->kind == ERROR_USAGE;
}

// A reason to try again is told once, not for each try.
static void note(struct starter *starter, struct error *error) {
	pthread_mutex_lock(&starter->lock);
	bool retry = error->kind != ERROR_NONE && !starter_hopeless(error);
	if (retry && (!starter->tried || strcmp(error_text(&starter->error), error_text(error)) != 0))
		log_warn(log_m("not ready yet, tried again until it is"), log_s("step", starter->step.name), log_e(error));
	error_clear(&starter->error);
	starter->error = *error;
	*error = (struct error){0};
	starter->tried = true;
	pthread_mutex_unlock(&starter->lock);
}

// Whether it is over, by success or for good.
static bool try(struct starter *starter) {
	AUTO_ERROR struct error error = {0};
	bool succeeded = starter->step.run(starter->step.arg, &error) == 0;
	if (succeeded) error_clear(&error);
	bool over = succeeded || starter_hopeless(&error);
	note(starter, &error);
	return over;
}

static void run(struct task *task, void *arg) {
	struct starter *starter = arg;
	for (unsigned failures = 0; !try(starter); failures++)
		if (!task_pause(task, lifecycle_backoff_ms(failures, BACKOFF_FIRST_MS, BACKOFF_CAP_MS))) return;
	loop_wakeup_fire(starter->wakeup);
}

static void over(void *arg) {
	struct starter *starter = arg;
	pthread_mutex_lock(&starter->lock);
	starter->done = starter->error.kind == ERROR_NONE;
	pthread_mutex_unlock(&starter->lock);
	if (starter->done)
		starter->step.done(starter->step.arg);
	else
		starter->step.failed(&starter->error, starter->step.arg);
}

bool starter_done(struct starter *starter, char **why) {
	if (starter->done) return true;
	pthread_mutex_lock(&starter->lock);
	bool failed = starter->error.kind != ERROR_NONE;
	if (why) *why = mem_strdup(failed ? error_text(&starter->error) : "not asked yet");
	pthread_mutex_unlock(&starter->lock);
	return false;
}

void starter_ask(struct starter *starter) {
	if (starter) task_ask(starter->task);
}

int starter_stop(struct starter *starter, int64_t wait_ms) {
	if (!starter) return 0;
	if (task_end(starter->task, wait_ms) != 0) return -1;
	loop_wakeup_free(starter->wakeup);
	pthread_mutex_destroy(&starter->lock);
	error_clear(&starter->error);
	free(starter);
	return 0;
}

struct starter *starter_run(struct loop *loop, const struct starter_step *step) {
	struct starter *starter = mem_zalloc(sizeof *starter);
	starter->step = *step;
	starter->wakeup = loop_wakeup_new(loop, over, starter);
	pthread_mutex_init(&starter->lock, NULL);
	starter->task = task_start("starter", run, starter);
	return starter;
}
