#include "observer/runs.h"

#include "lib/mem.h"

#include <string.h>

#define OWNERS 256
#define PLANS  32

struct named {
	char *name;
	uint64_t used; // when last, by runs.clock
	struct sketch runs;
};

struct runs {
	uint64_t clock;
	struct sketch all;
	struct named owners[OWNERS], plans[PLANS];
};

static struct named *find(struct named *table, size_t size, const char *name) {
	for (size_t i = 0; i < size; i++)
		if (table[i].name && strcmp(table[i].name, name) == 0) return &table[i];
	return NULL;
}

// Its place, or that of whoever was used longest ago.
static struct named *place_of(struct named *table, size_t size, const char *name) {
	struct named *place = find(table, size, name);
	if (place) return place;
	place = table;
	for (size_t i = 0; i < size; i++)
		if (table[i].used < place->used) place = &table[i];
	free(place->name);
	*place = (struct named){.name = mem_strdup(name)};
	return place;
}

static void add(struct runs *runs, struct named *table, size_t size, const char *name, int64_t ms) {
	struct named *place = place_of(table, size, name);
	place->used = ++runs->clock;
	sketch_add(&place->runs, ms);
}

void runs_add(struct runs *runs, const char *owner, const char *plan, int64_t ms) {
	sketch_add(&runs->all, ms);
	add(runs, runs->owners, OWNERS, owner, ms);
	add(runs, runs->plans, PLANS, plan ? plan : "none", ms);
}

const struct sketch *runs_all(const struct runs *runs) {
	return &runs->all;
}

const struct sketch *runs_of_owner(const struct runs *runs, const char *owner) {
	const struct named *named = find((struct named *)(uintptr_t)runs->owners, OWNERS, owner);
	return named ? &named->runs : NULL;
}

json_t *runs_plans(const struct runs *runs) {
	json_t *plans = json_object();
	for (size_t i = 0; i < PLANS; i++) {
		const struct named *plan = &runs->plans[i];
		if (!plan->name) continue;
		json_object_set_new(plans, plan->name,
			json_pack("{s:I, s:I, s:I}", "ended", (json_int_t)plan->runs.total, "p50_ms",
				(json_int_t)sketch_quantile_ms(&plan->runs, 0.5), "p95_ms",
				(json_int_t)sketch_quantile_ms(&plan->runs, 0.95)));
	}
	return plans;
}

void runs_free(struct runs *runs) {
	if (!runs) return;
	for (size_t i = 0; i < OWNERS; i++) free(runs->owners[i].name);
	for (size_t i = 0; i < PLANS; i++) free(runs->plans[i].name);
	free(runs);
}

struct runs *runs_new(void) {
	return mem_zalloc(sizeof(struct runs));
}
