#include "worker/credentials.h"

#include "lib/digest.h"
#include "lib/json.h"
#include "lib/mem.h"
#include "lib/trabajo.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_BYTES_MAX 1048576
#define ENTRIES_MAX    1000
#define NAME_BYTES_MAX 255
#define PASSWORD_MAX   8192 // tokens of some forges are JWTs

struct entry {
	struct credential credential;
	struct giturl url;
	json_t *users, *subs; // arrays of texts, sorted; may be empty, not both
};

struct credentials {
	char *path;
	struct stat seen;
	struct entry *entries;
	size_t count;
};

static void wipe(char *secret) {
	if (secret) explicit_bzero(secret, strlen(secret));
	free(secret);
}

static void entries_free(struct entry *entries, size_t count) {
	for (size_t i = 0; i < count; i++) {
		free(entries[i].credential.id);
		free(entries[i].credential.username);
		wipe(entries[i].credential.password);
		giturl_clear(&entries[i].url);
		json_decref(entries[i].users);
		json_decref(entries[i].subs);
	}
	free(entries);
}

// ---- one entry

// As error_set, whose -1 the analyser cannot see.
#define REFUSE(...) (error_set(error, ERROR_INPUT, __VA_ARGS__), -1)

static bool is_clean(const char *text, size_t most) {
	size_t length = strlen(text);
	for (const char *at = text; *at; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f) return false;
	return length > 0 && length <= most;
}

static int check_members(const json_t *json, struct error *error) {
	static const char *const known[] = {"url", "username", "password", "users", "subs"};
	json_t *object = (json_t *)(uintptr_t)json;
	if (!json_is_object(json)) return REFUSE("is no JSON object");
	for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
		bool found = false;
		for (size_t i = 0; i < COUNT_OF(known); i++) found = found || strcmp(json_object_iter_key(at), known[i]) == 0;
		if (!found) return REFUSE("has a member that is not known (known: url, username, password, users, subs)");
	}
	return 0;
}

// Whatever the host: an entry opens nothing that GIT_ALLOW does not open.
static int read_url(const json_t *json, struct giturl *url, struct error *error) {
	struct giturl_rules *rules = NULL;
	const char *text = json_text(json, "url");
	if (!text) return REFUSE("url is missing");
	if (strchr(text, ',')) return REFUSE("url: a comma must be written as %%2C");
	int done = giturl_rules_parse(text, &rules, error);
	if (done == 0) done = giturl_check(text, rules, url, error);
	giturl_rules_free(rules);
	if (done == 0) return 0;
	if (error) error->kind = ERROR_INPUT;
	return error_wrap(error, "url");
}

static int read_secret(const json_t *json, struct credential *credential, struct error *error) {
	const char *username = json_text(json, "username"), *password = json_text(json, "password");
	if (!username || !is_clean(username, NAME_BYTES_MAX) || strchr(username, ':'))
		return REFUSE("username must be a text of 1 to %d bytes without a colon", NAME_BYTES_MAX);
	if (!password || !is_clean(password, PASSWORD_MAX))
		return REFUSE("password must be a text of 1 to %d bytes, on one line", PASSWORD_MAX);
	credential->username = mem_strdup(username);
	credential->password = mem_strdup(password);
	return 0;
}

static int compare(const void *left, const void *right) {
	return strcmp(*(const char *const *)left, *(const char *const *)right);
}

// Sorted, so that the order in which users are named makes no difference.
static json_t *sorted(const json_t *array) {
	size_t count = json_array_size(array);
	const char **names = mem_zalloc_array(count + 1, sizeof *names);
	json_t *copy = json_array();
	for (size_t i = 0; i < count; i++) names[i] = json_string_value(json_array_get(array, i));
	qsort(names, count, sizeof *names, compare);
	for (size_t i = 0; i < count; i++) json_array_append_new(copy, json_string(names[i]));
	free(names);
	return copy;
}

static int read_names(const json_t *json, const char *member, json_t **names, struct error *error) {
	const json_t *array = json_object_get(json, member), *name;
	size_t index;
	if (array && !json_is_array(array)) return REFUSE("%s must be an array of names", member);
	json_array_foreach(array, index, name) {
		if (!json_is_string(name) || !is_clean(json_string_value(name), NAME_BYTES_MAX))
			return REFUSE("%s must hold texts of 1 to %d bytes", member, NAME_BYTES_MAX);
	}
	*names = sorted(array);
	return 0;
}

static char *make_id(const struct entry *entry) {
	AUTO_JSON json_t *whose = json_pack("{s:s, s:s, s:O, s:O}", "url", entry->url.text, "username",
		entry->credential.username, "users", entry->users, "subs", entry->subs);
	if (!whose) return NULL;
	AUTO_FREE char *text = json_write(whose);
	char *id = mem_zalloc(DIGEST_TEXT);
	digest_sha256_hex(text, strlen(text), id);
	return id;
}

static int read_entry(const json_t *json, struct entry *entry, struct error *error) {
	if (check_members(json, error) < 0 || read_url(json, &entry->url, error) < 0 ||
		read_secret(json, &entry->credential, error) < 0 || read_names(json, "users", &entry->users, error) < 0 ||
		read_names(json, "subs", &entry->subs, error) < 0)
		return -1;
	if (json_array_size(entry->users) + json_array_size(entry->subs) == 0)
		return REFUSE("names nobody who may use it: users (\"*\": everybody) or subs");
	entry->credential.id = make_id(entry);
	return entry->credential.id ? 0 : REFUSE("holds what is no text");
}

// ---- the file

static int read_list(const json_t *list, struct entry *entries, struct error *error) {
	for (size_t i = 0; i < json_array_size(list); i++) {
		if (read_entry(json_array_get(list, i), &entries[i], error) < 0) return error_wrap(error, "entry %zu", i + 1);
		for (size_t j = 0; j < i; j++)
			if (strcmp(entries[i].credential.id, entries[j].credential.id) == 0)
				return REFUSE("entries %zu and %zu are for the same url, username and users", j + 1, i + 1);
	}
	return 0;
}

static int check_file(const struct stat *status, struct error *error) {
	if (!S_ISREG(status->st_mode)) return REFUSE("no regular file");
	if (status->st_uid != 0 && status->st_uid != geteuid())
		return REFUSE("belongs to uid %u, who could change it: it must be root's or the worker's own", status->st_uid);
	if (status->st_mode & (S_IRWXO | S_IWGRP | S_IXGRP))
		return REFUSE("others can read it, or its group can change it (mode %04o): chmod 600", status->st_mode & 07777);
	if (status->st_size > FILE_BYTES_MAX) return REFUSE("larger than %d bytes", FILE_BYTES_MAX);
	return 0;
}

// What a file of that size holds; NUL-terminated, to be wiped.
static char *read_text(int fd, size_t size, size_t *length) {
	char *text = mem_zalloc(size + 1);
	for (*length = 0; *length < size;) {
		ssize_t got = read(fd, text + *length, size - *length);
		if (got < 0 && errno == EINTR) continue;
		if (got <= 0) break;
		*length += (size_t)got;
	}
	return text;
}

static int load(struct credentials *credentials, struct error *error) {
	AUTO_JSON json_t *list = NULL;
	size_t length;
	AUTO_CLOSE int fd = open(credentials->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &credentials->seen) < 0)
		return error_set_errno(error, ERROR_INPUT, errno, "%s", credentials->path);
	if (check_file(&credentials->seen, error) < 0) return error_wrap(error, "%s", credentials->path);
	char *text = read_text(fd, (size_t)credentials->seen.st_size, &length);
	int done = json_read(text, length, FILE_BYTES_MAX, &list, error);
	explicit_bzero(text, length);
	free(text);
	if (done < 0) return error_wrap(error, "%s", credentials->path);
	size_t count = json_array_size(list);
	if (!json_is_array(list) || count > ENTRIES_MAX)
		return REFUSE("%s: must be a JSON array of at most %d entries", credentials->path, ENTRIES_MAX);
	struct entry *entries = mem_zalloc_array(count + 1, sizeof *entries);
	if (read_list(list, entries, error) < 0) {
		entries_free(entries, count);
		return error_wrap(error, "%s", credentials->path);
	}
	entries_free(credentials->entries, credentials->count);
	credentials->entries = entries;
	credentials->count = count;
	return 0;
}

static bool is_same(const struct stat *left, const struct stat *right) {
	return left->st_dev == right->st_dev && left->st_ino == right->st_ino && left->st_size == right->st_size &&
	       left->st_mode == right->st_mode && left->st_uid == right->st_uid &&
	       left->st_mtim.tv_sec == right->st_mtim.tv_sec && left->st_mtim.tv_nsec == right->st_mtim.tv_nsec;
}

int credentials_refresh(struct credentials *credentials, struct error *error) {
	struct stat now = {0};
	if (!*credentials->path) return 0;
	// One that is not there any more has a state too: all zeros.
	if (stat(credentials->path, &now) < 0) now = (struct stat){0};
	if (is_same(&now, &credentials->seen)) return 0;
	credentials->seen = now;
	return load(credentials, error) < 0 ? -1 : 1;
}

void credentials_free(struct credentials *credentials) {
	if (!credentials) return;
	entries_free(credentials->entries, credentials->count);
	free(credentials->path);
	free(credentials);
}

int credentials_open(const char *path, struct credentials **credentials, struct error *error) {
	struct credentials *opened = mem_zalloc(sizeof *opened);
	opened->path = mem_strdup(path ? path : "");
	if (*opened->path && load(opened, error) < 0) {
		credentials_free(opened);
		return -1;
	}
	*credentials = opened;
	return 0;
}

// ---- whose

static bool covers(const struct giturl *folder, const struct giturl *url) {
	size_t length = strlen(folder->path);
	while (length > 0 && folder->path[length - 1] == '/') length--;
	return strcmp(folder->scheme, url->scheme) == 0 && strcmp(folder->host, url->host) == 0 && folder->port == url->port &&
	       strncmp(folder->path, url->path, length) == 0 && (url->path[length] == '/' || url->path[length] == '\0');
}

static bool holds(const json_t *names, const char *wanted) {
	size_t index;
	const json_t *name;
	json_array_foreach(names, index, name) {
		if (strcmp(json_string_value(name), wanted) == 0) return true;
	}
	return false;
}

static bool serves(const struct entry *entry, const char *owner, const char *usuario) {
	bool somebody = strcmp(owner, TRABAJO_NOBODY) != 0;
	return holds(entry->subs, owner) || holds(entry->users, usuario) || (somebody && holds(entry->users, "*"));
}

const struct credential *credentials_find(
	const struct credentials *credentials, const struct giturl *url, const char *owner, const char *usuario) {
	const struct entry *best = NULL;
	for (size_t i = 0; i < credentials->count; i++) {
		const struct entry *entry = &credentials->entries[i];
		if (!covers(&entry->url, url) || !serves(entry, owner, usuario)) continue;
		if (!best || strlen(entry->url.path) > strlen(best->url.path)) best = entry;
	}
	return best ? &best->credential : NULL;
}
