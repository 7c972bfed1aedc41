#include "observer/replay_csv.h"

#include "lib/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <search.h>

#define MOST_ARRIVAL_S 1e11 // beyond any epoch's seconds
#define MOST_RUN_S     (30 * 86400.0)

struct reader {
	const char *name;
	struct replay_trace *trace;
	size_t line;
	void *users; // a tree of struct user
	int32_t user_count;
};

struct user {
	int32_t number;
	char name[];
};

static int by_name(const void *a, const void *b) {
	const struct user *left = a, *right = b;
	return strcmp(left->name, right->name);
}

static int32_t number_of(struct reader *reader, const char *name) {
	struct user *user = mem_zalloc(sizeof *user + strlen(name) + 1);
	memcpy(user->name, name, strlen(name) + 1);
	struct user **found = tsearch(user, &reader->users, by_name);
	if (!found) mem_die("tsearch");
	if (*found != user) {
		free(user);
		return (*found)->number;
	}
	user->number = reader->user_count++;
	return user->number;
}

static int bad(const struct reader *reader, struct error *error, const char *what, const char *text) {
	return error_set(error, ERROR_INPUT, "%s:%zu: %s: '%.60s' (a line is arrival_s,duration_s[,user])", reader->name,
		reader->line, what, text);
}

// The number up to the next comma or the end; *text behind it.
static bool take_seconds(char **text, double most, double *seconds) {
	char *end;
	errno = 0;
	*seconds = strtod(*text, &end);
	bool fine = end != *text && !errno && isfinite(*seconds) && *seconds >= 0 && *seconds <= most;
	end += strspn(end, " ");
	if (!fine || (*end && *end != ',')) return false;
	*text = *end ? end + 1 : end;
	return true;
}

static int read_line(struct reader *reader, char *line, struct error *error) {
	double arrival_s, run_s;
	char *rest = line;
	line[strcspn(line, "\r\n")] = '\0';
	rest += strspn(rest, " \t");
	if (!*rest || (reader->line == 1 && !strncmp(rest, "arrival_s", 9))) return 0;
	if (!take_seconds(&rest, MOST_ARRIVAL_S, &arrival_s)) return bad(reader, error, "no arrival in seconds", line);
	if (!*rest || !take_seconds(&rest, MOST_RUN_S, &run_s))
		return bad(reader, error, "no duration in seconds, at most 30 days", line);
	if (reader->trace->count == REPLAY_CSV_MOST_JOBS)
		return error_set(error, ERROR_INPUT, "%s: more than %d jobs", reader->name, REPLAY_CSV_MOST_JOBS);
	struct replay_job job = {.arrival_ms = llround(arrival_s * 1000),
		.run_ms = llround(fmax(1, run_s * 1000)),
		.user = number_of(reader, rest)};
	replay_trace_add(reader->trace, &job);
	return 0;
}

static void count_from_first(struct replay_trace *trace) {
	replay_trace_finish(trace);
	int64_t first_ms = trace->jobs[0].arrival_ms;
	for (size_t i = 0; i < trace->count; i++) trace->jobs[i].arrival_ms -= first_ms;
	trace->span_ms -= first_ms;
}

int replay_csv_read(FILE *file, const char *name, struct replay_trace *trace, struct error *error) {
	struct reader reader = {.name = name, .trace = trace};
	AUTO_FREE char *line = NULL;
	size_t room = 0;
	int result = 0;
	while (result == 0 && getline(&line, &room, file) >= 0) {
		reader.line++;
		result = read_line(&reader, line, error);
	}
	if (result == 0 && ferror(file)) result = error_set_errno(error, ERROR_INPUT, errno, "%s", name);
	if (result == 0 && trace->count == 0) result = error_set(error, ERROR_INPUT, "%s: no jobs in it", name);
	if (result == 0) count_from_first(trace);
	tdestroy(reader.users, free);
	return result;
}

void replay_csv_write(const struct replay_trace *trace, FILE *out) {
	fputs("arrival_s,duration_s,user\n", out);
	for (size_t i = 0; i < trace->count; i++) {
		const struct replay_job *job = &trace->jobs[i];
		fprintf(out, "%.3f,%.3f,%" PRId32 "\n", (double)job->arrival_ms / 1000, (double)job->run_ms / 1000, job->user);
	}
}
