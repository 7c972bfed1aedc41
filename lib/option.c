#include "lib/option.h"

#include "lib/mem.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <strings.h>

#define SECRET_BYTES_MAX 65536

// A value as it may stand in a line for people: control characters never reach the terminal, and a bounded length.
static char *shown(const char *value) {
	char *copy = strlen(value) > 80 ? mem_format("%.80s...", value) : mem_strdup(value);
	for (char *at = copy; *at; at++) {
		if ((unsigned char)*at < 0x20 || (unsigned char)*at >= 0x7f) *at = '?';
	}
	return copy;
}

char *option_flag(const struct option *option) {
	char *flag = mem_format("--%s", option->name);
	for (char *at = flag; *at; at++) *at = *at == '_' ? '-' : (char)tolower((unsigned char)*at);
	return flag;
}

static char *choices_of(const struct option *option) {
	char *list = mem_strdup("");
	for (const char *const *choice = option->choices; *choice; choice++) {
		char *longer = mem_format("%s%s%s", list, *list ? ", " : "", *choice);
		free(list);
		list = longer;
	}
	return list;
}

static const char *env_get(char *const *environment, const char *name) {
	size_t length = strlen(name);
	for (; environment && *environment; environment++) {
		if (strncmp(*environment, name, length) != 0 || (*environment)[length] != '=') continue;
		const char *value = *environment + length + 1;
		return *value ? value : NULL;
	}
	return NULL;
}

// ---- values

static void set_text(const struct option *option, char *owned) {
	char **place = option->value;
	free(*place);
	*place = owned;
}

static int set_int(const struct option *option, const char *text, struct error *error) {
	const char *digits = *text == '-' ? text + 1 : text;
	bool whole = *digits && strspn(digits, "0123456789") == strlen(digits);
	errno = 0;
	intmax_t number = whole ? strtoimax(text, NULL, 10) : 0;
	if (!whole || errno || number < option->min || number > option->max) {
		AUTO_FREE char *value = shown(text);
		return error_set(error, ERROR_INPUT, "%s: \"%s\" is not a whole number from %" PRId64 " to %" PRId64,
			option->name, value, option->min, option->max);
	}
	*(int64_t *)option->value = number;
	return 0;
}

static int set_choice(const struct option *option, const char *text, struct error *error) {
	for (int64_t i = 0; option->choices[i]; i++) {
		if (strcmp(option->choices[i], text) != 0) continue;
		*(int64_t *)option->value = i;
		return 0;
	}
	AUTO_FREE char *value = shown(text);
	AUTO_FREE char *choices = choices_of(option);
	return error_set(error, ERROR_INPUT, "%s: \"%s\" is none of: %s", option->name, value, choices);
}

static bool is_port(const char *text) {
	size_t length = strlen(text);
	return length > 0 && length <= 5 && strspn(text, "0123456789") == length && strtol(text, NULL, 10) <= 65535;
}

static bool is_listen(const char *text) {
	const char *colon = strrchr(text, ':');
	if (!colon || colon == text || !is_port(colon + 1)) return false;
	AUTO_FREE char *host = mem_strndup(text, (size_t)(colon - text));
	size_t length = strlen(host);
	if (host[0] == '[') {
		if (host[length - 1] != ']') return false;
		host[length - 1] = '\0';
		struct in6_addr address;
		return inet_pton(AF_INET6, host + 1, &address) == 1;
	}
	return strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_") == length;
}

static int set_listen(const struct option *option, const char *text, struct error *error) {
	bool off = *text == '\0' && option->fallback && *option->fallback == '\0';
	if (!off && !is_listen(text)) {
		AUTO_FREE char *value = shown(text);
		return error_set(error, ERROR_INPUT, "%s: \"%s\" is not HOST:PORT or [IPV6]:PORT", option->name, value);
	}
	set_text(option, mem_strdup(text));
	return 0;
}

static int set_ports(const struct option *option, const char *text, struct error *error) {
	AUTO_FREE char *copy = mem_strdup(text);
	char *rest = copy;
	for (char *port; (port = strsep(&rest, ","));) {
		if (!*port || (is_port(port) && strtol(port, NULL, 10) > 0)) continue;
		AUTO_FREE char *value = shown(text);
		return error_set(error, ERROR_INPUT, "%s: \"%s\" is not a port from 1 to 65535, or several with commas between",
			option->name, value);
	}
	set_text(option, mem_strdup(text));
	return 0;
}

static int set_value(const struct option *option, const char *text, struct error *error) {
	switch (option->type) {
	case OPTION_STRING:
	case OPTION_SECRET:
		set_text(option, mem_strdup(text));
		return 0;
	case OPTION_INT:
		return set_int(option, text, error);
	case OPTION_CHOICE:
		return set_choice(option, text, error);
	case OPTION_LISTEN:
		return set_listen(option, text, error);
	case OPTION_PORTS:
		return set_ports(option, text, error);
	}
	return error_set(error, ERROR_INTERNAL, "%s: unknown type", option->name);
}

// ---- secrets from files

static int read_all(const char *name, const char *path, char *buffer, size_t size, size_t *length, struct error *error) {
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return error_set_errno(error, ERROR_INPUT, errno, "%s: cannot open the file", name);
	*length = 0;
	while (*length < size) {
		ssize_t got = read(fd, buffer + *length, size - *length);
		if (got < 0 && errno == EINTR) continue;
		if (got < 0) return error_set_errno(error, ERROR_INPUT, errno, "%s: cannot read the file", name);
		if (got == 0) return 0;
		*length += (size_t)got;
	}
	return error_set(error, ERROR_INPUT, "%s: the file is larger than %zu bytes", name, size - 1);
}

static int set_secret_file(const struct option *option, const char *name, const char *path, struct error *error) {
	size_t length = 0;
	AUTO_FREE char *buffer = mem_zalloc(SECRET_BYTES_MAX + 1);
	int outcome = read_all(name, path, buffer, SECRET_BYTES_MAX + 1, &length, error);
	if (outcome == 0 && memchr(buffer, '\0', length)) {
		outcome = error_set(error, ERROR_INPUT, "%s: the file contains a NUL byte", name);
	}
	if (outcome == 0) {
		if (length > 0 && buffer[length - 1] == '\n') length--;
		set_text(option, mem_strndup(buffer, length));
	}
	explicit_bzero(buffer, SECRET_BYTES_MAX + 1);
	return outcome;
}

// ---- where a value comes from: flag, environment, NAME_FILE, fallback

static int apply(const struct option *option, const char *flag, char *const *environment, struct error *error) {
	const char *value = flag ? flag : env_get(environment, option->name);
	if (option->type == OPTION_SECRET) {
		AUTO_FREE char *name = mem_format("%s_FILE", option->name);
		const char *path = env_get(environment, name);
		if (path && value) {
			return error_set(error, ERROR_INPUT, "%s: set together with %s; one is enough", name, option->name);
		}
		if (path) return set_secret_file(option, name, path, error);
	}
	if (!value) value = option->fallback;
	if (!value && option->type == OPTION_INT) return 0; // computed by the table's user
	return set_value(option, value ? value : "", error);
}

static const struct option *find(
	const struct option *table, size_t count, const char *name, size_t length, struct error *error) {
	for (size_t i = 0; i < count; i++) {
		AUTO_FREE char *flag = option_flag(&table[i]);
		if (strncmp(flag, name, length) != 0 || flag[length] != '\0') continue;
		if (table[i].type != OPTION_SECRET) return &table[i];
		error_set(error, ERROR_USAGE, "%s: secrets have no flag; use the environment variable %s or %s_FILE", flag,
			table[i].name, table[i].name);
		return NULL;
	}
	AUTO_FREE char *named = mem_strndup(name, length);
	AUTO_FREE char *value = shown(named);
	error_set(error, ERROR_USAGE, "%s: unknown option; --help lists them", value);
	return NULL;
}

static bool is_action(const char *text, enum option_action *action) {
	if (strcmp(text, "--check") == 0) {
		*action = OPTION_CHECK;
	} else if (strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0) {
		*action = OPTION_HELP;
	} else if (strcmp(text, "--version") == 0) {
		*action = OPTION_VERSION;
	} else {
		return false;
	}
	return true;
}

// Notes each flag's value; --help and --version end the reading, whatever else may be wrong.
static int read_flags(const struct option *table, size_t count, int argc, char *const *argv, const char **flags,
	enum option_action *action, struct error *error) {
	for (int i = 1; i < argc && *action != OPTION_HELP && *action != OPTION_VERSION; i++) {
		if (is_action(argv[i], action)) continue;
		if (strncmp(argv[i], "--", 2) != 0 || argv[i][2] == '\0') {
			AUTO_FREE char *value = shown(argv[i]);
			return error_set(error, ERROR_USAGE, "%s: operands are not taken; --help lists the options", value);
		}
		const char *equals = strchr(argv[i], '=');
		size_t length = equals ? (size_t)(equals - argv[i]) : strlen(argv[i]);
		const struct option *option = find(table, count, argv[i], length, error);
		if (!option) return -1;
		if (!equals && i + 1 >= argc) return error_set(error, ERROR_USAGE, "%s: needs a value", argv[i]);
		flags[option - table] = equals ? equals + 1 : argv[++i];
	}
	return 0;
}

int option_parse(const struct option *table, size_t count, int argc, char *const *argv, char *const *environment,
	enum option_action *action, struct error *error) {
	*action = OPTION_RUN;
	AUTO_FREE const char **flags = mem_zalloc_array(count, sizeof(*flags));
	if (read_flags(table, count, argc, argv, flags, action, error) != 0) return -1;
	if (*action == OPTION_HELP || *action == OPTION_VERSION) return 0;
	for (size_t i = 0; i < count; i++) {
		if (apply(&table[i], flags[i], environment, error) != 0) return -1;
	}
	return 0;
}

static char *value_text(const struct option *option) {
	if (option->type == OPTION_INT) return mem_format("%" PRId64, *(const int64_t *)option->value);
	if (option->type == OPTION_CHOICE) return mem_strdup(option->choices[*(const int64_t *)option->value]);
	return mem_strdup(*(char *const *)option->value);
}

void option_export(const struct option *table, size_t count) {
	for (size_t i = 0; i < count; i++) {
		if (table[i].type == OPTION_SECRET) continue;
		AUTO_FREE char *value = value_text(&table[i]);
		if (setenv(table[i].name, value, 1) != 0) mem_die("setenv");
	}
}

void option_clear(const struct option *table, size_t count) {
	for (size_t i = 0; i < count; i++) {
		if (table[i].type == OPTION_INT || table[i].type == OPTION_CHOICE) continue;
		char **place = table[i].value;
		if (*place && table[i].type == OPTION_SECRET) explicit_bzero(*place, strlen(*place));
		set_text(&table[i], NULL);
	}
}

// ---- help

static char *help_flag(const struct option *option) {
	static const char *const forms[] = {[OPTION_STRING] = "TEXT",
		[OPTION_INT] = "N",
		[OPTION_CHOICE] = "WORD",
		[OPTION_LISTEN] = "HOST:PORT",
		[OPTION_PORTS] = "PORT"};
	if (option->type == OPTION_SECRET) return mem_strdup("(no flag)");
	AUTO_FREE char *flag = option_flag(option);
	return mem_format("%s=%s", flag, forms[option->type]);
}

static char *help_name(const struct option *option) {
	return option->type == OPTION_SECRET ? mem_format("%s[_FILE]", option->name) : mem_strdup(option->name);
}

static char *help_default(const struct option *option) {
	if (option->type == OPTION_SECRET) return mem_strdup("");
	if (option->fallback) return *option->fallback ? mem_format("default %s", option->fallback) : mem_strdup("");
	if (option->type != OPTION_INT) return mem_strdup("");
	return mem_format("default here %" PRId64, *(const int64_t *)option->value);
}

static char *help_notes(const struct option *option) {
	AUTO_FREE char *fallback = help_default(option);
	AUTO_FREE char *limits = option->type == OPTION_CHOICE ? choices_of(option) : mem_strdup("");
	if (!*fallback && !*limits) return mem_strdup("");
	return mem_format(" (%s%s%s)", limits, *limits && *fallback ? "; " : "", fallback);
}

static void help_line(const struct option *option, size_t *widths, FILE *out) {
	AUTO_FREE char *flag = help_flag(option);
	AUTO_FREE char *name = help_name(option);
	if (!out) {
		if (strlen(flag) > widths[0]) widths[0] = strlen(flag);
		if (strlen(name) > widths[1]) widths[1] = strlen(name);
		return;
	}
	AUTO_FREE char *notes = help_notes(option);
	fprintf(out, "  %-*s  %-*s  %s%s\n", (int)widths[0], flag, (int)widths[1], name, option->help, notes);
}

void option_help(const struct option *table, size_t count, const char *program, const char *purpose, FILE *out) {
	fprintf(out, "Usage: %s [OPTION]...\n%s\n\n", program, purpose);
	fputs("Each option is a flag and an environment variable; the flag wins. A secret can also be in the file that\n"
	      "its variable with _FILE behind names.\n\n",
		out);
	size_t widths[2] = {strlen("--version"), 0};
	for (size_t i = 0; i < count; i++) help_line(&table[i], widths, NULL);
	for (size_t i = 0; i < count; i++) help_line(&table[i], widths, out);
	fputc('\n', out);
	static const char *const actions[][2] = {{"--check", "read and check the configuration and the connections, then exit"},
		{"--help", "show this text"}, {"--version", "show the version"}};
	for (size_t i = 0; i < COUNT_OF(actions); i++) {
		fprintf(out, "  %-*s  %s\n", (int)widths[0], actions[i][0], actions[i][1]);
	}
	fputs("\nExit status: 0 fine, 1 failed, 64 usage, 69 a service cannot be reached, 78 bad configuration.\n", out);
}
