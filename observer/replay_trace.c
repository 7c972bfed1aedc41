#include "lib/mem.h"
#include "observer/replay.h"

static int earlier_first(const void *a, const void *b) {
	const struct replay_job *left = a, *right = b;
	if (left->arrival_ms != right->arrival_ms) return left->arrival_ms < right->arrival_ms ? -1 : 1;
	if (left->user != right->user) return left->user < right->user ? -1 : 1;
	return (left->run_ms > right->run_ms) - (left->run_ms < right->run_ms);
}

void replay_trace_add(struct replay_trace *trace, const struct replay_job *job) {
	if (trace->count == 0 || (trace->count >= 64 && (trace->count & (trace->count - 1)) == 0))
		trace->jobs = mem_resize(trace->jobs, trace->count ? trace->count * 2 : 64, sizeof *trace->jobs);
	trace->jobs[trace->count++] = *job;
	if (job->user >= trace->users) trace->users = job->user + 1;
}

void replay_trace_finish(struct replay_trace *trace) {
	if (trace->count == 0) return;
	qsort(trace->jobs, trace->count, sizeof *trace->jobs, earlier_first);
	int64_t last_ms = trace->jobs[trace->count - 1].arrival_ms;
	if (trace->span_ms < last_ms) trace->span_ms = last_ms;
}

void replay_trace_clear(struct replay_trace *trace) {
	free(trace->jobs);
	*trace = (struct replay_trace){0};
}
