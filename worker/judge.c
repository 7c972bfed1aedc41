#include "worker/judge.h"

#include <string.h>

#define BACKOFF_FIRST_MS 1000
#define BACKOFF_MOST_MS  60000

// What a shell exits with where it did not find a command (which one, it has printed), and above what where a signal ended one.
#define EXIT_NOT_FOUND 127
#define EXIT_SIGNALLED 128

static void judge_stop(const struct judge_facts *facts, struct outcome *outcome) {
	switch (facts->stop) {
	case JOB_STOP_TIMEOUT:
		outcome_set(outcome, OUTCOME_TIMEOUT, BLAME_LIMIT, "%s ran longer than its %lld s", facts->command,
			(long long)facts->timeout_s);
		break;
	case JOB_STOP_CANCEL:
		outcome_set(outcome, OUTCOME_CANCELLED, BLAME_USER, "cancelled while it ran");
		break;
	case JOB_STOP_OUTPUT:
		outcome_set(outcome, OUTCOME_OUTPUT, BLAME_LIMIT, "%s printed more than %lld KiB", facts->command,
			(long long)(facts->output_bytes / 1024));
		break;
	case JOB_STOP_NONE:
	case JOB_STOP_LOST:
	case JOB_STOP_GIVE_BACK:
		outcome_set(outcome, OUTCOME_LOST, BLAME_PLATFORM, "given up by its worker");
		break;
	}
}

// A shell says so of a process of its own.
static bool file_too_large(const struct sandbox_report *report) {
	return report->signal == SIGXFSZ || report->exit_code == EXIT_SIGNALLED + SIGXFSZ;
}

static void judge_limit(const struct judge_facts *facts, struct outcome *outcome) {
	const struct sandbox_report *report = facts->report;
	if (report->cpu_hit)
		outcome_set(outcome, OUTCOME_TIMEOUT, BLAME_LIMIT, "%s needed more than its %lld s of processor time",
			facts->command, (long long)facts->cpu_s);
	else if (report->memory_hit)
		outcome_set(outcome, OUTCOME_MEMORY, BLAME_LIMIT, "%s needed more than its %lld MiB of memory", facts->command,
			(long long)(facts->memory_bytes >> 20));
	else if (file_too_large(report))
		outcome_set(outcome, OUTCOME_DISK, BLAME_LIMIT, "%s wrote a file larger than its %lld MiB of disk",
			facts->command, (long long)(facts->disk_bytes >> 20));
	else if (report->disk_hit)
		outcome_set(outcome, OUTCOME_DISK, BLAME_LIMIT, "%s filled its %lld MiB of disk", facts->command,
			(long long)(facts->disk_bytes >> 20));
	else if (report->processes_hit)
		outcome_set(outcome, OUTCOME_PROCESSES, BLAME_LIMIT, "%s needed more than its %lld processes", facts->command,
			(long long)facts->processes);
	else
		outcome_set(outcome, OUTCOME_FILES, BLAME_LIMIT, "a process of %s had all of its %lld files open",
			facts->command, (long long)facts->open_files);
}

static void judge_not_started(const struct judge_facts *facts, struct outcome *outcome) {
	const struct error *error = &facts->report->error;
	if (facts->report->disk_hit)
		outcome_set(outcome, OUTCOME_DISK, BLAME_LIMIT, "the repository is larger than the %lld MiB of disk of a job",
			(long long)(facts->disk_bytes >> 20));
	else if (error->kind == ERROR_INPUT)
		outcome_set(outcome, OUTCOME_SANDBOX, BLAME_USER, "the repository cannot be put into the sandbox: %s",
			error_text(error));
	else
		outcome_set(outcome, OUTCOME_SANDBOX, BLAME_PLATFORM, "the sandbox could not start: %s", error_text(error));
}

static void judge_exit(const struct judge_facts *facts, struct outcome *outcome) {
	const struct error *error = &facts->report->error; // set where the command could not be executed: exit 126 or 127
	const char *why = facts->report->exit_code == EXIT_NOT_FOUND
				  ? "a shell says so of a command that it did not find, see the log"
				  : "";
	if (error->kind != ERROR_NONE) why = error_text(error);
	outcome_set(outcome, OUTCOME_EXIT, BLAME_USER, "%s exited with %d%s%s", facts->command, facts->report->exit_code,
		*why ? ": " : "", why);
}

void judge(const struct judge_facts *facts, struct outcome *outcome) {
	const struct sandbox_report *report = facts->report;
	bool well = report->ran && report->signal == 0 && report->exit_code == 0;
	if (facts->stop != JOB_STOP_NONE) {
		judge_stop(facts, outcome);
	} else if (!report->ran) {
		judge_not_started(facts, outcome);
	} else if (well) {
		outcome_set(outcome, OUTCOME_OK, BLAME_NONE, "%s exited with 0", facts->command);
	} else if (report->machine_memory && !report->memory_hit && !report->cpu_hit) {
		outcome_set(outcome, OUTCOME_LOST, BLAME_PLATFORM,
			"the worker's machine ran out of memory and ended a process of %s, which was within its own",
			facts->command);
	} else if (report->cpu_hit || report->memory_hit || report->disk_hit || report->processes_hit || report->files_hit ||
		   file_too_large(report)) {
		judge_limit(facts, outcome);
	} else if (report->signal != 0) {
		const char *name = sigabbrev_np(report->signal);
		outcome_set(outcome, OUTCOME_SIGNAL, BLAME_USER, "%s was ended by signal %d (SIG%s)", facts->command,
			report->signal, name ? name : "?");
	} else {
		judge_exit(facts, outcome);
	}
	if (!report->ran) return;
	outcome->exit_code = report->signal == 0 ? report->exit_code : -1;
	outcome->signal = report->signal;
}

static int64_t backoff(int64_t failures, uint32_t random) {
	int64_t cap = failures < 6 ? BACKOFF_FIRST_MS << failures : BACKOFF_MOST_MS;
	if (cap > BACKOFF_MOST_MS) cap = BACKOFF_MOST_MS;
	return (int64_t)((uint64_t)random * (uint64_t)cap >> 32);
}

static bool worth_another_try(enum outcome_code code) {
	switch (code) {
	case OUTCOME_OK:
	case OUTCOME_NO_PLAN:
	case OUTCOME_NOT_FOUND:
	case OUTCOME_DENIED:
	case OUTCOME_CANCELLED:
		return false;
	default:
		return true;
	}
}

void retry_decide(const struct retry_facts *facts, struct retry_decision *decision) {
	*decision =
		(struct retry_decision){.platform_failures = facts->platform_failures, .user_failures = facts->user_failures};
	if (!worth_another_try(facts->outcome->code)) return;
	if (facts->outcome->blame == BLAME_PLATFORM) {
		decision->platform_failures++;
		decision->again = decision->platform_failures < facts->max_attempts;
		decision->dead = !decision->again;
		decision->delay_ms = backoff(facts->platform_failures, facts->random);
	} else {
		decision->user_failures++;
		decision->again = decision->user_failures <= facts->retries;
		decision->dead = !decision->again && facts->retries > 0;
		decision->delay_ms = backoff(facts->user_failures, facts->random);
	}
	if (!decision->again) decision->delay_ms = 0;
}
