// Shared by sandbox.c (open, start, spares, close) and sandbox_run.c (one job in its box).
#pragma once

#include "worker/sandbox.h"
#include "worker/sandbox_box.h"

// A box and its watchers. It is a spare until a run takes it, and leaves by itself when the run is over.
struct sandbox_cell {
	struct sandbox *sandbox;
	struct sandbox_slot *slot;
	struct sandbox_cell *next; // of the sandbox's cells
	struct box box;
	struct sandbox_run *run; // NULL: spare, or leaving
	bool leaving, over;
	struct loop_fd *socket_watch, *pid_watch;
	struct loop_timer *again; // what has to be looked at once more: the end of a process, the removal of a group
	int64_t again_ms;
};

// The next box is made while the job of the last one runs, and shall be a stranger to it: a slot has two places (uids), in turn.
struct sandbox_slot {
	struct sandbox *sandbox;
	int index;
	struct sandbox_cell *spare; // NULL: none
	struct sandbox_run *run;    // NULL: free
	int64_t disk_bytes;         // of the next box
	bool other_place;           // of the two, for the next box
	struct loop_timer *prepare;
	unsigned failures; // spares that died by themselves, in a row
};

struct sandbox {
	struct loop *loop;
	enum sandbox_level weakest;
	char *dir;
	struct box_maker maker;
	char *missing; // NULL: nothing
	char *no_egress;
	int64_t collect_ms; // how long the artifacts of a job may be read
	struct sandbox_slot *slots;
	int slot_count;
	struct sandbox_cell *cells;
};

// ---- sandbox_cell.c
struct sandbox_cell *cell_new(struct sandbox_slot *slot, struct error *error) MUST_USE;
void cell_leave(struct sandbox_cell *cell); // nobody's any more: its end is awaited, then helped along
void cell_kill(struct sandbox_cell *cell);
void cell_close_all(struct sandbox *sandbox); // kills all of them and waits for their ends, for a bounded time

// ---- sandbox_run.c
void run_event(struct sandbox_run *run, const struct box_event *event);
void run_over(struct sandbox_run *run); // nothing of its box lives any more

// ---- sandbox.c
void sandbox_spare_lost(struct sandbox_slot *slot, struct sandbox_cell *cell); // died by itself
void sandbox_slot_free(struct sandbox_slot *slot);                             // its run is over
