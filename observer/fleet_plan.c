#include "observer/fleet_plan.h"

#include "lib/mem.h"

#include <string.h>

static bool same(const struct fleet_unit *unit, const struct fleet_worker *worker) {
	return strcmp(unit->host, worker->host) == 0 && (unit->pid == 0 || unit->pid == worker->pid);
}

// The youngest of those that fit: an older one of the same pid is a process that was there before.
static const struct fleet_worker *worker_of(const struct fleet_view *view, const struct fleet_unit *unit) {
	const struct fleet_worker *found = NULL;
	for (size_t i = 0; i < view->worker_count; i++) {
		const struct fleet_worker *worker = &view->workers[i];
		if (same(unit, worker) && (!found || worker->age_ms < found->age_ms)) found = worker;
	}
	return found;
}

static bool is_foreign(const struct fleet_view *view, const struct fleet_worker *worker) {
	for (size_t i = 0; i < view->unit_count; i++)
		if (same(&view->units[i], worker)) return false;
	return true;
}

// Those first that are best retired: marked already, idle, young.
static int by_preference(const void *left, const void *right) {
	const struct fleet_worker *a = ((const struct fleet_pair *)left)->worker,
				  *b = ((const struct fleet_pair *)right)->worker;
	if (a->retiring != b->retiring) return a->retiring ? -1 : 1;
	if ((a->running > 0) != (b->running > 0)) return a->running > 0 ? 1 : -1;
	return (a->age_ms > b->age_ms) - (a->age_ms < b->age_ms);
}

struct count {
	int64_t claiming, starting, busy;
	size_t retiring;
};

static struct count count_units(const struct fleet_view *view, struct fleet_plan *plan) {
	struct count count = {0};
	for (size_t i = 0; i < view->unit_count; i++) {
		const struct fleet_unit *unit = &view->units[i];
		if (unit->gone) continue;
		const struct fleet_worker *worker = worker_of(view, unit);
		if (!worker) {
			count.starting++;
			continue;
		}
		if (worker->draining && !worker->retiring) continue;
		plan->retire[plan->retire_count++] = (struct fleet_pair){unit, worker};
		count.claiming += !worker->draining;
		count.busy += !worker->draining && worker->running > 0;
		count.retiring += worker->retiring;
	}
	qsort(plan->retire, plan->retire_count, sizeof *plan->retire, by_preference);
	return count;
}

static void take_back(struct fleet_plan *plan, int64_t missing, size_t retiring) {
	// Of the retiring ones the busy ones come last, and have their mirrors at hand.
	for (size_t i = retiring; i-- > 0 && (int64_t)plan->keep_count < missing;)
		plan->keep[plan->keep_count++] = plan->retire[i];
	plan->start = missing - (int64_t)plan->keep_count;
	plan->retire_most = retiring - plan->keep_count;
	plan->retire_count = plan->retire_most;
}

void fleet_plan_make(const struct fleet_view *view, struct fleet_plan *plan) {
	*plan = (struct fleet_plan){.keep = mem_zalloc_array(view->unit_count + 1, sizeof *plan->keep),
		.retire = mem_zalloc_array(view->unit_count + 1, sizeof *plan->retire)};
	struct count count = count_units(view, plan);
	int64_t foreign = 0;
	for (size_t i = 0; i < view->worker_count; i++) {
		const struct fleet_worker *worker = &view->workers[i];
		if (worker->draining || !is_foreign(view, worker)) continue;
		foreign++;
		count.busy += worker->running > 0;
	}
	int64_t target = view->wanted > foreign ? view->wanted - foreign : 0;
	int64_t units = count.claiming + count.starting;
	plan->present = units + foreign;
	plan->starting = count.starting;
	plan->only_idle = view->wanted >= count.busy;
	if (units < target)
		take_back(plan, target - units, count.retiring);
	else
		plan->retire_most = count.retiring + (size_t)(units - target);
	if (plan->retire_most > plan->retire_count) plan->retire_most = plan->retire_count;
}

void fleet_plan_clear(struct fleet_plan *plan) {
	free(plan->keep);
	free(plan->retire);
	*plan = (struct fleet_plan){0};
}
