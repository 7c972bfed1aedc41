#include "frontend/auth_try.h"

#define TIMEOUT_MS 5000
#define LOOK_MS    20

// Looks until the keys are there, the first fetch has failed, or it took too long.
struct looking {
	struct loop *loop;
	struct auth *auth;
	struct loop_timer *timer;
	int64_t until_ms;
	struct error *error;
	bool ready;
};

static void look(void *arg) {
	struct looking *looking = arg;
	looking->ready = auth_ready(looking->auth, looking->error);
	if (looking->ready || auth_failed(looking->auth) || loop_now_ms() >= looking->until_ms)
		loop_stop(looking->loop);
	else
		loop_timer_set(looking->timer, LOOK_MS);
}

int auth_try(const struct auth_config *config, struct error *error) {
	struct looking looking = {.loop = loop_new(), .until_ms = loop_now_ms() + TIMEOUT_MS, .error = error};
	struct client *client = client_new(looking.loop);
	looking.auth = auth_open(looking.loop, client, config);
	looking.timer = loop_timer_new(looking.loop, look, &looking);
	loop_timer_set(looking.timer, LOOK_MS);
	loop_run(looking.loop);
	loop_timer_free(looking.timer);
	client_free(client);
	auth_close(looking.auth);
	loop_free(looking.loop);
	if (!looking.ready) return -1;
	error_clear(error);
	return 0;
}
