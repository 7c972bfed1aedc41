// What is known of attempts that run (plan, commit, limits) on its way into the ledger: of several jobs in one statement, and of a job
// that runs for about half a second already, so that short ones cost no statement.
#pragma once

#include "lib/attr.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct worker;
struct detail;
struct notes;

// One attempt; the caller's, from note_add to note_remove.
struct note_entry {
	const char *key;
	int64_t attempt;
	const struct detail *detail;

	LIST_ENTRY(note_entry) entry; // the notes' from here on
	bool added, sent;
	int64_t since_ms;
};

struct notes *notes_new(struct worker *worker) MUST_USE;
void notes_free(struct notes *notes); // NULL is fine; answers that come later are not heard
// Its detail is there, and stays as it is until note_remove. Written once.
void note_add(struct notes *notes, struct note_entry *entry);
void note_remove(struct note_entry *entry); // again is fine, and so is one that was never added
