// A box on the loop: its stream, the ends of its two processes, the removal of its control group.
#include "lib/mem.h"
#include "worker/sandbox_internal.h"

#include <poll.h>
#include <stdlib.h>

#define AGAIN_FIRST_MS   1
#define AGAIN_MOST_MS    200
#define LEAVE_BY_SELF_MS 300 // after its last word
#define KILL_HARDER_MS   100
#define CLOSE_WAIT_MS    3000

static void free_cell(struct sandbox_cell *cell) {
	for (struct sandbox_cell **at = &cell->sandbox->cells; *at; at = &(*at)->next) {
		if (*at != cell) continue;
		*at = cell->next;
		break;
	}
	loop_fd_remove(cell->socket_watch);
	loop_fd_remove(cell->pid_watch);
	loop_timer_free(cell->again);
	free(cell);
}

static void look_again(struct sandbox_cell *cell) {
	loop_timer_set(cell->again, cell->again_ms);
	cell->again_ms = cell->again_ms * 2 < AGAIN_MOST_MS ? cell->again_ms * 2 : AGAIN_MOST_MS;
}

static void stop_watching(struct sandbox_cell *cell) {
	loop_fd_remove(cell->socket_watch);
	loop_fd_remove(cell->pid_watch);
	cell->socket_watch = cell->pid_watch = NULL;
}

static void remove_cell(struct sandbox_cell *cell) {
	if (box_clear(&cell->box) == 0)
		free_cell(cell);
	else
		look_again(cell);
}

// Both processes have ended. Whoever has it hears of it first; its last words are read before.
static void came_to_its_end(struct sandbox_cell *cell) {
	cell->over = true;
	stop_watching(cell);
	struct sandbox_slot *slot = cell->slot;
	struct box_event event;
	while (cell->run && box_read(&cell->box, &event) == 1) run_event(cell->run, &event);
	// The run's last event may have made the cell leave already.
	if (cell->run)
		run_over(cell->run);
	else if (slot->spare == cell)
		sandbox_spare_lost(slot, cell);
	cell->run = NULL;
	cell->again_ms = AGAIN_FIRST_MS;
	remove_cell(cell);
}

static void again(void *arg) {
	struct sandbox_cell *cell = arg;
	if (cell->over) {
		remove_cell(cell);
	} else if (box_over(&cell->box)) {
		came_to_its_end(cell);
	} else {
		if (cell->leaving || cell->box.kills > 0) box_kill(&cell->box);
		look_again(cell);
	}
}

static void process_ended(uint32_t events, void *arg) {
	struct sandbox_cell *cell = arg;
	(void)events;
	if (box_over(&cell->box)) {
		came_to_its_end(cell);
		return;
	}
	// bubblewrap is gone, pid 1 of the box not yet: it was told to die with it.
	loop_fd_remove(cell->pid_watch);
	cell->pid_watch = NULL;
	cell->box.kills++;
	box_kill(&cell->box);
	cell->again_ms = AGAIN_FIRST_MS;
	look_again(cell);
}

static void stream_ready(uint32_t events, void *arg) {
	struct sandbox_cell *cell = arg;
	struct box_event event;
	int result;
	(void)events;
	while ((result = box_read(&cell->box, &event)) == 1) {
		if (cell->run)
			run_event(cell->run, &event);
		else if (event.kind == BOX_READY)
			cell->slot->failures = 0;
	}
	if (result == 0) return;
	loop_fd_remove(cell->socket_watch);
	cell->socket_watch = NULL;
}

void cell_leave(struct sandbox_cell *cell) {
	cell->run = NULL;
	cell->leaving = true;
	if (!cell->over) loop_timer_set(cell->again, LEAVE_BY_SELF_MS);
}

void cell_kill(struct sandbox_cell *cell) {
	if (cell->over) return;
	box_kill(&cell->box);
	loop_timer_set(cell->again, KILL_HARDER_MS);
}

struct sandbox_cell *cell_new(struct sandbox_slot *slot, struct error *error) {
	struct sandbox *sandbox = slot->sandbox;
	struct sandbox_cell *cell = mem_zalloc(sizeof(*cell));
	int place = slot->index + (slot->other_place ? sandbox->slot_count : 0);
	slot->other_place = !slot->other_place;
	if (box_spawn(&sandbox->maker, place, slot->disk_bytes, &cell->box, error) != 0) {
		free(cell);
		return NULL;
	}
	cell->sandbox = sandbox;
	cell->slot = slot;
	cell->next = sandbox->cells;
	sandbox->cells = cell;
	cell->again_ms = AGAIN_FIRST_MS;
	cell->again = loop_timer_new(sandbox->loop, again, cell);
	cell->socket_watch = loop_fd_add(sandbox->loop, cell->box.socket, EPOLLIN, stream_ready, cell);
	cell->pid_watch = loop_fd_add(sandbox->loop, cell->box.pidfd, EPOLLIN, process_ended, cell);
	return cell;
}

// The loop does not run any more.
static bool wait_for_end(struct sandbox_cell *cell, int64_t until_ms) {
	box_kill(&cell->box);
	while (!box_over(&cell->box)) {
		if (loop_now_ms() >= until_ms) return false;
		struct pollfd polled = {.fd = cell->box.reaped ? cell->box.init_pidfd : cell->box.pidfd, .events = POLLIN};
		(void)poll(&polled, 1, 20);
		box_kill(&cell->box);
	}
	while (box_clear(&cell->box) != 0) {
		if (loop_now_ms() >= until_ms) return false;
		(void)poll(NULL, 0, 1);
	}
	return true;
}

void cell_close_all(struct sandbox *sandbox) {
	int64_t until_ms = loop_now_ms() + CLOSE_WAIT_MS;
	for (struct sandbox_cell *cell = sandbox->cells; cell; cell = cell->next)
		if (!cell->over) box_kill(&cell->box);
	while (sandbox->cells) {
		struct sandbox_cell *cell = sandbox->cells;
		sandbox->cells = cell->next;
		stop_watching(cell);
		if (!wait_for_end(cell, until_ms)) box_abandon(&cell->box);
		free_cell(cell);
	}
}
