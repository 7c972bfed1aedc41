#include "lib/follow.h"

#include "lib/mem.h"

#include <string.h>

#define KEYS_MOST  200 // of one notification, which PostgreSQL limits to 8000 bytes
#define TIMEOUT_MS 5000
#define ASK        "?"

static void told(enum db_status status UNUSED, const struct db_result *result UNUSED, const struct error *error UNUSED,
	void *arg UNUSED) {}

static char *payload_of(const char (*keys)[UUID_TEXT], size_t count) {
	char *payload = mem_zalloc(count * UUID_TEXT);
	for (size_t i = 0; i < count; i++) {
		memcpy(payload + i * UUID_TEXT, keys[i], UUID_TEXT - 1);
		payload[(i + 1) * UUID_TEXT - 1] = i + 1 < count ? ' ' : '\0';
	}
	return payload;
}

// Without waiting for the disk: nothing of it has to outlive a crash.
static void tell(struct db_session *session, const char *channel, const char *payload) {
	static const struct db_statement notify = {
		"follow_tell", "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1::text, $2::text)"};
	struct db_params *params = db_params_new();
	db_text(params, channel);
	db_text(params, payload);
	db_run(session, &notify, params, 0, TIMEOUT_MS, told, NULL);
}

void follow_tell(struct db_session *session, const char *channel, const char (*keys)[UUID_TEXT], size_t count) {
	if (!db_session_ready(session)) return;
	for (size_t from = 0; from < count; from += KEYS_MOST) {
		AUTO_FREE char *payload = payload_of(keys + from, count - from < KEYS_MOST ? count - from : KEYS_MOST);
		tell(session, channel, payload);
	}
}

void follow_ask(struct db_session *session) {
	tell(session, FOLLOW_NEWS, ASK);
}

bool follow_asked(const char *payload) {
	return strcmp(payload, ASK) == 0;
}

bool follow_key(const char **payload, char key[UUID_TEXT]) {
	while (**payload) {
		AUTO_FREE char *word = mem_strndup(*payload, strcspn(*payload, " "));
		*payload += strlen(word);
		*payload += strspn(*payload, " ");
		if (uuid_parse_text(word, key) == 0) return true;
	}
	return false;
}
