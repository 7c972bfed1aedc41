#include "cli/auth.h"

#include "cli/cli.h"
#include "cli/oidc.h"
#include "cli/words.h"
#include "lib/loop.h"
#include "lib/mem.h"

#include <errno.h>
#include <string.h>

#define BEFORE_MS  30000 // before its end a token is renewed: it has a way to go
#define TOKEN_MOST 8192  // as the server takes it

static char *current;

static const char *keep(const char *token) {
	char *copy = mem_strdup(token);
	if (current) explicit_bzero(current, strlen(current));
	free(current);
	return current = copy;
}

static int not_logged_in(struct error *error) {
	AUTO_FREE char *other = session_elsewhere(cli.server);
	if (!other) return error_set(error, ERROR_DENIED, _("not logged in to %s: run trabajos login"), cli.server);
	return error_set(error, ERROR_DENIED,
		_("not logged in to %s: run trabajos login; or, for %s, where you are logged in, add --server or set TRABAJOS_URL"),
		cli.server, other);
}

// ---- given by the environment

static int given_file(const char *path, char token[TOKEN_MOST + 2], struct error *error) {
	AUTO_FCLOSE FILE *file = fopen(path, "re");
	if (!file) return error_set_errno(error, ERROR_INPUT, errno, "TRABAJOS_TOKEN_FILE");
	size_t length = fread(token, 1, TOKEN_MOST + 1, file);
	token[length] = '\0';
	return 0;
}

// 1: none is given.
static int given(const char **token, struct error *error) {
	const char *text = getenv("TRABAJOS_TOKEN"), *path = getenv("TRABAJOS_TOKEN_FILE");
	char read[TOKEN_MOST + 2];
	if (!text || !*text) {
		if (!path || !*path) return 1;
		if (given_file(path, read, error)) return -1;
		text = read;
	}
	AUTO_FREE char *copy = mem_strndup(text, TOKEN_MOST);
	copy[strcspn(copy, " \r\n")] = '\0';
	for (const char *at = copy; *at; at++)
		if (*at <= ' ' || *at > '~') return error_set(error, ERROR_INPUT, _("TRABAJOS_TOKEN: it is no access token"));
	*token = keep(copy);
	return 0;
}

// ---- of the session

static bool is_fresh(const struct session *session, const char *refused) {
	if (refused) return strcmp(session->access_token, refused) != 0;
	return session->expires_ms - BEFORE_MS > loop_wall_ms();
}

// Another command may have renewed it meanwhile: looked at again under the lock.
static int renew(struct session *session, const char *refused, struct error *error) {
	AUTO_CLOSE int lock = session_lock(cli.server, error);
	if (lock < 0) return -1;
	session_clear(session);
	int none = session_load(cli.server, session, error);
	if (none) return none < 0 ? -1 : not_logged_in(error);
	if (is_fresh(session, refused)) return 0;
	if (oidc_refresh(session, error) == 0) return session_store(session, error);
	if (error->kind != ERROR_DENIED) return error_wrap(error, "%s", _("the token could not be renewed"));
	AUTO_FREE char *why = mem_strdup(error_text(error));
	return error_set(error, ERROR_DENIED, _("the session at %s has ended (%s): run trabajos login"), cli.server, why);
}

const char *auth_token(const char *refused, struct error *error) {
	const char *token = NULL;
	AUTO_FREE char *no_more = mem_strdup(refused); // it may be the text that goes
	int none = given(&token, error);
	if (none == 0 && token && no_more && strcmp(token, no_more) == 0) {
		error_set(error, ERROR_DENIED, _("TRABAJOS_TOKEN was refused: it has expired, or is of another server"));
		return NULL;
	}
	if (none <= 0) return none == 0 ? token : NULL;
	struct session session;
	none = session_load(cli.server, &session, error);
	int result = none > 0 ? not_logged_in(error) : none;
	if (result == 0 && !is_fresh(&session, no_more)) result = renew(&session, no_more, error);
	if (result == 0) token = keep(session.access_token);
	session_clear(&session);
	return result ? NULL : token;
}
