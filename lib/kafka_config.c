// Configuration that all clients share.
#include "lib/kafka_internal.h"
#include "lib/log.h"
#include "lib/mem.h"

static const struct kafka_setting common[] = {
	{"client.id", "trabajos"},
	// a topic that a broker made by itself would not have our settings
	{"allow.auto.create.topics", "false"},
	{"socket.keepalive.enable", "true"},
	{"socket.nagle.disable", "true"},
	{"reconnect.backoff.ms", "100"},
	{"reconnect.backoff.max.ms", "2000"},
	{NULL, NULL},
};

// The libraries do not log, with this exception: what librdkafka has to say comes on its own threads and has no caller.
static void write_log(const rd_kafka_t *rk UNUSED, int level, const char *facility, const char *message) {
	// KAFKA_CONFIG goes to producers and consumers alike, and each warns of the other's settings
	int loud = level <= 4 && strcmp(facility, "CONFWARN") != 0;
	if (loud)
		log_warn(log_m("kafka"), log_s("facility", facility), log_s("text", message));
	else
		log_debug(log_m("kafka"), log_s("facility", facility), log_s("text", message));
}

static int set(rd_kafka_conf_t *conf, const char *name, const char *value, struct error *error) {
	char why[512];
	if (rd_kafka_conf_set(conf, name, value, why, sizeof(why)) == RD_KAFKA_CONF_OK) return 0;
	return error_set(error, ERROR_INPUT, "%s", why);
}

static int set_all(rd_kafka_conf_t *conf, const struct kafka_setting *settings, struct error *error) {
	for (; settings->name; settings++)
		if (set(conf, settings->name, settings->value, error)) return -1;
	return 0;
}

// One "key=value" off the text, which ends at a comma; "\," is a comma and "\\" a backslash. Returns what follows.
static const char *cut(const char *text, char *piece) {
	while (*text && *text != ',') {
		if (*text == '\\' && (text[1] == ',' || text[1] == '\\')) text++;
		*piece++ = *text++;
	}
	*piece = '\0';
	return *text ? text + 1 : text;
}

static int set_extra(rd_kafka_conf_t *conf, const char *text, struct error *error) {
	AUTO_FREE char *piece = mem_zalloc(strlen(text) + 1);
	while (*text) {
		text = cut(text, piece);
		char *name = piece + strspn(piece, " \t\n");
		char *equals = strchr(name, '=');
		if (!*name) continue;
		// the piece is not shown: it may be a part of a password
		if (!equals)
			return error_set(error, ERROR_INPUT, "KAFKA_CONFIG: a part without '=' (write a comma as \"\\,\")");
		*equals = '\0';
		if (set(conf, name, equals + 1, NULL))
			return error_set(error, ERROR_INPUT, "KAFKA_CONFIG: bad setting '%s'", name);
	}
	return 0;
}

rd_kafka_conf_t *kafka_conf_make(const struct kafka_config *config, const struct kafka_setting *defaults,
	const struct kafka_setting *fixed, struct error *error) {
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_conf_set_log_cb(conf, write_log);
	if (set(conf, "bootstrap.servers", config->bootstrap, error))
		error_wrap(error, "KAFKA_BOOTSTRAP");
	else if (!set_all(conf, common, error) && !set_all(conf, defaults, error) &&
		 !set_extra(conf, config->extra ? config->extra : "", error) && !set_all(conf, fixed, error))
		return conf;
	rd_kafka_conf_destroy(conf);
	return NULL;
}

rd_kafka_t *kafka_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, struct error *error) {
	char why[512];
	rd_kafka_t *rk = rd_kafka_new(type, conf, why, sizeof(why));
	if (rk) return rk;
	rd_kafka_conf_destroy(conf);
	error_set(error, ERROR_INPUT, "Kafka: %s", why);
	return NULL;
}
