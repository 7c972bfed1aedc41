// Carries the rule's decisions out, by the one that SCALE_ACTUATOR names: `advise` says the number and leaves the acting to others;
// the fleets (fleet.h) start and retire workers. It is told the wanted number with every decision and acts where the world differs
// from it, so that asking again does nothing. What becomes of a number is observed: asked, reached, failed.
#pragma once

#include "lib/error.h"
#include "observer/fleet.h"
#include "observer/rule.h"

struct actuator;

#define FLEET_TEXT(of, place, preset, says)                                                                                    \
	{ .name = of, .type = OPTION_STRING, .value = &(place), .fallback = preset, .help = says }
#define OPTIONS_FLEET(options)                                                                                                 \
	FLEET_TEXT("SCALE_LOCAL_DIR", (options).local_dir, "/var/lib/trabajos/local",                                          \
		"local: where each of its workers gets a folder"),                                                             \
		FLEET_TEXT("SCALE_DOCKER_SOCKET", (options).docker_socket, "/var/run/docker.sock",                             \
			"compose: the Docker Engine's socket"),                                                                \
		FLEET_TEXT("SCALE_COMPOSE_PROJECT", (options).compose_project, "",                                             \
			"compose: the project; empty: that of the observer's own container"),                                  \
		FLEET_TEXT("SCALE_COMPOSE_SERVICE", (options).compose_service, "worker", "compose: the workers' service"),     \
		FLEET_TEXT("SCALE_KUBERNETES_URL", (options).kubernetes_url, "",                                               \
			"kubernetes: the API server; empty: as a pod is told"),                                                \
		FLEET_TEXT("SCALE_KUBERNETES_ACCOUNT", (options).kubernetes_account,                                           \
			"/var/run/secrets/kubernetes.io/serviceaccount",                                                       \
			"kubernetes: folder with token, ca.crt and namespace"),                                                \
		FLEET_TEXT("SCALE_KUBERNETES_TARGET", (options).kubernetes_target, "deployments/worker",                       \
			"kubernetes: what is scaled: deployments/NAME or statefulsets/NAME")

enum actuator_state { ACTUATOR_ASKED, ACTUATOR_REACHED, ACTUATOR_FAILED };
extern const char *const actuator_states[]; // "asked", …

struct actuator_config {
	const char *name;
	struct fleet_config fleet; // its failed and arg are the actuator's own affair
	// What became of a number, once each time it changes. detail: of a failure, else NULL.
	void (*observed)(enum actuator_state state, int64_t wanted, int64_t actual, const char *detail, void *arg);
	void *arg;
};

// ERROR_INPUT: no such actuator; the message names those that there are.
int actuator_check(const char *name, struct error *error) MUST_USE;
int actuator_open(const struct actuator_config *config, struct actuator **actuator, struct error *error) MUST_USE;
const char *actuator_name(const struct actuator *actuator);
void actuator_ask(struct actuator *actuator, const struct rule_decision *decision); // of the leading observer only
bool actuator_acts(const struct actuator *actuator);                                // advise does not
void actuator_stand_by(struct actuator *actuator);                                  // another observer leads now
int64_t actuator_starting(const struct actuator *actuator);                         // 0 where it does not know
void actuator_close(struct actuator *actuator);                                     // NULL is fine
