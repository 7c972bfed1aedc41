// The kernel says of a script whose interpreter is missing no more than "no such file", as if the script were. What is missing
// is named here instead (execve(2), "Interpreter scripts").
#include "worker/init/init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_MOST 256 // as much as the kernel reads

// The line behind "#!", if the file has one. False: it has none, or cannot be read.
static bool read_line(const char *script, char line[LINE_MOST]) {
	AUTO_CLOSE int fd = open(script, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t length = fd < 0 ? -1 : read(fd, line, LINE_MOST - 1);
	if (length < 2 || memcmp(line, "#!", 2) != 0) return false;
	line[length] = '\0';
	line[strcspn(line, "\n")] = '\0';
	memmove(line, line + 2, strlen(line + 2) + 1);
	return true;
}

// Cuts the next word off the line; "": there is none.
static const char *next_word(char **line) {
	char *word = *line + strspn(*line, " \t");
	size_t length = strcspn(word, " \t");
	*line = word + length + (word[length] ? 1 : 0);
	word[length] = '\0';
	return word;
}

static bool is_missing(const char *path) {
	return access(path, X_OK) != 0 && (errno == ENOENT || errno == ENOTDIR);
}

static bool is_missing_in_path(const char *name, char *const *env) {
	const char *folders = "/bin:/usr/bin"; // execvp's, where there is no PATH
	for (; *env; env++)
		if (strncmp(*env, "PATH=", 5) == 0) folders = *env + 5;
	while (*folders) {
		size_t length = strcspn(folders, ":");
		char path[LINE_MOST * 2];
		int size = snprintf(path, sizeof(path), "%.*s/%s", (int)length, folders, name);
		if (size < 0 || (size_t)size >= sizeof(path) || !is_missing(path)) return false;
		folders += length + (folders[length] == ':');
	}
	return true;
}

// What env(1) would look for: the first word that is neither an option nor NAME=value. "": this is not for us to tell.
static const char *env_program(char *line) {
	const char *word = next_word(&line);
	if (strcmp(word, "-S") == 0) word = next_word(&line);
	while (strchr(word, '=')) word = next_word(&line);
	return *word == '-' ? "" : word;
}

static bool name_it(const char *program, char name[INTERPRETER_NAME]) {
	size_t length = strlen(program);
	bool crlf = length > 0 && program[length - 1] == '\r';
	snprintf(name, INTERPRETER_NAME, "%.*s%s", (int)(crlf ? length - 1 : length), program,
		crlf ? " (the script's lines end as on Windows, which makes it another name)" : "");
	for (char *at = name; *at; at++)
		if (*at < ' ' || *at > '~') *at = '?';
	return true;
}

bool interpreter_missing(const char *program, char *const *env, char name[INTERPRETER_NAME]) {
	char line[LINE_MOST], *rest = line;
	if (!strchr(program, '/') || !read_line(program, line)) return false;
	const char *interpreter = next_word(&rest);
	if (!*interpreter) return false;
	if (is_missing(interpreter)) return name_it(interpreter, name);
	const char *base = strrchr(interpreter, '/');
	if (!base || strcmp(base, "/env") != 0) return false;
	const char *wanted = env_program(rest);
	if (!*wanted) return false;
	bool missing = strchr(wanted, '/') ? is_missing(wanted) : is_missing_in_path(wanted, env);
	return missing && name_it(wanted, name);
}
