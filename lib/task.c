#include "lib/task.h"

#include "lib/mem.h"

#include <pthread.h>
#include <time.h>

struct task {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t asked;
	bool end;
	void (*run)(struct task *task, void *arg);
	void *arg;
};

static struct timespec in_ms(clockid_t clock, int64_t ms) {
	struct timespec at;
	clock_gettime(clock, &at);
	at.tv_sec += ms / 1000;
	at.tv_nsec += ms % 1000 * 1000000;
	if (at.tv_nsec >= 1000000000) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000;
	}
	return at;
}

static void *thread_main(void *arg) {
	struct task *task = arg;
	task->run(task, task->arg);
	return NULL;
}

struct task *task_start(const char *name, void (*run)(struct task *task, void *arg), void *arg) {
	struct task *task = mem_zalloc(sizeof *task);
	task->run = run;
	task->arg = arg;
	pthread_mutex_init(&task->lock, NULL);
	pthread_condattr_t attributes;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&task->asked, &attributes);
	pthread_condattr_destroy(&attributes);
	// Without its threads a daemon is nothing; like memory that is not there.
	if (pthread_create(&task->thread, NULL, thread_main, task) != 0) mem_die("a thread cannot be started");
	pthread_setname_np(task->thread, name);
	return task;
}

bool task_pause(struct task *task, int64_t ms) {
	struct timespec until = in_ms(CLOCK_MONOTONIC, ms);
	pthread_mutex_lock(&task->lock);
	while (!task->end)
		if (pthread_cond_timedwait(&task->asked, &task->lock, &until) != 0) break;
	bool end = task->end;
	pthread_mutex_unlock(&task->lock);
	return !end;
}

bool task_ending(struct task *task) {
	pthread_mutex_lock(&task->lock);
	bool end = task->end;
	pthread_mutex_unlock(&task->lock);
	return end;
}

void task_ask(struct task *task) {
	if (!task) return;
	pthread_mutex_lock(&task->lock);
	task->end = true;
	pthread_cond_signal(&task->asked);
	pthread_mutex_unlock(&task->lock);
}

int task_end(struct task *task, int64_t ms) {
	if (!task) return 0;
	task_ask(task);
	struct timespec until = in_ms(CLOCK_REALTIME, ms);
	if (pthread_timedjoin_np(task->thread, NULL, &until) != 0) return -1;
	pthread_cond_destroy(&task->asked);
	pthread_mutex_destroy(&task->lock);
	free(task);
	return 0;
}
