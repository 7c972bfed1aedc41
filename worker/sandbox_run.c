// One job in its box.
//
//   WAITING --copied--> --started--> RUNNING --ended and both pipes at their end--> done, the box leaves by itself
//      |                                |
//      |  refused, failed               |  killed, or the box was lost
//      +--> done                        +--> both processes have ended --> done
//
// "ended" is the word of pid 1 of the box, which says it when it has killed and reaped all else in its namespace. So the job's
// result need not wait for the box's own removal, which the kernel takes its time for. Without that word (killed from outside,
// out of memory) the end of bubblewrap counts, which waits for the namespace's.
#include "lib/mem.h"
#include "worker/sandbox_internal.h"

#include <errno.h>
#include <sys/wait.h>

#define SAMPLE_MS        50
#define FILES_EVERY      2  // samples
#define CPU_EVERY        10 // samples: without a group it is dear, and a second more or less of no matter
#define PREPARE_AHEAD_MS 30 // a job that is over sooner shall not have to share the processor with its successor
#define CHUNK_BYTES      65536
#define CHUNKS_PER_ROUND 8 // of one stream, before others have their turn

struct stream {
	struct sandbox_run *run;
	int number; // 1, 2
	int *fd;    // the box's
	struct loop_fd *watch;
};

struct sandbox_run {
	struct sandbox *sandbox;
	struct sandbox_slot *slot;
	struct sandbox_cell *cell;
	struct sandbox_handlers handlers;
	struct sandbox_limits limits;
	struct sandbox_report report;
	struct stream streams[2];
	struct loop_timer *sample;
	int64_t begun_us, started_us;
	unsigned samples;
	int64_t box_cpu_us; // of the group before the command: the making of the box
	int64_t sampled_cpu_us;
	bool final;               // its last event has come
	int64_t collect_until_ms; // 0: the command has not ended, or nothing is collected
	bool killed;
};

void sandbox_report_clear(struct sandbox_report *report) {
	error_clear(&report->error);
}

// ---- the end

static void count_hits(struct sandbox_run *run) {
	struct sandbox_report *report = &run->report;
	struct limits_hits hits;
	limits_group_hits(run->cell->box.group, &hits);
	report->memory_hit = report->memory_hit || hits.oom_kills > 0;
	report->machine_memory = hits.foreign_kills > 0;
	report->processes_hit = report->processes_hit || hits.refused_forks > 0;
	// What was reaped is less than was seen where the box had to be killed from outside, and where nobody reaped.
	if (report->cpu_us < run->sampled_cpu_us) report->cpu_us = run->sampled_cpu_us;
	if (run->limits.cpu_s > 0 && report->cpu_us >= run->limits.cpu_s * 1000000) report->cpu_hit = true;
	// The group's bound is the job's memory and its disk: who met it had at least so much, and came too quickly for the sampler.
	if (report->memory_hit && report->peak_memory_bytes < run->limits.memory_bytes)
		report->peak_memory_bytes = run->limits.memory_bytes;
}

static void finish(struct sandbox_run *run) {
	count_hits(run);
	for (size_t i = 0; i < COUNT_OF(run->streams); i++) loop_fd_remove(run->streams[i].watch);
	loop_timer_free(run->sample);
	run->slot->run = NULL;
	cell_leave(run->cell);
	sandbox_slot_free(run->slot);
	run->handlers.done(&run->report, run->handlers.arg);
	sandbox_report_clear(&run->report);
	free(run);
}

static bool finish_if_complete(struct sandbox_run *run) {
	// Without a namespace of processes, done has to wait until pid 1 has removed its folder.
	if (run->cell->box.bare && !run->cell->over) return false;
	if (!run->final || *run->streams[0].fd >= 0 || *run->streams[1].fd >= 0) return false;
	finish(run);
	return true;
}

// ---- output

static void close_stream(struct stream *stream) {
	loop_fd_remove(stream->watch);
	stream->watch = NULL;
	if (*stream->fd >= 0) close(*stream->fd);
	*stream->fd = -1;
}

// false: the stream is at its end.
static bool read_stream(struct stream *stream, int chunks) {
	static char data[CHUNK_BYTES];
	while (chunks-- > 0) {
		ssize_t length = read(*stream->fd, data, sizeof(data));
		if (length < 0 && errno == EINTR) continue;
		if (length < 0 && errno == EAGAIN) return true;
		if (length <= 0) return false;
		stream->run->handlers.output(stream->number, data, (size_t)length, stream->run->handlers.arg);
	}
	return true;
}

static void stream_ready(uint32_t events, void *arg) {
	struct stream *stream = arg;
	(void)events;
	if (read_stream(stream, CHUNKS_PER_ROUND)) return;
	close_stream(stream);
	(void)finish_if_complete(stream->run);
}

static void drain(struct sandbox_run *run) {
	for (size_t i = 0; i < COUNT_OF(run->streams); i++) {
		struct stream *stream = &run->streams[i];
		// Bounded: a pipe holds no more, and nobody writes any more.
		if (*stream->fd >= 0) (void)read_stream(stream, 256);
		close_stream(stream);
	}
}

// ---- memory and processes, while it runs

static void measure_group_cpu(struct sandbox_run *run) {
	int64_t used_us = limits_group_cpu_us(run->cell->box.group) - run->box_cpu_us;
	if (run->report.ran && used_us > run->sampled_cpu_us) run->sampled_cpu_us = used_us;
}

// An rlimit stands behind it, for single processes.
static void sample_cpu(struct sandbox_run *run) {
	if (run->limits.cpu_s <= 0) return;
	const struct box *box = &run->cell->box;
	if (limits_cpu(run->sandbox->maker.limits))
		measure_group_cpu(run);
	else if (run->samples % CPU_EVERY == 0)
		run->sampled_cpu_us = limits_tree_cpu_us(box->bare ? box->pid : box->init_pid);
	if (run->sampled_cpu_us < run->limits.cpu_s * 1000000) return;
	run->report.cpu_hit = true;
	sandbox_kill(run);
}

// For those that pid 1 is not asked about (init/files.c). Being at the limit ends nothing: the calls are refused, and the job may
// cope.
static void sample_files(struct sandbox_run *run) {
	const struct box *box = &run->cell->box;
	if (run->report.files_hit || run->limits.open_files <= 0 || run->samples % FILES_EVERY != 0) return;
	run->report.files_hit = limits_group_files(box->group, box->bare ? box->pid : box->init_pid, run->limits.open_files);
}

static void take_sample(void *arg) {
	struct sandbox_run *run = arg;
	if (run->collect_until_ms) {
		// Nothing of the job is alive; only the time of its artifacts is bounded.
		if (loop_now_ms() >= run->collect_until_ms) sandbox_kill(run);
		loop_timer_set(run->sample, SAMPLE_MS);
		return;
	}
	struct sandbox_report *report = &run->report;
	struct limits_usage usage;
	limits_group_read(run->cell->box.group, run->cell->box.init_pid, run->limits.memory_bytes, &usage);
	if (usage.memory_bytes > report->peak_memory_bytes) report->peak_memory_bytes = usage.memory_bytes;
	const struct box_maker *maker = &run->sandbox->maker;
	// Pid 1 of the box is one of the tree that is counted where no group is.
	if (!limits_processes(maker->limits) && usage.tasks > run->limits.processes) report->processes_hit = true;
	if (usage.memory_bytes > run->limits.memory_bytes) report->memory_hit = true;
	// Processes are refused by the group or the rlimit, but where there is neither.
	if (report->memory_hit || (report->processes_hit && maker->uid_counts)) sandbox_kill(run);
	run->samples++;
	sample_cpu(run);
	sample_files(run);
	loop_timer_set(run->sample, SAMPLE_MS);
}

// ---- events

static void set_error(struct sandbox_run *run, enum error_kind kind, const char *what, int number) {
	if (number)
		(void)error_set_errno(&run->report.error, kind, number, "%s", what);
	else
		(void)error_set(&run->report.error, kind, "%s", what);
}

// As a shell would have it: the command's own fault, with a shell's exit codes.
static void refused(struct sandbox_run *run, const struct box_event *event) {
	run->report.ran = true;
	run->report.start_us = loop_now_us() - run->begun_us;
	run->report.exit_code = event->number == ENOENT ? 127 : 126;
	if (event->number == ENOENT)
		(void)error_set(&run->report.error, ERROR_INPUT, "%s: not found on this worker", event->what);
	else
		set_error(run, ERROR_INPUT, event->what, event->number);
}

static void failed(struct sandbox_run *run, const struct box_event *event) {
	set_error(run, event->tree ? ERROR_INPUT : ERROR_UNAVAILABLE, event->what, event->number);
	run->report.disk_hit = event->tree && (event->number == ENOSPC || event->number == EDQUOT);
}

static void ended(struct sandbox_run *run, const struct box_event *event) {
	struct sandbox_report *report = &run->report;
	bool exited = WIFEXITED(event->status);
	measure_group_cpu(run);
	report->exit_code = exited ? WEXITSTATUS(event->status) : -1;
	report->signal = exited ? 0 : WTERMSIG(event->status);
	report->cpu_us = event->cpu_us;
	report->run_us = event->at_us - run->started_us;
	report->disk_hit = event->disk_full;
	report->files_hit = report->files_hit || event->files_full;
	if (event->maxrss_bytes > report->peak_memory_bytes) report->peak_memory_bytes = event->maxrss_bytes;
}

void run_event(struct sandbox_run *run, const struct box_event *event) {
	if (run->final) return;
	switch (event->kind) {
	case BOX_READY:
	case BOX_UNSHARED:
		return;
	case BOX_COPIED:
	case BOX_SHARED:
		run->report.shared = event->kind == BOX_SHARED;
		run->report.workspace_us = event->at_us - run->begun_us;
		return;
	case BOX_STARTED:
		run->report.ran = true;
		run->started_us = event->at_us;
		run->report.start_us = event->at_us - run->begun_us;
		run->box_cpu_us = limits_group_cpu_us(run->cell->box.group);
		return;
	case BOX_REFUSED:
		refused(run, event);
		break;
	case BOX_FAILED:
		failed(run, event);
		break;
	case BOX_ENDED:
		ended(run, event);
		if (!event->collecting) break;
		run->collect_until_ms = loop_now_ms() + run->sandbox->collect_ms;
		if (run->handlers.collecting) run->handlers.collecting(run->handlers.arg);
		return;
	case BOX_COLLECTED:
		run->report.collected = true;
		break;
	}
	run->final = true;
	(void)finish_if_complete(run);
}

// The box ended without a last word: we killed it, or the kernel did.
static void lost(struct sandbox_run *run) {
	struct sandbox_report *report = &run->report;
	const struct box *box = &run->cell->box;
	if (run->collect_until_ms) return; // what is known of the command stands
	if (!report->ran) {
		const char *complaint = box->complaint ? box->complaint
					: run->killed  ? "killed before the command was started"
						       : "no reason given";
		(void)error_set(&report->error, ERROR_UNAVAILABLE, "the box could not be made: %s", complaint);
		return;
	}
	measure_group_cpu(run);
	report->exit_code = -1;
	report->signal = SIGKILL;
	report->run_us = loop_now_us() - run->started_us;
	report->cpu_us = (int64_t)(box->usage.ru_utime.tv_sec + box->usage.ru_stime.tv_sec) * 1000000 +
			 box->usage.ru_utime.tv_usec + box->usage.ru_stime.tv_usec;
	if (box->usage.ru_maxrss * 1024 > report->peak_memory_bytes) report->peak_memory_bytes = box->usage.ru_maxrss * 1024;
}

void run_over(struct sandbox_run *run) {
	drain(run);
	if (!run->final) lost(run);
	finish(run);
}

// ---- for the worker

void sandbox_terminate(struct sandbox_run *run) {
	box_terminate(&run->cell->box);
}

void sandbox_kill(struct sandbox_run *run) {
	run->killed = true;
	cell_kill(run->cell);
}

static void watch_stream(struct sandbox_run *run, int number, int *fd) {
	struct stream *stream = &run->streams[number - 1];
	*stream = (struct stream){.run = run, .number = number, .fd = fd};
	stream->watch = loop_fd_add(run->sandbox->loop, *fd, EPOLLIN, stream_ready, stream);
}

static struct sandbox_cell *take_cell(struct sandbox_slot *slot, int64_t disk_bytes, struct error *error) {
	struct sandbox_cell *spare = slot->spare;
	slot->spare = NULL;
	slot->disk_bytes = disk_bytes;
	loop_timer_stop(slot->prepare);
	if (spare && spare->box.disk_bytes == disk_bytes) return spare;
	if (spare) {
		cell_leave(spare);
		cell_kill(spare);
	}
	return cell_new(slot, error);
}

static int refuse_weak(const struct sandbox *sandbox, struct error *error) {
	if (sandbox->maker.level <= sandbox->weakest) return 0;
	return error_set(error, ERROR_DENIED, "sandbox: isolation is %s, weaker than %s: %s",
		sandbox_level_names[sandbox->maker.level], sandbox_level_names[sandbox->weakest],
		sandbox->missing ? sandbox->missing : "");
}

int sandbox_start(struct sandbox *sandbox, const struct sandbox_job *job, const struct sandbox_handlers *handlers,
	struct sandbox_run **run, struct error *error) {
	int64_t begun_us = loop_now_us();
	if (refuse_weak(sandbox, error) != 0) return -1;
	if (job->slot < 0 || job->slot >= sandbox->slot_count || sandbox->slots[job->slot].run)
		return error_set(error, ERROR_INTERNAL, "sandbox: slot %d is not free", job->slot);
	struct sandbox_slot *slot = &sandbox->slots[job->slot];
	struct sandbox_cell *cell = take_cell(slot, job->limits.disk_bytes, error);
	if (!cell) return -1;
	if (box_send(&sandbox->maker, &cell->box, job, error) != 0) {
		cell_leave(cell);
		cell_kill(cell);
		return -1;
	}
	struct sandbox_run *made = mem_zalloc(sizeof(*made));
	*made = (struct sandbox_run){
		.sandbox = sandbox, .slot = slot, .cell = cell, .handlers = *handlers, .limits = job->limits};
	made->begun_us = begun_us;
	made->report = (struct sandbox_report){.exit_code = -1, .workspace_us = -1, .peak_memory_bytes = -1, .cpu_us = -1};
	made->sample = loop_timer_new(sandbox->loop, take_sample, made);
	loop_timer_set(made->sample, SAMPLE_MS);
	watch_stream(made, 1, &cell->box.out);
	watch_stream(made, 2, &cell->box.err);
	slot->run = cell->run = made;
	loop_timer_set(slot->prepare, PREPARE_AHEAD_MS);
	*run = made;
	return 0;
}
