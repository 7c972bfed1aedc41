#include "cli/session.h"

#include "cli/words.h"
#include "lib/client.h"
#include "lib/digest.h"
#include "lib/json.h"
#include "lib/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define MOST_BYTES 262144
#define NAME_MOST  180 // bytes of a file's name, less what stands behind it

void session_clear(struct session *session) {
	char *const texts[] = {session->server, session->usuario, session->issuer, session->client, session->token_endpoint,
		session->revocation_endpoint, session->access_token, session->refresh_token};
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		if (texts[i]) explicit_bzero(texts[i], strlen(texts[i]));
		free(texts[i]);
	}
	*session = (struct session){0};
}

// ---- where

static char *folder_name(void) {
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	if (config && *config == '/')
		return mem_format("%s/trabajos", config); // a relative one is to be ignored, says the standard
	if (home && *home == '/') return mem_format("%s/.config/trabajos", home);
	const struct passwd *account = getpwuid(getuid());
	return mem_format("%s/.config/trabajos", account ? account->pw_dir : "");
}

static int make_folders(const char *path, struct error *error) {
	AUTO_FREE char *part = mem_strdup(path);
	for (char *slash = strchr(part + 1, '/');; slash = strchr(slash + 1, '/')) {
		if (slash) *slash = '\0';
		if (mkdir(part, 0700) && errno != EEXIST) return error_set_errno(error, ERROR_INPUT, errno, "%s", part);
		if (!slash) return 0;
		*slash = '/';
	}
}

// The folder, which is nobody else's. `make`: where it is not there it is made, else -1 with errno's ENOENT and no error.
static int open_folder(bool make, struct error *error) {
	AUTO_FREE char *path = folder_name();
	if (make && make_folders(path, error)) return -1;
	AUTO_CLOSE int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat about;
	if (folder < 0 && errno == ENOENT && !make) return -1;
	if (folder < 0 || fstat(folder, &about)) return error_set_errno(error, ERROR_INPUT, errno, "%s", path);
	if (about.st_uid != geteuid())
		return error_set(
			error, ERROR_INPUT, _("%s belongs to somebody else: set XDG_CONFIG_HOME to a folder of yours"), path);
	if ((about.st_mode & 077) && fchmod(folder, 0700)) return error_set_errno(error, ERROR_INPUT, errno, "%s", path);
	return steal_fd(&folder);
}

// A server's URL as a name; very long ones by their digest.
static char *name_of(const char *server, const char *ending) {
	AUTO_FREE char *name = client_escape(server);
	char digest[DIGEST_TEXT];
	digest_sha256_hex(server, strlen(server), digest);
	return mem_format("%s%s", strlen(name) > NAME_MOST ? digest : name, ending);
}

// ---- reading

static char *text_of(const json_t *json, const char *name) {
	return mem_strdup(json_text(json, name));
}

static int read_json(const json_t *json, const char *server, struct session *session) {
	*session = (struct session){.server = text_of(json, "server"),
		.usuario = text_of(json, "usuario"),
		.issuer = text_of(json, "issuer"),
		.client = text_of(json, "client"),
		.token_endpoint = text_of(json, "token_endpoint"),
		.revocation_endpoint = text_of(json, "revocation_endpoint"),
		.access_token = text_of(json, "access_token"),
		.refresh_token = text_of(json, "refresh_token"),
		.expires_ms = json_integer_value(json_object_get(json, "expires_ms"))};
	bool whole = session->server && session->usuario && session->issuer && session->client && session->token_endpoint &&
		     session->access_token;
	return whole && strcmp(session->server, server) == 0 ? 0 : -1;
}

static int read_file(int fd, const char *name, char **text, size_t *length, struct error *error) {
	struct stat about;
	if (fstat(fd, &about)) return error_set_errno(error, ERROR_INPUT, errno, "%s", name);
	if (!S_ISREG(about.st_mode) || about.st_uid != geteuid() || (about.st_mode & 077))
		return error_set(error, ERROR_INPUT, _("%s is not for you alone: remove it and log in again"), name);
	*text = mem_zalloc(MOST_BYTES);
	*length = 0;
	for (ssize_t got = 1; got > 0 && *length < MOST_BYTES; *length += (size_t)got) {
		got = read(fd, *text + *length, MOST_BYTES - *length);
		if (got < 0 && errno == EINTR) got = 0;
		if (got < 0) return error_set_errno(error, ERROR_INPUT, errno, "%s", name);
	}
	return 0;
}

int session_load(const char *server, struct session *session, struct error *error) {
	*session = (struct session){0};
	AUTO_ERROR struct error why = {0};
	AUTO_CLOSE int folder = open_folder(false, &why);
	if (folder < 0) return why.kind ? error_set(error, why.kind, "%s", error_text(&why)) : 1;
	AUTO_FREE char *name = name_of(server, ".json"), *text = NULL;
	AUTO_CLOSE int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) return 1;
	if (fd < 0) return error_set_errno(error, ERROR_INPUT, errno, "%s", name);
	size_t length;
	AUTO_JSON json_t *json = NULL;
	if (read_file(fd, name, &text, &length, error)) return -1;
	int result = json_read(text, length, MOST_BYTES, &json, NULL) ? -1 : read_json(json, server, session);
	explicit_bzero(text, MOST_BYTES);
	if (result == 0) return 0;
	session_clear(session);
	return error_set(error, ERROR_INPUT, _("%s cannot be read: log in again"), name);
}

// ---- writing

static int write_all(int fd, const char *text, size_t length) {
	while (length) {
		ssize_t wrote = write(fd, text, length);
		if (wrote < 0 && errno == EINTR) continue;
		if (wrote < 0) return -1;
		text += wrote;
		length -= (size_t)wrote;
	}
	return fsync(fd);
}

int session_store(const struct session *session, struct error *error) {
	AUTO_CLOSE int folder = open_folder(true, error);
	if (folder < 0) return -1;
	AUTO_JSON json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s*, s:s, s:s*, s:I}", "server", session->server,
		"usuario", session->usuario, "issuer", session->issuer, "client", session->client, "token_endpoint",
		session->token_endpoint, "revocation_endpoint", session->revocation_endpoint, "access_token",
		session->access_token, "refresh_token", session->refresh_token, "expires_ms", (json_int_t)session->expires_ms);
	if (!json) return error_set(error, ERROR_INTERNAL, "the session is no UTF-8");
	AUTO_FREE char *text = json_write(json), *name = name_of(session->server, ".json");
	AUTO_FREE char *anew = name_of(session->server, ".new");
	unlinkat(folder, anew, 0); // of a command that was killed: who writes holds the lock
	AUTO_CLOSE int fd = openat(folder, anew, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	bool fine = fd >= 0 && write_all(fd, text, strlen(text)) == 0 && renameat(folder, anew, folder, name) == 0;
	int number = errno;
	explicit_bzero(text, strlen(text));
	return fine ? 0 : error_set_errno(error, ERROR_INPUT, number, _("the session cannot be kept: %s"), name);
}

int session_remove(const char *server, struct error *error) {
	AUTO_CLOSE int folder = open_folder(true, error);
	AUTO_FREE char *name = name_of(server, ".json");
	if (folder < 0) return -1;
	if (unlinkat(folder, name, 0) == 0 || errno == ENOENT) return 0;
	return error_set_errno(error, ERROR_INPUT, errno, "%s", name);
}

int session_lock(const char *server, struct error *error) {
	AUTO_CLOSE int folder = open_folder(true, error);
	if (folder < 0) return -1;
	AUTO_FREE char *name = name_of(server, ".lock");
	AUTO_CLOSE int fd = openat(folder, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	int result = -1;
	while (fd >= 0 && (result = flock(fd, LOCK_EX)) && errno == EINTR) continue;
	if (result) return error_set_errno(error, ERROR_INPUT, errno, "%s", name);
	return steal_fd(&fd);
}

char *session_elsewhere(const char *server) {
	AUTO_CLOSE int folder = open_folder(false, NULL);
	if (folder < 0) return NULL;
	DIR *entries = fdopendir(folder);
	if (!entries) return NULL;
	steal_fd(&folder);
	char *found = NULL;
	for (const struct dirent *entry; !found && (entry = readdir(entries));) {
		AUTO_CLOSE int fd = openat(dirfd(entries), entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		const char *ending = strrchr(entry->d_name, '.');
		AUTO_FREE char *text = NULL;
		AUTO_JSON json_t *json = NULL;
		size_t length = 0;
		if (fd < 0 || !ending || strcmp(ending, ".json") != 0 || read_file(fd, entry->d_name, &text, &length, NULL) ||
			json_read(text, length, MOST_BYTES, &json, NULL))
			continue;
		const char *other = json_text(json, "server");
		if (other && strcmp(other, server) != 0) found = mem_strdup(other);
	}
	closedir(entries);
	return found;
}
