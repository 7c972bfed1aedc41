// The frontend's options.
#pragma once

#include "lib/blobs.h"
#include "lib/db.h"
#include "lib/kafka.h"
#include "lib/option.h"

struct frontend_options {
	struct kafka_config kafka;
	struct db_config db;
	char *listen, *trusted_proxies, *public_url, *cors_origins, *metrics_listen;
	int64_t connections, connections_per_address;
	int64_t followers, followers_per_user;
	int64_t rate_per_s, rate_burst;
	int64_t user_running;
	char *issuer, *jwks_url, *audience;
	char *git_allow, *webhook_allow;
	struct blobs_config store;
};

extern struct frontend_options frontend_options;
extern const struct option frontend_option_table[];
extern const size_t frontend_option_count;

// What the table cannot say. ERROR_INPUT; the message names the option.
int frontend_options_check(struct error *error) MUST_USE;
