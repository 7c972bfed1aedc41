#include "lib/db_internal.h"

void db_queue_init(struct db_queue *queue) {
	*queue = (struct db_queue){.tail = &queue->head};
}

void db_queue_put(struct db_queue *queue, struct db_entry *entry) {
	entry->next = NULL;
	*queue->tail = entry;
	queue->tail = &entry->next;
	queue->count++;
}

void db_queue_put_first(struct db_queue *queue, struct db_entry *entry) {
	entry->next = queue->head;
	if (!queue->head) queue->tail = &entry->next;
	queue->head = entry;
	queue->count++;
}

struct db_entry *db_queue_take(struct db_queue *queue) {
	struct db_entry *entry = queue->head;
	if (!entry) return NULL;
	queue->head = entry->next;
	if (!queue->head) queue->tail = &queue->head;
	queue->count--;
	return entry;
}

struct db_entry *db_queue_take_late(struct db_queue *queue, int64_t now_ms, int64_t *next_ms) {
	struct db_queue late, rest;
	struct db_entry *entry;
	db_queue_init(&late);
	db_queue_init(&rest);
	*next_ms = 0;
	while ((entry = db_queue_take(queue))) {
		bool waits = entry->wait_until_ms > now_ms;
		if (waits && (!*next_ms || entry->wait_until_ms < *next_ms)) *next_ms = entry->wait_until_ms;
		db_queue_put(waits ? &rest : &late, entry);
	}
	while ((entry = db_queue_take(&rest))) db_queue_put(queue, entry);
	return late.head;
}

const char *db_entry_name(const struct db_entry *entry) {
	return entry->statement ? entry->statement->name : "listen";
}

void db_entry_free(struct db_entry *entry) {
	db_params_free(entry->params);
	free(entry);
}

void db_entry_fail(struct db_entry *entry, const char *why) {
	if (entry->done) {
		struct error error AUTO_ERROR = {0};
		error_set(&error, ERROR_UNAVAILABLE, "%s: %s", db_entry_name(entry), why);
		entry->done(DB_UNAVAILABLE, NULL, &error, entry->arg);
	}
	db_entry_free(entry);
}
