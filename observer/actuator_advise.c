#include "lib/log.h"
#include "lib/mem.h"
#include "observer/actuator.h"

struct advise {
	int64_t wanted; // as last said; -1: nothing was said yet
};

static void *advise_open(void) {
	struct advise *advise = mem_zalloc(sizeof *advise);
	advise->wanted = -1;
	return advise;
}

static void advise_ask(void *self, const struct rule_decision *decision) {
	struct advise *advise = self;
	if (decision->wanted == advise->wanted) return;
	log_info(log_m("advice"), log_i("deseados", decision->wanted), log_i("actuales", decision->actual),
		log_s("motivo", decision->reason));
	advise->wanted = decision->wanted;
}

const struct actuator_kind actuator_advise = {
	.name = "advise",
	.open = advise_open,
	.ask = advise_ask,
	.close = free,
};
