// trabajos observer replay|score: what the observer's rule would have done, and how right its advice was.
#include "cli/cli.h"
#include "lib/lifecycle.h"
#include "lib/mem.h"
#include "observer/replay_csv.h"
#include "observer/replay_ledger.h"
#include "observer/replay_model.h"
#include "observer/replay_report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>

#define MOST_POLICIES 64
#define HOUR_MS       3600000.0

enum format { FORMAT_TEXT, FORMAT_CSV, FORMAT_SVG, FORMAT_TRACE };
static const char *const formats[] = {"text", "csv", "svg", "trace", NULL};

static struct db_config db = {.application = "trabajos observer"};
static struct rule_options rule;
static char *file_name, *model_name, *keda_list, *fixed_list;
static int64_t hours, slots, partitions, seed, format;

#define OPTION_HOURS RULE_INT("REPLAY_HOURS", hours, "24", 1, 8760, "hours of the ledger, up to now")

static const struct option replay_options[] = {
	{.name = "REPLAY_FILE",
		.type = OPTION_STRING,
		.value = &file_name,
		.fallback = "",
		.help = "a CSV of arrival_s,duration_s[,user]; -: standard input; neither file nor model: the ledger"},
	{.name = "REPLAY_MODEL",
		.type = OPTION_STRING,
		.value = &model_name,
		.fallback = "",
		.help = "a period that is made up: steady, wave, flash, batch, noisy or builds"},
	OPTION_HOURS,
	{.name = "REPLAY_KEDA",
		.type = OPTION_STRING,
		.value = &keda_list,
		.fallback = "1,2,5,10",
		.help = "lagThreshold of each KEDA to compare with, by commas; none: not compared"},
	{.name = "REPLAY_FIXED",
		.type = OPTION_STRING,
		.value = &fixed_list,
		.fallback = "none",
		.help = "fixed numbers of workers to compare with, by commas"},
	RULE_INT("REPLAY_SLOTS", slots, "1", 1, 180, "slots of a worker"),
	RULE_INT("REPLAY_PARTITIONS", partitions, "0", 0, 10000, "KEDA's bound, the topic's partitions; 0: as SCALE_MAX"),
	RULE_INT("REPLAY_SEED", seed, "1", 0, INT32_MAX, "of what is left to chance"),
	{.name = "REPLAY_FORMAT",
		.type = OPTION_CHOICE,
		.value = &format,
		.fallback = "text",
		.choices = formats,
		.help = "text, csv, svg (a plot), or trace: only the period's jobs, as a CSV"},
	OPTIONS_RULE(rule),
	OPTIONS_DB(db),
	OPTIONS_LOG,
};

static const struct option score_options[] = {
	OPTION_HOURS,
	OPTIONS_RULE(rule),
	OPTIONS_DB(db),
	OPTIONS_LOG,
};

// ---- what is played, against what

static int make_model(struct replay_trace *trace, struct error *error) {
	for (int64_t model = 0; replay_model_names[model]; model++) {
		if (strcmp(model_name, replay_model_names[model]) != 0) continue;
		replay_model_make(model, (uint64_t)seed, trace);
		return 0;
	}
	return error_set(error, ERROR_INPUT,
		"REPLAY_MODEL: no model '%.40s', only steady, wave, flash, batch, noisy and builds", model_name);
}

static int read_file(struct replay_trace *trace, struct error *error) {
	if (!strcmp(file_name, "-")) return replay_csv_read(stdin, "standard input", trace, error);
	AUTO_FCLOSE FILE *file = fopen(file_name, "re");
	if (!file) return error_set_errno(error, ERROR_INPUT, errno, "REPLAY_FILE: %s", file_name);
	return replay_csv_read(file, file_name, trace, error);
}

static int get_trace(struct replay_trace *trace, struct error *error) {
	struct replay_ledger ledger;
	if (*file_name && *model_name) return error_set(error, ERROR_INPUT, "REPLAY_MODEL: not together with REPLAY_FILE");
	if (*file_name) return read_file(trace, error);
	if (*model_name) return make_model(trace, error);
	return replay_ledger_read(&db, hours, rule.deadline_s * 1000, trace, &ledger, error);
}

struct contest {
	struct replay_policy policies[MOST_POLICIES];
	struct replay_outcome *outcomes;
	size_t count;
};

static int add_list(struct contest *contest, enum replay_kind kind, const char *name, const char *list, struct error *error) {
	for (const char *rest = list; *rest && strcmp(list, "none") != 0;) {
		char *end;
		errno = 0;
		long long number = strtoll(rest, &end, 10);
		if (end == rest || (*end && *end != ',') || errno || number < 1 || number > 1000000)
			return error_set(
				error, ERROR_INPUT, "%s: numbers from 1 on by commas, or none, not '%.60s'", name, list);
		if (contest->count == MOST_POLICIES) return error_set(error, ERROR_INPUT, "%s: too many numbers", name);
		contest->policies[contest->count++] = (struct replay_policy){.kind = kind, .number = number};
		rest = *end ? end + 1 : end;
	}
	return 0;
}

static int get_contest(struct contest *contest, struct error *error) {
	contest->policies[contest->count++] = (struct replay_policy){.kind = REPLAY_RULE};
	if (add_list(contest, REPLAY_KEDA, "REPLAY_KEDA", keda_list, error) != 0) return -1;
	return add_list(contest, REPLAY_FIXED, "REPLAY_FIXED", fixed_list, error);
}

static int get_config(struct replay_config *config, struct error *error) {
	if (rule_limits_of(&rule, &config->limits, error) != 0) return -1;
	if (config->limits.max < 1) return error_set(error, ERROR_INPUT, "SCALE_MAX: without a worker no job ever starts");
	config->slots = slots > 0 ? slots : 1;
	config->partitions = partitions > 0 ? partitions : config->limits.max;
	config->seed = (uint64_t)seed;
	return 0;
}

// ---- replay

static void report(const struct replay_trace *trace, const struct replay_config *config, const struct contest *contest) {
	if (format == FORMAT_TEXT) replay_report_text(trace, config, contest->outcomes, contest->count, stdout);
	if (format == FORMAT_CSV) replay_report_csv(contest->outcomes, contest->count, stdout);
	if (format == FORMAT_SVG) replay_report_svg(trace, contest->outcomes, contest->count, stdout);
}

static int replay(bool check, struct error *error) {
	struct contest contest = {0};
	struct replay_config config = {0};
	struct replay_trace trace = {0};
	if (get_config(&config, error) != 0 || get_contest(&contest, error) != 0) return -1;
	if (check) return 0;
	int result = get_trace(&trace, error);
	if (result == 0 && format == FORMAT_TRACE) {
		replay_csv_write(&trace, stdout);
	} else if (result == 0) {
		contest.outcomes = mem_zalloc_array(contest.count, sizeof *contest.outcomes);
		for (size_t i = 0; i < contest.count; i++)
			replay_run(&trace, &config, &contest.policies[i], &contest.outcomes[i]);
		report(&trace, &config, &contest);
		free(contest.outcomes);
	}
	replay_trace_clear(&trace);
	return result;
}

// ---- score

struct plural {
	char text[48];
};

static struct plural workers(int64_t count) {
	struct plural plural;
	snprintf(plural.text, sizeof plural.text, "%" PRId64 " worker%s", count, count == 1 ? "" : "s");
	return plural;
}

static struct replay_outcome play_fixed(const struct replay_trace *trace, const struct replay_config *config, int64_t number) {
	struct replay_outcome outcome;
	replay_run(trace, config, &(struct replay_policy){.kind = REPLAY_FIXED, .number = number}, &outcome);
	return outcome;
}

// The fewest fixed workers by which 95 % are claimed in time; SCALE_MAX where none of them is enough.
static struct replay_outcome fewest_in_time(const struct replay_trace *trace, const struct replay_config *config) {
	int64_t few = 0, enough = config->limits.max;
	struct replay_outcome best = play_fixed(trace, config, enough);
	while (enough - few > 1) {
		int64_t middle = few + (enough - few) / 2;
		struct replay_outcome outcome = play_fixed(trace, config, middle);
		if (outcome.p95_ms <= config->limits.deadline_ms) {
			enough = middle;
			best = outcome;
		} else {
			few = middle;
		}
	}
	return best;
}

static double seconds(int64_t ms) {
	return (double)ms / 1000;
}

static char *range(int64_t least, int64_t most) {
	if (least == most) return mem_strdup(workers(least).text);
	return mem_format("%" PRId64 " to %s", least, workers(most).text);
}

static void say_observed(const struct replay_config *config, const struct replay_ledger *ledger) {
	printf("The last %" PRId64 " h: %zu runs by up to %s of %" PRId64
	       " slot%s; wait P50 %.1f s, P95 %.1f s, %.1f %% within %.0f s.\n",
		hours, ledger->runs, workers(ledger->workers).text, ledger->slots, ledger->slots == 1 ? "" : "s",
		seconds(ledger->p50_ms), seconds(ledger->p95_ms), 100.0 * (double)ledger->in_time / (double)ledger->runs,
		seconds(config->limits.deadline_ms));
	if (ledger->decisions == 0) {
		puts("No advice was kept in that time.");
		return;
	}
	AUTO_FREE char *advised = range(ledger->least, ledger->most), *there = range(ledger->there_least, ledger->there_most);
	printf("Advised: %s, in %" PRId64 " decision%s; there were %s.\n", advised, ledger->decisions,
		ledger->decisions == 1 ? "" : "s", there);
}

static void say_verdicts(const struct replay_ledger *ledger) {
	if (ledger->decisions == 0) return;
	if (ledger->judged == 0) {
		puts("None of them is scored yet: the leading observer does so once the deadline has passed.");
		return;
	}
	printf("With hindsight, of %" PRId64 " scored: %" PRId64 " right, %" PRId64 " too few, %" PRId64
	       " too many; of %" PRId64 " claimed jobs %" PRId64
	       " went over the deadline meanwhile; %.2f worker hours were there, %.2f would have done.\n",
		ledger->judged, ledger->right, ledger->more, ledger->fewer, ledger->claimed, ledger->late,
		(double)ledger->worker_ms / HOUR_MS, (double)ledger->needed_ms / HOUR_MS);
	for (size_t i = 0; i < ledger->worst_count; i++) {
		const struct replay_worst *worst = &ledger->worst[i];
		printf("  %s UTC: %s wanted, %" PRId64 " there, %" PRId64 " needed; %" PRId64 " job%s went over the deadline\n",
			worst->at, workers(worst->wanted).text, worst->actual, worst->needed, worst->late,
			worst->late == 1 ? "" : "s");
	}
}

static void say_fixed(const struct replay_outcome *there, const struct replay_outcome *fewest, int64_t deadline_ms) {
	printf("Simulated: %s all the time have a P95 wait of %.1f s, with %.1f worker hours.\n",
		workers(there->policy.number).text, seconds(there->p95_ms), (double)there->worker_ms / HOUR_MS);
	if (fewest->policy.number > there->policy.number) {
		printf("%" PRId64 " → %s would have cut the P95 wait from %.1f s to %.1f s, with %.1f worker hours.\n",
			there->policy.number, workers(fewest->policy.number).text, seconds(there->p95_ms),
			seconds(fewest->p95_ms), (double)fewest->worker_ms / HOUR_MS);
	} else if (fewest->policy.number < there->policy.number) {
		printf("%" PRId64 " → %s would have kept 95 %% within %.0f s as well: P95 %.1f s, with %.1f worker hours.\n",
			there->policy.number, workers(fewest->policy.number).text, seconds(deadline_ms),
			seconds(fewest->p95_ms), (double)fewest->worker_ms / HOUR_MS);
	} else {
		printf("Fewer would not have kept 95 %% within %.0f s%s.\n", seconds(deadline_ms),
			fewest->p95_ms > deadline_ms ? ", nor do these" : "");
	}
}

static void say_foretold(const char *of, const struct replay_foretold *foretold) {
	if (foretold->scored == 0) return;
	bool early = foretold->bias_ms < 0;
	printf("Foretold %s: %" PRId64 " starts, %.0f %% within their range (80 %% are meant); in the median %.1f s %s.\n", of,
		foretold->scored, 100.0 * (double)foretold->inside / (double)foretold->scored,
		seconds(early ? -foretold->bias_ms : foretold->bias_ms),
		early ? "earlier than its middle" : "later than its middle");
}

static void say_score(
	const struct replay_trace *trace, const struct replay_config *config, const struct replay_ledger *ledger) {
	struct replay_outcome there = play_fixed(trace, config, ledger->workers > 0 ? ledger->workers : 1);
	struct replay_outcome fewest = fewest_in_time(trace, config), ruled;
	replay_run(trace, config, &(struct replay_policy){.kind = REPLAY_RULE}, &ruled);
	say_observed(config, ledger);
	say_verdicts(ledger);
	say_foretold("to a sample of the last day's jobs", &ledger->sampled);
	say_foretold("to clients in the last day, first", &ledger->told);
	say_fixed(&there, &fewest, config->limits.deadline_ms);
	printf("The rule, with up to %s, has a P95 wait of %.1f s and %.1f %% in time, with %.1f worker hours.\n",
		workers(ruled.most_workers).text, seconds(ruled.p95_ms), 100.0 * (double)ruled.in_time / (double)ruled.jobs,
		(double)ruled.worker_ms / HOUR_MS);
}

static int score(bool check, struct error *error) {
	struct replay_config config = {0};
	struct replay_trace trace = {0};
	struct replay_ledger ledger;
	if (get_config(&config, error) != 0) return -1;
	if (check) return 0;
	int result = replay_ledger_read(&db, hours, config.limits.deadline_ms, &trace, &ledger, error);
	if (result == 0) {
		config.slots = ledger.slots;
		if (config.limits.max < ledger.workers) config.limits.max = ledger.workers;
		say_score(&trace, &config, &ledger);
	}
	replay_trace_clear(&trace);
	return result;
}

// ---- verbs

static int finish(int result, const struct error *error) {
	if (result) fprintf(stderr, "%s: %s\n", program_invocation_short_name, error_text(error));
	option_clear(replay_options, COUNT_OF(replay_options));
	if (result) return lifecycle_exit_code(error->kind);
	return fflush(stdout) ? EXIT_FAILED : EXIT_FINE;
}

static int run_replay(int argc, char **argv) {
	bool check = lifecycle_start("replay",
		"Plays a period of jobs against the observer's rule, KEDA's Kafka lag with the HPA, and fixed numbers of workers.",
		replay_options, COUNT_OF(replay_options), argc, argv);
	AUTO_ERROR struct error error = {0};
	return finish(replay(check, &error), &error);
}

static int run_score(int argc, char **argv) {
	bool check = lifecycle_start("score",
		"Says what other numbers of workers would have done to the waits of the last hours, from the ledger.",
		score_options, COUNT_OF(score_options), argc, argv);
	AUTO_ERROR struct error error = {0};
	return finish(score(check, &error), &error);
}

const struct cli_verb cli_observer_replay = {.name = "observer replay",
	.operands = "",
	.help = "play a period of jobs against the scale rule, KEDA and fixed numbers of workers",
	.start = run_replay,
	.settings = replay_options,
	.setting_count = COUNT_OF(replay_options)};

const struct cli_verb cli_observer_score = {.name = "observer score",
	.operands = "",
	.help = "say how right the number of workers of the last day was",
	.start = run_score,
	.settings = score_options,
	.setting_count = COUNT_OF(score_options)};
