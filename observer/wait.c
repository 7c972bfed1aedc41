#include "observer/wait.h"

#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"
#include "lib/resultado.h"
#include "lib/task.h"
#include "observer/print.h"
#include "observer/seen.h"

#include <inttypes.h>
#include <pthread.h>
#include <unistd.h>

#define BATCH       256
#define POLL_MS     1000
#define SEEN_KEYS   16384
#define COMPLAIN_MS 10000 // a flood of bad records fills metrics, not the log
#define COMPLAINTS  10    // in that time

struct wait {
	struct wait_config config;
	struct task *task;
	struct loop_wakeup *gone; // nobody takes the lines any more
	struct seen *seen;
	int64_t complain_from_ms, complaints; // bad records logged in the present COMPLAIN_MS
	int64_t unlogged;                     // and those that were not

	pthread_mutex_t lock;            // of what follows
	struct kafka_consumer *consumer; // NULL as soon as the thread ends; but for that it belongs to the thread
	bool ready;
	char *trouble;
	struct error failure; // why they could not be written
};

#define RESULTS(which)                                                                                                         \
	{                                                                                                                      \
		.name = "trabajos_results_total", .labels = "code=\"" which "\"", .type = METRIC_COUNTER,                      \
		.help = "Results read, each counted once"                                                                      \
	}
static struct metric results[] = {RESULTS("Finished"), RESULTS("Failed"), RESULTS("Cancelled"), RESULTS("other")};
static struct metric repeated = {.name = "trabajos_results_repeated_total",
	.help = "Records of results that were known already, of this attempt or a higher one",
	.type = METRIC_COUNTER};
static struct metric unreadable = {.name = "trabajos_results_unreadable_total",
	.help = "Records of topic resultados that could not be read",
	.type = METRIC_COUNTER};
static struct metric waits = {.name = "trabajos_result_wait_seconds",
	.help = "From a job's record in topic trabajos to its result's, less the time it ran",
	.type = METRIC_HISTOGRAM};
static struct metric runs = {
	.name = "trabajos_result_execution_seconds", .help = "Fetch and run of a result's attempt", .type = METRIC_HISTOGRAM};

static void count(const struct resultado *resultado, int64_t wait_ms) {
	size_t code = 0;
	static const char *const codes[] = {"Finished", "Failed", "Cancelled"};
	while (code < COUNT_OF(codes) && strcmp(codes[code], resultado->code ? resultado->code : "") != 0) code++;
	metric_add(&results[code], 1);
	metric_observe_ms(&waits, wait_ms > 0 ? wait_ms : 0);
	metric_observe_ms(&runs, resultado->execution_ms);
}

static void complain(struct wait *wait, const struct kafka_message *message, const struct error *error) {
	metric_add(&unreadable, 1);
	int64_t now_ms = loop_now_ms();
	if (now_ms - wait->complain_from_ms >= COMPLAIN_MS) {
		wait->complain_from_ms = now_ms;
		wait->complaints = 0;
	}
	if (wait->complaints == COMPLAINTS) {
		wait->unlogged++;
		return;
	}
	wait->complaints++;
	log_warn(log_m("unreadable record in resultados passed over"), log_e(error), log_i("partition", message->partition),
		log_i("offset", message->offset), log_i("unlogged_before", wait->unlogged));
	wait->unlogged = 0;
}

static void take(struct wait *wait, const struct kafka_message *message, FILE *lines) {
	AUTO_ERROR struct error error = {0};
	struct resultado resultado = {0};
	if (!message->value) {
		error_set(&error, ERROR_INPUT, "no value");
	} else if (message->timestamp_ms < 0) {
		error_set(&error, ERROR_INPUT, "no timestamp");
	} else if (resultado_decode(
			   message->key, message->key_length, message->value, message->value_length, &resultado, &error) == 0) {
		int64_t wait_ms = resultado_wait_ms(&resultado, message->timestamp_ms);
		AUTO_FREE char *line = wait_line(message->value, message->value_length, message->timestamp_ms, wait_ms);
		fputs(line, lines);
		if (seen_is_news(wait->seen, resultado.key, resultado.attempt)) {
			count(&resultado, wait_ms);
		} else {
			metric_add(&repeated, 1);
		}
	}
	if (error.kind != ERROR_NONE) complain(wait, message, &error);
	resultado_clear(&resultado);
}

// What others may ask about this thread; transitions are logged here, once.
static void note_state(struct wait *wait) {
	AUTO_ERROR struct error error = {0};
	bool ready = kafka_consumer_ready(wait->consumer);
	bool trouble = kafka_consumer_error(wait->consumer, &error);
	pthread_mutex_lock(&wait->lock);
	bool was_ready = wait->ready;
	bool news = trouble && (!wait->trouble || strcmp(wait->trouble, error_text(&error)) != 0);
	wait->ready = ready;
	free(wait->trouble);
	wait->trouble = trouble ? mem_strdup(error_text(&error)) : NULL;
	pthread_mutex_unlock(&wait->lock);
	if (news) log_warn(log_m("resultados cannot be read"), log_e(&error));
	if (ready && !was_ready) log_info(log_m("reading resultados"));
}

static bool goes_on(void *arg) {
	return !task_ending(arg);
}

static void fail(struct wait *wait, struct error *error) {
	pthread_mutex_lock(&wait->lock);
	wait->failure = *error;
	*error = (struct error){0};
	pthread_mutex_unlock(&wait->lock);
	loop_wakeup_fire(wait->gone);
}

// false: it was not, and will not be.
static bool print_batch(struct task *task, struct wait *wait, const struct kafka_message *messages, size_t count) {
	AUTO_ERROR struct error error = {0};
	AUTO_FREE char *text = NULL;
	size_t length = 0;
	FILE *lines = open_memstream(&text, &length);
	if (!lines) mem_die("out of memory");
	for (size_t i = 0; i < count; i++) take(wait, &messages[i], lines);
	if (fclose(lines) != 0) mem_die("out of memory");
	int status = print_all(STDOUT_FILENO, text, length, goes_on, task, &error);
	if (status < 0) fail(wait, &error);
	return status == 0;
}

static void run(struct task *task, void *arg) {
	struct wait *wait = arg;
	struct kafka_message messages[BATCH];
	while (!task_ending(task)) {
		size_t got = kafka_consumer_poll(wait->consumer, POLL_MS, messages, BATCH);
		// Printed before it counts as read: after a crash a line may come twice, but none is missing.
		bool printed = got == 0 || print_batch(task, wait, messages, got);
		for (size_t i = 0; i < got && printed; i++) kafka_consumer_store(wait->consumer, &messages[i]);
		kafka_messages_clear(messages, got);
		if (!printed) break;
		note_state(wait);
	}
	pthread_mutex_lock(&wait->lock);
	struct kafka_consumer *consumer = STEAL(wait->consumer);
	pthread_mutex_unlock(&wait->lock);
	kafka_consumer_close(consumer);
}

static void blank_controls(char *text, size_t length) {
	for (size_t i = 0; i < length; i++) {
		unsigned char byte = (unsigned char)text[i];
		if (byte < 0x20 || byte == 0x7f) text[i] = ' ';
		// U+0080 to U+009F: some terminals obey them
		if (byte == 0xc2 && i + 1 < length && (unsigned char)text[i + 1] >= 0x80 && (unsigned char)text[i + 1] < 0xa0)
			text[i] = text[i + 1] = ' ';
	}
}

char *wait_line(const char *value, size_t length, int64_t arrived_ms, int64_t wait_ms) {
	AUTO_FREE char *clean = mem_zalloc(length + 1);
	if (length) memcpy(clean, value, length);
	blank_controls(clean, length);
	return mem_format(
		"received message: %s timeResultArrived: %" PRId64 " wait was: %" PRId64 "\n", clean, arrived_ms, wait_ms);
}

bool wait_ready(struct wait *wait, char **reason) {
	pthread_mutex_lock(&wait->lock);
	bool ready = wait->ready && !wait->trouble;
	if (!ready) *reason = mem_strdup(wait->trouble ? wait->trouble : "the group has given no partitions yet");
	pthread_mutex_unlock(&wait->lock);
	return ready;
}

void wait_ask(struct wait *wait) {
	if (!wait) return;
	pthread_mutex_lock(&wait->lock);
	task_ask(wait->task);
	if (wait->consumer) kafka_consumer_wake(wait->consumer);
	pthread_mutex_unlock(&wait->lock);
}

static void gone(void *arg) {
	struct wait *wait = arg;
	wait->config.failed(&wait->failure, wait->config.arg); // the thread that wrote it does so once, and ends
}

int wait_close(struct wait *wait, int64_t ms) {
	if (!wait) return 0;
	if (task_end(wait->task, ms) != 0) return -1;
	loop_wakeup_free(wait->gone);
	error_clear(&wait->failure);
	seen_free(wait->seen);
	pthread_mutex_destroy(&wait->lock);
	free(wait->trouble);
	free(wait);
	return 0;
}

int wait_open(struct loop *loop, const struct wait_config *config, struct wait **wait, struct error *error) {
	struct kafka_consumer *consumer;
	if (kafka_consumer_open(config->kafka, "observer", KAFKA_TOPIC_RESULTADOS, &consumer, error) != 0) return -1;
	for (size_t i = 0; i < COUNT_OF(results); i++) metrics_register(&results[i]);
	metrics_register(&repeated);
	metrics_register(&unreadable);
	metrics_register(&waits);
	metrics_register(&runs);
	struct wait *made = mem_zalloc(sizeof *made);
	made->config = *config;
	made->gone = loop_wakeup_new(loop, gone, made);
	made->consumer = consumer;
	made->seen = seen_new(SEEN_KEYS);
	pthread_mutex_init(&made->lock, NULL);
	made->task = task_start("wait", run, made);
	*wait = made;
	return 0;
}
