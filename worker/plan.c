#include "worker/plan.h"

#include "lib/attr.h"
#include "lib/mem.h"
#include "worker/plan_part.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define YAML_BYTES_MAX 65536
#define FILE_BYTES_MAX 1048576

static void list_free(char **list) {
	for (char **at = list; at && *at; at++) free(*at);
	free(list);
}

void plan_clear(struct plan *plan) {
	free(plan->kind);
	free(plan->command);
	list_free(plan->argv);
	list_free(plan->env);
	list_free(plan->artifacts);
	*plan = (struct plan){.timeout_s = -1, .memory_mb = -1};
}

// ---- what a plan may ask for

const char *plan_env_fault(const char *name, size_t length) {
	static const char *const ours[] = {"CI", "HOME", "PATH", "LANG"};
	if (length == 0 || length > 200) return "a name has 1 to 200 bytes";
	if (isdigit((unsigned char)name[0])) return "a name does not start with a digit";
	for (size_t i = 0; i < length; i++)
		if (name[i] != '_' && !isalnum((unsigned char)name[i])) return "a name has only letters, digits and _";
	for (size_t i = 0; i < COUNT_OF(ours); i++)
		if (length == strlen(ours[i]) && memcmp(name, ours[i], length) == 0) return "is set by the worker";
	return length >= 8 && memcmp(name, "TRABAJO_", 8) == 0 ? "is set by the worker" : NULL;
}

const char *plan_glob_fault(const char *glob) {
	if (*glob == '\0' || strlen(glob) > PLAN_GLOB_MAX) return "a path has 1 to 500 bytes";
	if (*glob == '/') return "a path is relative to the repository's root";
	for (const char *at = glob; *at;) {
		size_t length = strcspn(at, "/");
		if (length == 2 && memcmp(at, "..", 2) == 0) return "a path has no ..";
		at += length;
		at += strspn(at, "/");
	}
	for (const char *at = glob; *at; at++)
		if (plan_is_control(*at)) return "a path has no control characters";
	return NULL;
}

// ---- the tree's files

// Never out of the tree: neither by name nor by a symbolic link. Where the kernel lacks openat2, links are not followed at all.
static int open_beneath(int tree_fd, const char *name) {
	struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	for (int tries = 0; tries < 10; tries++) {
		int fd = (int)syscall(SYS_openat2, tree_fd, name, &how, sizeof how);
		if (fd >= 0) return fd;
		if (errno == ENOSYS || errno == EPERM) return openat(tree_fd, name, (int)how.flags | O_NOFOLLOW);
		if (errno != EAGAIN && errno != EINTR) return -1;
	}
	return -1;
}

// 1: a regular file, opened; 0: none; -1: there, but out of reach.
static int open_file(int tree_fd, const char *name, int *fd, struct stat *status, struct error *error) {
	AUTO_CLOSE int opened = open_beneath(tree_fd, name);
	if (opened < 0 && (errno == EXDEV || errno == ELOOP))
		return error_set(error, ERROR_INPUT, "%s: a symbolic link that leads out of the repository, or nowhere", name);
	if (opened < 0 && (errno == ENOENT || errno == ENOTDIR)) return 0;
	if (opened < 0 || fstat(opened, status) < 0) return error_set_errno(error, ERROR_INTERNAL, errno, "%s", name);
	if (!S_ISREG(status->st_mode)) return 0;
	*fd = steal_fd(&opened);
	return 1;
}

// 1: read (owned by the caller, NUL-terminated); 0: none.
static int read_file(int tree_fd, const char *name, size_t most, char **text, size_t *length, struct error *error) {
	AUTO_CLOSE int fd = -1;
	struct stat status = {0};
	int found = open_file(tree_fd, name, &fd, &status, error);
	if (found <= 0) return found;
	if (status.st_size > (off_t)most) return error_set(error, ERROR_INPUT, "%s: larger than %zu KiB", name, most / 1024);
	AUTO_FREE char *content = mem_zalloc(most + 1);
	*length = 0;
	for (;;) {
		ssize_t got = read(fd, content + *length, most - *length);
		if (got < 0 && errno == EINTR) continue;
		if (got < 0) return error_set_errno(error, ERROR_INTERNAL, errno, "%s", name);
		if (got == 0) break;
		*length += (size_t)got;
	}
	content[*length] = '\0';
	*text = STEAL(content);
	return 1;
}

static void fill(struct plan *plan, const char *kind, const char *first, const char *second, const char *third) {
	const char *const words[] = {first, second, third};
	plan->kind = mem_strdup(kind);
	plan->argv = mem_zalloc_array(COUNT_OF(words) + 1, sizeof *plan->argv);
	for (size_t i = 0; i < COUNT_OF(words) && words[i]; i++) plan->argv[i] = mem_strdup(words[i]);
	plan->command =
		mem_format("%s%s%s%s%s", first, second ? " " : "", second ? second : "", third ? " " : "", third ? third : "");
}

// ---- the candidates: 1 applies; 0 does not, *why says what is missing; -1 broken

static int try_yaml(int tree_fd, struct plan *plan, const char **why, struct error *error) {
	AUTO_FREE char *text = NULL;
	size_t length = 0;
	*why = "trabajo.yaml";
	int found = read_file(tree_fd, "trabajo.yaml", YAML_BYTES_MAX, &text, &length, error);
	if (found <= 0) return found;
	return plan_yaml_read(text, length, plan, error) < 0 ? -1 : 1;
}

static int try_npm(int tree_fd, struct plan *plan, const char **why, struct error *error) {
	AUTO_FREE char *text = NULL;
	size_t length = 0;
	*why = "package.json with a script main";
	int found = read_file(tree_fd, "package.json", FILE_BYTES_MAX, &text, &length, error);
	if (found <= 0) return found;
	*why = "package.json with a script main (it has none)";
	found = plan_npm_has_main(text, length, error);
	if (found > 0) fill(plan, "package.json", "npm", "run", "main");
	return found;
}

static int try_make(int tree_fd, struct plan *plan, const char **why, struct error *error) {
	AUTO_FREE char *text = NULL;
	size_t length = 0;
	*why = "Makefile with a target main";
	int found = read_file(tree_fd, "Makefile", FILE_BYTES_MAX, &text, &length, error);
	if (found <= 0) return found;
	*why = "Makefile with a target main (it has none)";
	if (!plan_make_has_main(text, length)) return 0;
	fill(plan, "Makefile", "make", "main", NULL);
	return 1;
}

static int try_python(int tree_fd, struct plan *plan, const char **why, struct error *error) {
	AUTO_CLOSE int fd = -1;
	struct stat status = {0};
	*why = "main.py";
	int found = open_file(tree_fd, "main.py", &fd, &status, error);
	if (found > 0) fill(plan, "main.py", "python3", "main.py", NULL);
	return found;
}

static int try_executable(int tree_fd, const char *name, struct plan *plan, struct error *error) {
	AUTO_CLOSE int fd = -1;
	struct stat status = {0};
	int found = open_file(tree_fd, name, &fd, &status, error);
	if (found <= 0) return found;
	if (!(status.st_mode & S_IXUSR)) return 2;
	AUTO_FREE char *path = mem_format("./%s", name);
	fill(plan, name, path, NULL, NULL);
	return 1;
}

static int try_main_sh(int tree_fd, struct plan *plan, const char **why, struct error *error) {
	int found = try_executable(tree_fd, "main.sh", plan, error);
	*why = found == 2 ? "executable main.sh (it is not executable: git update-index --chmod=+x main.sh)"
			  : "executable main.sh";
	return found == 2 ? 0 : found;
}

static int try_main(int tree_fd, struct plan *plan, const char **why, struct error *error) {
	int found = try_executable(tree_fd, "main", plan, error);
	*why = found == 2 ? "executable main (it is not executable: git update-index --chmod=+x main)" : "executable main";
	return found == 2 ? 0 : found;
}

static int check_size(const struct plan *plan, struct error *error) {
	AUTO_JSON json_t *json = plan_json(plan);
	AUTO_FREE char *text = json ? json_write(json) : NULL;
	if (text && strlen(text) <= PLAN_TEXT_MAX) return 0;
	return error_set(error, ERROR_INPUT, "%s: asks for more than fits into %d bytes", plan->kind, PLAN_TEXT_MAX);
}

int plan_detect(int tree_fd, struct plan *plan, char **looked_for, struct error *error) {
	typedef int candidate(int tree_fd, struct plan *plan, const char **why, struct error *error);
	static candidate *const candidates[] = {try_yaml, try_npm, try_make, try_python, try_main_sh, try_main};
	AUTO_FREE char *list = mem_strdup("");
	*plan = (struct plan){.timeout_s = -1, .memory_mb = -1};
	*looked_for = NULL;
	for (size_t i = 0; i < COUNT_OF(candidates); i++) {
		const char *why = NULL;
		int found = candidates[i](tree_fd, plan, &why, error);
		if (found > 0 && check_size(plan, error) == 0) return 0;
		if (found != 0) {
			plan_clear(plan);
			return -1;
		}
		char *longer = mem_format("%s%s%s", list, i > 0 ? ", " : "", why);
		free(list);
		list = longer;
	}
	const char *hint = plan_hint(tree_fd);
	*looked_for = mem_format("%s%s%s", list, hint ? "; " : "", hint ? hint : "");
	return 1;
}

// ---- as JSON

static json_t *list_json(char *const *list) {
	json_t *array = json_array();
	for (; list && *list; list++) json_array_append_new(array, json_string(*list));
	return array;
}

json_t *plan_json(const struct plan *plan) {
	return json_pack("{s:s, s:s, s:o, s:I, s:I, s:o, s:o}", "kind", plan->kind, "command", plan->command, "argv",
		list_json(plan->argv), "timeout_s", (json_int_t)plan->timeout_s, "memory_mb", (json_int_t)plan->memory_mb,
		"env", list_json(plan->env), "artifacts", list_json(plan->artifacts));
}

static int read_list(const json_t *json, const char *name, size_t most, char ***list, struct error *error) {
	const json_t *array = json_object_get(json, name);
	size_t count = json_array_size(array);
	if (!json_is_array(array) || count > most)
		return error_set(error, ERROR_INPUT, "plan: %s is no list of at most %zu", name, most);
	*list = mem_zalloc_array(count + 1, sizeof **list);
	for (size_t i = 0; i < count; i++) {
		const json_t *item = json_array_get(array, i);
		if (!json_is_string(item) || strlen(json_string_value(item)) != json_string_length(item))
			return error_set(error, ERROR_INPUT, "plan: %s holds what is no text", name);
		(*list)[i] = mem_strdup(json_string_value(item));
	}
	return 0;
}

static int check_lists(const struct plan *plan, struct error *error) {
	if (!plan->argv[0] || !plan->argv[0][0]) return error_set(error, ERROR_INPUT, "plan: argv is empty");
	for (char **env = plan->env; *env; env++) {
		size_t length = strcspn(*env, "=");
		if ((*env)[length] != '=' || plan_env_fault(*env, length))
			return error_set(error, ERROR_INPUT, "plan: bad name in env");
	}
	for (char **glob = plan->artifacts; *glob; glob++)
		if (plan_glob_fault(*glob)) return error_set(error, ERROR_INPUT, "plan: bad path in artifacts");
	return 0;
}

static int check_kind(const struct plan *plan, struct error *error) {
	static const char *const kinds[] = {"trabajo.yaml", "package.json", "Makefile", "main.py", "main.sh", "main"};
	for (size_t i = 0; plan->kind && i < COUNT_OF(kinds); i++)
		if (strcmp(plan->kind, kinds[i]) == 0) return 0;
	return error_set(error, ERROR_INPUT, "plan: unknown kind");
}

static int check_command(const char *command, struct error *error) {
	if (!command || !*command) return error_set(error, ERROR_INPUT, "plan: command is no text");
	for (const char *at = command; *at; at++)
		if (plan_is_control(*at)) return error_set(error, ERROR_INPUT, "plan: command has control characters");
	return 0;
}

static int read_amount(const json_t *json, const char *name, int64_t most, int64_t *amount, struct error *error) {
	if (json_int(json, name, -1, most, -1, amount, error) < 0) return error_wrap(error, "plan");
	return *amount != 0 ? 0 : error_set(error, ERROR_INPUT, "plan: %s is 0", name);
}

static int read_members(const json_t *json, struct plan *plan, struct error *error) {
	if (!json_is_object(json) || json_object_size(json) != 7)
		return error_set(error, ERROR_INPUT, "plan: not the seven members");
	plan->kind = mem_strdup(json_text(json, "kind"));
	plan->command = mem_strdup(json_text(json, "command"));
	if (check_kind(plan, error) < 0) return -1;
	if (check_command(plan->command, error) < 0) return -1;
	if (read_amount(json, "timeout_s", PLAN_TIMEOUT_S_MAX, &plan->timeout_s, error) < 0) return -1;
	if (read_amount(json, "memory_mb", PLAN_MEMORY_MB_MAX, &plan->memory_mb, error) < 0) return -1;
	if (read_list(json, "argv", 3, &plan->argv, error) < 0) return -1;
	if (read_list(json, "env", PLAN_ENV_MAX, &plan->env, error) < 0) return -1;
	if (read_list(json, "artifacts", PLAN_ARTIFACTS_MAX, &plan->artifacts, error) < 0) return -1;
	return check_lists(plan, error);
}

int plan_read(const json_t *json, struct plan *plan, struct error *error) {
	*plan = (struct plan){.timeout_s = -1, .memory_mb = -1};
	if (read_members(json, plan, error) == 0) return 0;
	plan_clear(plan);
	return -1;
}
