#include "observer/actuator.h"

#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"

#include <string.h>

#define SAY_AGAIN_MS 60000

struct actuator {
	struct actuator_config config;
	const char *name;
	struct fleet *fleet; // NULL: advise
	int64_t wanted, actual;
	bool reached;
	int64_t since_ms; // when the present number was first asked for
	char *failure;
	int64_t failure_said_ms;
};

const char *const actuator_states[] = {"asked", "reached", "failed"};
static const char advise[] = "advise";
static const struct fleet_driver *const drivers[] = {&fleet_local, &fleet_compose, &fleet_kubernetes};

#define OBSERVED(state)                                                                                                        \
	{                                                                                                                      \
		.name = "trabajos_scale_actions_total", .labels = "state=\"" state "\"", .type = METRIC_COUNTER,               \
		.help = "Numbers of workers that were asked for, were reached, could not be had"                               \
	}
static struct metric observed[] = {OBSERVED("asked"), OBSERVED("reached"), OBSERVED("failed")};
static struct metric unreached = {.name = "trabajos_scale_unreached_seconds",
	.help = "For how long there has been another number of workers than is wanted",
	.type = METRIC_GAUGE,
	.scale = 1000};

static void observe(struct actuator *actuator, enum actuator_state state, const char *detail) {
	metric_add(&observed[state], 1);
	actuator->config.observed(state, actuator->wanted, actuator->actual, detail, actuator->config.arg);
}

// Said and kept when it is new, and now and then as long as it lasts.
static void failed(const struct error *error, void *arg) {
	struct actuator *actuator = arg;
	bool news = !actuator->failure || strcmp(actuator->failure, error_text(error)) != 0;
	if (!news && loop_now_ms() - actuator->failure_said_ms < SAY_AGAIN_MS) return;
	log_warn(log_m("the number of workers cannot be changed"), log_s("actuator", actuator->name),
		log_i("deseados", actuator->wanted), log_e(error));
	free(actuator->failure);
	actuator->failure = mem_strdup(error_text(error));
	actuator->failure_said_ms = loop_now_ms();
	observe(actuator, ACTUATOR_FAILED, actuator->failure);
}

static void follow(struct actuator *actuator, const struct rule_decision *decision) {
	bool news = decision->wanted != actuator->wanted;
	bool was_reached = actuator->reached;
	actuator->wanted = decision->wanted;
	actuator->actual = decision->actual;
	actuator->reached = decision->actual == decision->wanted;
	if (news)
		log_info(log_m("advice"), log_i("deseados", decision->wanted), log_i("actuales", decision->actual),
			log_s("motivo", decision->reason));
	if (news || (was_reached && !actuator->reached)) actuator->since_ms = loop_now_ms();
	if (!actuator->reached && (news || was_reached)) {
		observe(actuator, ACTUATOR_ASKED, NULL);
	} else if (actuator->reached && !was_reached) {
		free(STEAL(actuator->failure));
		observe(actuator, ACTUATOR_REACHED, NULL);
	}
	metric_set(&unreached, actuator->reached ? 0 : loop_now_ms() - actuator->since_ms);
}

const char *actuator_name(const struct actuator *actuator) {
	return actuator->name;
}

void actuator_ask(struct actuator *actuator, const struct rule_decision *decision) {
	follow(actuator, decision);
	if (actuator->fleet) fleet_want(actuator->fleet, decision->wanted);
}

bool actuator_acts(const struct actuator *actuator) {
	return actuator->fleet != NULL;
}

void actuator_stand_by(struct actuator *actuator) {
	actuator->wanted = -1;
	actuator->reached = true;
	metric_set(&unreached, 0);
}

int64_t actuator_starting(const struct actuator *actuator) {
	return actuator->fleet ? fleet_starting(actuator->fleet) : 0;
}

void actuator_close(struct actuator *actuator) {
	if (!actuator) return;
	fleet_close(actuator->fleet);
	free(actuator->failure);
	free(actuator);
}

static const struct fleet_driver *driver_of(const char *name) {
	for (size_t i = 0; i < COUNT_OF(drivers); i++)
		if (strcmp(drivers[i]->name, name) == 0) return drivers[i];
	return NULL;
}

int actuator_check(const char *name, struct error *error) {
	if (strcmp(name, advise) == 0 || driver_of(name)) return 0;
	AUTO_FREE char *names = mem_strdup(advise);
	for (size_t i = 0; i < COUNT_OF(drivers); i++) {
		char *longer = mem_format("%s, %s", names, drivers[i]->name);
		free(names);
		names = longer;
	}
	return error_set(error, ERROR_INPUT, "SCALE_ACTUATOR: there is no actuator \"%s\", only: %s", name, names);
}

int actuator_open(const struct actuator_config *config, struct actuator **actuator, struct error *error) {
	if (actuator_check(config->name, error) != 0) return -1;
	const struct fleet_driver *driver = driver_of(config->name);
	struct actuator *made = mem_zalloc(sizeof *made);
	made->config = *config;
	made->config.fleet.failed = failed;
	made->config.fleet.arg = made;
	made->name = driver ? driver->name : advise;
	made->wanted = -1;
	made->reached = true;
	for (size_t i = 0; i < COUNT_OF(observed); i++) metrics_register(&observed[i]);
	metrics_register(&unreached);
	if (driver && fleet_open(driver, &made->config.fleet, &made->fleet, error) != 0) {
		free(made);
		return -1;
	}
	*actuator = made;
	return 0;
}
