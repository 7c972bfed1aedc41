// How many workers there should be: a pure function over a sample and a small memory of the samples before. docs/SCALING.md tells
// it at length; the formulas, with
//
//     T  the deadline, from eligible to claimed (SCALE_DEADLINE_S)
//     D  how long a worker takes to start: measured, else SCALE_START_S
//     B  and b: how many jobs a free slot and a busy one begin within a time (observer/forecast.h)
//
// 1. deadline: the fewest workers W by which, for every measured place k of the queue, whose job is a old,
//        sum of b(h) over busy slots + free slots * B(h) + starting slots * B(h - what is left of their D) + new slots * B(h - D) >= k
//    where h = max(T - margin - a, D + T/4). The margin, for what no forecast knows, are two mean runs, between a tenth and a quarter
//    of T. What can not start in time any more is to start soon after the next worker is there, without asking for one a job.
//    Jobs that wait while half of the slots stay free wait for something that no worker gives, and ask for none.
// 2. floor: with a = arrivals a second * mean run (the offered load, of the last minute or the last five, whichever is less) and
//    b the least for which e^(-b sqrt(a) T / m) / (1 + b Phi(b) / phi(b)) <= 1 % (Halfin and Whitt: who would miss T),
//        (a + b sqrt(a)) / slots
//    whole workers are held between bursts. They are asked for as well where T < 2 D, since then the queue asks too late.
// 3. at least the busy ones, and at least 1 where a record waits in Kafka that the ledger has not yet.
// 4. hysteresis: of those that are there only as many go as nobody needed at any moment of the last I (the fewest slots that were
//    free in that time), and only idle ones. I = SCALE_IDLE_S, or what starting one anew costs: D, and 10 s at least; and after
//    10 s those beyond the jobs that would arrive in I. There is no cool-down: what is needed is asked for at once, and the memory
//    knows what was asked for and is not there yet. Asked for longer than 3 D ago, it is not counted on any more.
// 5. SCALE_STEP_UP bounds how many start at the same time, SCALE_STEP_DOWN how many go at once; then SCALE_MIN and SCALE_MAX.
#pragma once

#include "lib/attr.h"
#include "lib/option.h"
#include "observer/sample.h"

#define RULE_UNKNOWN_RUN_MS   10000
#define RULE_UNKNOWN_START_MS 10000

struct rule_limits {
	int64_t deadline_ms, min, max;
	int64_t step_up, step_down; // most workers that one decision adds, retires; 0: any number
	int64_t idle_ms;            // how long a worker that nobody needs is worth keeping; 0: from the start-up time
	int64_t start_ms;           // start-up time of a worker where none was measured; 0: RULE_UNKNOWN_START_MS
	bool dry;                   // decide and say, but do not act: for the caller, the rule is the same
};

// The options, in units for people; rule_limits_of checks them together.
struct rule_options {
	int64_t deadline_s, min, max, step_up, step_down, idle_s, start_s, dry;
};
extern const char *const rule_no_yes[];
#define RULE_INT(of, place, preset, least, most, says)                                                                         \
	{ .name = of, .type = OPTION_INT, .value = &(place), .fallback = preset, .min = least, .max = most, .help = says }
#define OPTIONS_RULE(options)                                                                                                  \
	RULE_INT("SCALE_DEADLINE_S", (options).deadline_s, "60", 1, 86400, "seconds within which a queued job should start"),  \
		RULE_INT("SCALE_MIN", (options).min, "0", 0, 10000, "fewest workers"),                                         \
		RULE_INT("SCALE_MAX", (options).max, "16", 0, 10000, "most workers"),                                          \
		RULE_INT("SCALE_STEP_UP", (options).step_up, "0", 0, 10000, "most workers added at once; 0: any number"),      \
		RULE_INT(                                                                                                      \
			"SCALE_STEP_DOWN", (options).step_down, "0", 0, 10000, "most workers retired at once; 0: any number"), \
		RULE_INT("SCALE_IDLE_S", (options).idle_s, "0", 0, 86400,                                                      \
			"seconds that a worker may be idle before it is retired; 0: what starting one anew costs"),            \
		RULE_INT("SCALE_START_S", (options).start_s, "10", 1, 3600,                                                    \
			"seconds that a worker takes to start, where that was not measured yet"),                              \
	{                                                                                                                      \
		.name = "SCALE_DRY", .type = OPTION_CHOICE, .value = &(options).dry, .fallback = "no", .choices = rule_no_yes, \
		.help = "yes: decide, say and keep it, but change nothing"                                                     \
	}
// ERROR_INPUT: they contradict each other; the message names the option.
int rule_limits_of(const struct rule_options *options, struct rule_limits *limits, struct error *error) MUST_USE;

// What the rule remembers from one decision to the next. All zero at first; no pointers, copied freely.
#define RULE_SPANS 16
struct rule_state {
	int64_t run_ms; // the last mean that was measured; 0: never
	int64_t run_at_ms[SAMPLE_QUANTILES];
	// Workers asked for that are not seen yet, the oldest first.
	struct rule_asked {
		int64_t at_ms, workers;
	} asked[RULE_SPANS];
	int asked_count;
	int64_t actual; // of the last sample
	// The fewest slots that were free in each of the last spans.
	struct rule_span {
		int64_t since_ms, free_slots;
	} spans[RULE_SPANS];
	int span_count;
};

enum rule_bound {
	RULE_NOTHING,
	RULE_DEADLINE, // the queue
	RULE_FLOOR,    // the arrivals, between bursts
	RULE_BUSY,
	RULE_KAFKA,
	RULE_KEPT, // idle, but not for long enough yet, or more than SCALE_STEP_DOWN
	RULE_STEP, // SCALE_STEP_UP
	RULE_MIN,
	RULE_MAX,
};

struct rule_decision {
	int64_t wanted;        // deseados
	int64_t actual;        // actuales: workers alive that claim
	int64_t starting;      // asked for and not there yet
	int64_t needed;        // before what is kept, the steps, SCALE_MIN and SCALE_MAX
	int64_t floor;         // by the arrivals alone
	int64_t run_ms;        // m
	int64_t start_ms;      // start-up time of a worker, as taken
	int64_t idle_ms;       // how long an idle worker is worth keeping, as taken
	int64_t fewer, breaks; // with so few workers so many of the queued jobs would miss the deadline; breaks 0: not said
	enum rule_bound bound; // what made it this number
	char *reason;          // motivo: one sentence for people; owned
};

void rule_decide(const struct rule_limits *limits, const struct sample *sample, struct rule_state *state,
	struct rule_decision *decision);
// The same without the sentence, which a simulation of a month does not need.
void rule_number(const struct rule_limits *limits, const struct sample *sample, struct rule_state *state,
	struct rule_decision *decision);
const char *rule_bound_name(enum rule_bound bound); // "deadline", "floor", …: for tables and metrics
void rule_decision_clear(struct rule_decision *decision);
