// trabajos top: the queue, what runs and the workers, live in a terminal; into a file or a pipe once.
#include "cli/call.h"
#include "cli/cli.h"
#include "cli/text.h"
#include "cli/view.h"
#include "cli/words.h"
#include "lib/lifecycle.h"
#include "lib/loop.h"
#include "lib/mem.h"

#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>

#define ENDED     "10" // of those that have ended
#define SHOWN     "200"
#define FEW_ROWS  3                      // what each table gets on a low terminal
#define ENTER     "\033[?1049h\033[?25l" // the alternate screen, no cursor
#define LEAVE     "\033[?25h\033[?1049l"
#define NEXT_LINE "\033[K\r\n"

static int64_t interval_s = 2;
static bool once;

static const struct args_option options[] = {
	CLI_INT("interval", interval_s, 1, 3600, "seconds between two looks, by default 2"),
	CLI_FLAG("once", 0, once, "look once, and end"),
};

struct top {
	json_t *running, *queued, *ended;       // jobs
	json_t *workers, *scale;                // an administrator sees them; else NULL
	bool administrator, more_queued, knows; // knows: whether the caller is one has been found out
	char *trouble;                          // why the last look failed
};

static void put(json_t **place, json_t *anew) {
	json_decref(*place);
	*place = anew;
}

// ---- looking

static int look_at_jobs(
	const struct top *top, const char *status, const char *most, json_t **jobs, bool *more, struct error *error) {
	AUTO_FREE char *path = mem_strdup("/api/v1/trabajos?order=desc");
	struct client_reply reply;
	json_t *anew = NULL;
	call_query(&path, "status", status);
	call_query(&path, "limit", most);
	call_query(&path, "usuario", top->administrator ? "*" : NULL);
	int result = call_send(&(struct call){.path = path}, &reply, error);
	if (result == 0) result = json_read(reply.body, reply.length, CALL_MOST, &anew, error);
	AUTO_FREE char *next = result == 0 ? call_next(&reply) : NULL;
	if (more) *more = next != NULL;
	if (result == 0) put(jobs, anew);
	client_reply_clear(&reply);
	return result;
}

// Who may not see the workers is no administrator.
static int look_at_workers(struct top *top, struct error *error) {
	json_t *workers = NULL, *scale = NULL;
	if (top->knows && !top->administrator) return 0;
	struct client_reply reply;
	int result = call_send(&(struct call){.path = "/api/v1/workers"}, &reply, error);
	bool denied = reply.status == 403;
	if (result == 0) result = json_read(reply.body, reply.length, CALL_MOST, &workers, error);
	client_reply_clear(&reply);
	top->knows = top->knows || result == 0 || denied;
	top->administrator = result == 0;
	if (result) return denied ? error_clear(error), 0 : -1;
	put(&top->workers, workers);
	if (call_get(&scale, error, "/api/v1/scale?limit=1")) return -1;
	put(&top->scale, scale);
	return 0;
}

static int look(struct top *top, struct error *error) {
	if (look_at_workers(top, error)) return -1;
	if (look_at_jobs(top, "Running", SHOWN, &top->running, NULL, error)) return -1;
	if (look_at_jobs(top, "Queued", SHOWN, &top->queued, &top->more_queued, error)) return -1;
	return look_at_jobs(top, "Finished,Failed,Cancelled", ENDED, &top->ended, NULL, error);
}

static void top_clear(struct top *top) {
	json_t **const places[] = {&top->running, &top->queued, &top->ended, &top->workers, &top->scale};
	for (size_t i = 0; i < COUNT_OF(places); i++) put(places[i], NULL);
	free(STEAL(top->trouble));
}

// ---- showing

struct sheet {
	FILE *out;
	size_t columns, rows; // those that are left
	bool colours;
	const char *next_line;
};

static void say(struct sheet *sheet, enum term_colour colour, const char *format, ...) PRINTF(3, 4);
static void say(struct sheet *sheet, enum term_colour colour, const char *format, ...) {
	va_list arguments;
	if (sheet->rows == 0) return;
	va_start(arguments, format);
	AUTO_FREE char *text = mem_format_list(format, arguments);
	va_end(arguments);
	AUTO_FREE char *safe = text_safe(text);
	bool painted = sheet->colours && colour != TERM_PLAIN;
	fprintf(sheet->out, "%s%.*s%s%s", painted ? term_sgr(colour) : "", (int)text_fit(safe, sheet->columns), safe,
		painted ? term_sgr(TERM_PLAIN) : "", sheet->next_line);
	sheet->rows--;
}

static int64_t slots_of(const json_t *workers, const char *member) {
	int64_t sum = 0;
	for (size_t i = 0; i < json_array_size(workers); i++) sum += view_int(json_array_get(workers, i), member);
	return sum;
}

static void say_summary(struct sheet *sheet, const struct top *top) {
	const json_t *decision = json_array_get(json_object_get(top->scale, "decisions"), 0);
	time_t now = time(NULL);
	struct tm tm;
	char clock[16] = "";
	if (localtime_r(&now, &tm)) strftime(clock, sizeof clock, "%H:%M:%S", &tm);
	say(sheet, TERM_BOLD, _("%s  %s  %s"), cli.server, clock, sheet->rows == SIZE_MAX ? "" : _("q quits"));
	say(sheet, TERM_PLAIN, _("%zu running, %zu%s queued"), json_array_size(top->running), json_array_size(top->queued),
		top->more_queued ? "+" : "");
	if (top->workers)
		say(sheet, TERM_PLAIN, _("%zu workers, %" PRId64 " of %" PRId64 " slots taken"), json_array_size(top->workers),
			slots_of(top->workers, "running"), slots_of(top->workers, "slots"));
	if (decision)
		say(sheet, TERM_PLAIN, _("%" PRId64 " workers wanted: %s"), view_int(decision, "wanted"),
			cli_or_nothing(json_text(decision, "reason")));
	if (top->trouble) say(sheet, TERM_RED, "%s", top->trouble);
}

// A heading and a table on at most so many rows, of which one is its own heading.
static void say_table(struct sheet *sheet, const char *title, struct table *table, size_t most) {
	size_t rows = table_rows(table) + 1;
	if (rows > most) rows = most;
	if (table_rows(table) && sheet->rows >= 4 && rows >= 2) {
		say(sheet, TERM_PLAIN, "%s", "");
		say(sheet, TERM_DIM, "%s", title);
		if (rows > sheet->rows) rows = sheet->rows;
		table_draw(table, sheet->columns, rows, sheet->colours, sheet->next_line, sheet->out);
		sheet->rows -= rows;
	}
	table_free(table);
}

// The rows go to what runs first, but something of everything is shown.
static void show(const struct top *top, struct sheet *sheet) {
	say_summary(sheet, top);
	size_t kept = (2 + 1 + FEW_ROWS) * 2, half = sheet->rows > 2 * kept ? sheet->rows - kept : sheet->rows / 2;
	if (top->workers) say_table(sheet, _("Workers"), view_workers(top->workers), sheet->rows / 3 + 1);
	say_table(sheet, _("Running"), view_jobs(top->running, top->administrator), half);
	say_table(sheet, _("Queued"), view_jobs(top->queued, top->administrator),
		sheet->rows > kept ? sheet->rows - kept / 2 : sheet->rows / 2 + 1);
	say_table(sheet, _("Ended"), view_jobs(top->ended, top->administrator), sheet->rows);
}

static void draw(const struct top *top) {
	char *text = NULL;
	size_t length, columns, rows;
	term_size(stdout, &columns, &rows);
	FILE *out = open_memstream(&text, &length);
	if (!out) mem_die("out of memory");
	struct sheet sheet = {
		.out = out, .columns = columns, .rows = rows - 1, .colours = term_colours(stdout), .next_line = NEXT_LINE};
	fputs("\033[H", out);
	show(top, &sheet);
	fputs("\033[J", out);
	if (fclose(out)) mem_die("out of memory");
	fwrite(text, 1, length, stdout);
	fflush(stdout);
	free(text);
}

// ---- live

// Keys one by one and unseen; Ctrl-Z would leave the shell on our screen.
static void take_terminal(struct termios *before) {
	tcgetattr(STDIN_FILENO, before);
	struct termios raw = *before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VSUSP] = _POSIX_VDISABLE;
	raw.c_cc[VMIN] = 1;
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	fputs(ENTER, stdout);
}

static void give_back(const struct termios *before) {
	tcsetattr(STDIN_FILENO, TCSANOW, before);
	fputs(LEAVE, stdout);
	fflush(stdout);
}

enum woken { WOKEN_LOOK, WOKEN_DRAW, WOKEN_END };

static enum woken await(int resized, int64_t until_ms) {
	struct pollfd asked[] = {{STDIN_FILENO, POLLIN, 0}, {cli.stop_fd, POLLIN, 0}, {resized, POLLIN, 0}};
	int64_t left_ms = until_ms - loop_now_ms();
	if (poll(asked, COUNT_OF(asked), (int)(left_ms > 0 ? left_ms : 0)) <= 0) return WOKEN_LOOK;
	struct signalfd_siginfo resize;
	if (asked[2].revents && read(resized, &resize, sizeof resize) > 0) return WOKEN_DRAW;
	char key;
	if (asked[1].revents || read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q') return WOKEN_END;
	return key == ' ' || key == 'r' ? WOKEN_LOOK : WOKEN_DRAW;
}

static int watch(struct top *top, struct error *error) {
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, NULL);
	AUTO_CLOSE int resized = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (resized < 0) mem_die("signalfd");
	for (enum woken woken = WOKEN_LOOK; woken != WOKEN_END;) {
		int64_t next_ms = loop_now_ms() + interval_s * 1000;
		if (woken == WOKEN_LOOK) {
			free(STEAL(top->trouble));
			if (look(top, error)) {
				if (error->kind != ERROR_UNAVAILABLE && error->kind != ERROR_INTERNAL) return -1;
				top->trouble = mem_strdup(error_text(error));
				error_clear(error);
			}
		}
		draw(top);
		do woken = await(resized, next_ms);
		while (woken == WOKEN_DRAW && (draw(top), true));
	}
	return EXIT_FINE;
}

static int live(struct top *top, struct error *error) {
	struct termios before;
	cli_catch_signals();
	take_terminal(&before);
	int result = watch(top, error);
	give_back(&before);
	// Ctrl-C is a way to leave it as good as q
	return cli_stopped() ? EXIT_FINE : result;
}

static void print(const struct top *top) {
	struct sheet sheet = {.out = stdout,
		.columns = term_width(stdout),
		.rows = SIZE_MAX,
		.colours = term_colours(stdout),
		.next_line = "\n"};
	if (!cli.json) {
		show(top, &sheet);
		return;
	}
	AUTO_JSON json_t *json = json_pack("{s:O, s:O, s:O, s:O*, s:O*}", "running", top->running, "queued", top->queued,
		"ended", top->ended, "workers", top->workers, "scale", top->scale);
	view_print(json);
}

static int run(size_t count, const char *const *operands, struct error *error) {
	(void)count, (void)operands;
	struct top top = {0};
	bool is_live = !once && !cli.json && term_is(stdout) && isatty(STDIN_FILENO);
	int result = is_live ? live(&top, error) : look(&top, error);
	if (result == 0 && !is_live) print(&top);
	top_clear(&top);
	return result;
}

const struct cli_verb cli_top = {.name = "top",
	.operands = "",
	.help = "watch the queue, what runs and the workers",
	.more = "An administrator sees everybody's jobs and the workers, others their own jobs. q ends it, the space bar looks at once.",
	CLI_OPTIONS(options),
	.run = run};
