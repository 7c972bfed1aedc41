// Carries the rule's decisions out. Each actuator is idempotent: it is told the wanted number with every decision and acts where
// the world differs from it. For now one: `advise`, which says the number and leaves the acting to others.
#pragma once

#include "lib/error.h"
#include "observer/rule.h"

struct actuator;

struct actuator_kind {
	const char *name; // as SCALE_ACTUATOR names it
	void *(*open)(void);
	void (*ask)(void *self, const struct rule_decision *decision);
	void (*close)(void *self);
};
extern const struct actuator_kind actuator_advise;

// ERROR_INPUT: no such actuator in this version; the message names those that there are.
int actuator_open(const char *name, struct actuator **actuator, struct error *error) MUST_USE;
const char *actuator_name(const struct actuator *actuator);
void actuator_ask(struct actuator *actuator, const struct rule_decision *decision);
void actuator_close(struct actuator *actuator); // NULL is fine
