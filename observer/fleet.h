// Brings the number of workers to what is wanted, by a driver that can start and end some: processes, containers, pods. One round:
// the driver looks at what it runs, the ledger says which workers are alive, the plan is made (fleet_plan.h), those to be retired
// are marked in the ledger, and only those on which nothing runs and nothing can begin any more are told to end. Rounds are at
// least a second apart; after a failure further, with backoff. Every round begins from what is there.
//
// The ledger is asked on the connection that holds the lead (lead.h), so that only the leading observer ever gets to act.
#pragma once

#include "lib/db.h"
#include "lib/error.h"
#include "observer/fleet_plan.h"

struct fleet;

struct fleet_options {
	char *local_dir;
	char *docker_socket, *compose_project, *compose_service;
	char *kubernetes_url, *kubernetes_account, *kubernetes_target;
};

// All in the loop's thread. look is answered by fleet_seen or fleet_failed, change by fleet_changed or fleet_failed; both may be
// answered at once. One call at a time.
struct fleet_driver {
	const char *name; // as SCALE_ACTUATOR names it
	int (*open)(
		const struct fleet_options *options, struct loop *loop, struct fleet *fleet, void **self, struct error *error);
	void (*look)(void *self);
	// Start so many; tell these to end, by SIGTERM or what becomes one. plan: what it is for.
	void (*change)(
		void *self, int64_t start, const struct fleet_unit *const *end, size_t count, const struct fleet_plan *plan);
	void (*close)(void *self); // no answers any more
};
extern const struct fleet_driver fleet_local, fleet_compose, fleet_kubernetes;

void fleet_seen(struct fleet *fleet, const struct fleet_unit *units, size_t count); // copies
void fleet_changed(struct fleet *fleet);
void fleet_failed(struct fleet *fleet, const struct error *error);

struct fleet_config {
	const struct fleet_options *options; // outlive the fleet
	struct loop *loop;
	struct db_session *session; // of the lead
	int64_t lease_ms;
	void (*failed)(const struct error *error, void *arg); // with each round that failed
	void *arg;
};
int fleet_open(const struct fleet_driver *driver, const struct fleet_config *config, struct fleet **fleet,
	struct error *error) MUST_USE;
void fleet_want(struct fleet *fleet, int64_t wanted); // begins a round where none is under way and it is time for one
int64_t fleet_starting(const struct fleet *fleet);    // started, and not registered by the last round
void fleet_close(struct fleet *fleet);                // NULL is fine; the workers go on
