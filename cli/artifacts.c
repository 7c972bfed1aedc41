// trabajos artifacts, artifacts get: the files that a job has left.
#include "cli/call.h"
#include "cli/cli.h"
#include "cli/place.h"
#include "cli/text.h"
#include "cli/view.h"
#include "cli/words.h"
#include "lib/client.h"
#include "lib/digest.h"
#include "lib/lifecycle.h"
#include "lib/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/stat.h>

static const char *folder = ".";
static bool force, to_stdout;

static const struct args_option get_options[] = {
	{.name = "dir",
		.letter = 'd',
		.type = ARGS_FOLDER,
		.value = &folder,
		.form = "FOLDER",
		.help = "where to, by default here; it is made where it is missing"},
	CLI_FLAG("force", 0, force, "replace files that are there"),
	CLI_FLAG("stdout", 0, to_stdout, "print one artifact's bytes"),
};

static int fetch_list(const char *key, json_t **list, struct error *error) {
	if (call_get(list, error, "/api/v1/trabajos/%s/artifacts", key)) return -1;
	return json_is_array(*list) ? 0 : error_set(error, ERROR_INTERNAL, _("the server's answer is no list"));
}

// ---- list

static void print(const json_t *list) {
	const char *const headings[] = {_("PATH"), _("SIZE"), _("TYPE"), "SHA-256", NULL};
	struct table *table = table_new(headings);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *artifact = json_array_get(list, i);
		AUTO_FREE char *size = view_bytes(view_int(artifact, "size"));
		table_cell(table, TERM_PLAIN, json_text(artifact, "path"));
		table_cell(table, TERM_PLAIN, size);
		table_cell(table, TERM_PLAIN, json_text(artifact, "type"));
		table_cell(table, TERM_DIM, json_text(artifact, "sha256"));
	}
	if (table_rows(table))
		table_print(table, stdout);
	else
		fputs(_("No artifacts. `artifacts:` in trabajo.yaml says which files are kept.\n"), stderr);
	table_free(table);
}

static int list(size_t count, const char *const *operands, struct error *error) {
	AUTO_FREE char *key = call_key(count, operands, error);
	AUTO_JSON json_t *artifacts = NULL;
	if (!key || fetch_list(key, &artifacts, error)) return -1;
	if (cli.json)
		view_print(artifacts);
	else
		print(artifacts);
	return EXIT_FINE;
}

// ---- get

struct download {
	FILE *out;
	int64_t left; // of what the list said
	struct digest *digest;
};

static int take(const char *data, size_t length, void *arg) {
	struct download *download = arg;
	download->left -= (int64_t)length;
	digest_add(download->digest, data, length);
	return download->left < 0 || fwrite(data, 1, length, download->out) != length;
}

static char *path_of(const char *key, const char *path) {
	char *url = mem_format("/api/v1/trabajos/%s/artifacts", key);
	for (const char *at = path; *at;) {
		size_t length = strcspn(at, "/");
		AUTO_FREE char *part = mem_strndup(at, length), *escaped = client_escape(part);
		char *longer = mem_format("%s/%s", url, escaped);
		free(url);
		url = longer;
		at += length + (at[length] == '/');
	}
	return url;
}

static int download(const char *key, const json_t *artifact, FILE *out, struct error *error) {
	const char *path = json_text(artifact, "path"), *wanted = json_text(artifact, "sha256");
	AUTO_FREE char *url = path_of(key, path);
	struct download state = {.out = out, .left = view_int(artifact, "size"), .digest = digest_new()};
	struct client_reply reply;
	char digest[DIGEST_TEXT];
	int result = call_send(&(struct call){.path = url, .sink = take, .arg = &state}, &reply, error);
	digest_end(state.digest, digest);
	client_reply_clear(&reply);
	if (result) return error_wrap(error, "%s", path);
	if (fflush(out) || ferror(out)) return error_set_errno(error, ERROR_INPUT, errno, "%s", path);
	if (state.left) return error_set(error, ERROR_INTERNAL, _("%s: it has another size than the list says"), path);
	if (wanted && strcmp(wanted, digest) == 0) return 0;
	return error_set(error, ERROR_INTERNAL, _("%s: what came has another SHA-256 than the list says"), path);
}

static int get_file(int root, const char *key, const json_t *artifact, struct error *error) {
	const char *path = json_text(artifact, "path");
	struct place place;
	int result = place_open(root, path, force, &place, error);
	AUTO_FCLOSE FILE *out = result == 0 ? fdopen(dup(place.fd), "we") : NULL;
	if (result == 0 && !out) result = error_set_errno(error, ERROR_INTERNAL, errno, "%s", path);
	if (result == 0) result = download(key, artifact, out, error);
	if (result == 0) result = place_keep(&place, force, error);
	place_close(&place);
	if (result) return -1;
	AUTO_FREE char *safe = text_safe(path);
	if (!cli.json) puts(safe);
	return 0;
}

static bool is_wanted(const char *path, size_t count, const char *const *patterns) {
	for (size_t i = 0; i < count; i++)
		if (strcmp(patterns[i], path) == 0 || fnmatch(patterns[i], path, 0) == 0) return true;
	return count == 0;
}

static json_t *choose(const json_t *artifacts, size_t count, const char *const *patterns) {
	json_t *chosen = json_array();
	for (size_t i = 0; i < json_array_size(artifacts); i++) {
		json_t *artifact = json_array_get(artifacts, i);
		const char *path = json_text(artifact, "path");
		if (path && view_int(artifact, "size") >= 0 && is_wanted(path, count, patterns))
			json_array_append(chosen, artifact);
	}
	return chosen;
}

static int get_all(const char *key, const json_t *chosen, struct error *error) {
	if (mkdir(folder, 0777) && errno != EEXIST) return error_set_errno(error, ERROR_INPUT, errno, "%s", folder);
	AUTO_CLOSE int root = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0) return error_set_errno(error, ERROR_INPUT, errno, "%s", folder);
	for (size_t i = 0; i < json_array_size(chosen); i++)
		if (get_file(root, key, json_array_get(chosen, i), error)) return -1;
	if (cli.json) view_print(chosen);
	return EXIT_FINE;
}

static int get(size_t count, const char *const *operands, struct error *error) {
	AUTO_FREE char *key = call_key(count, operands, error);
	AUTO_JSON json_t *artifacts = NULL;
	cli_catch_signals(); // so that no part of a file stays
	if (!key || fetch_list(key, &artifacts, error)) return -1;
	AUTO_JSON json_t *chosen = choose(artifacts, count - 1, operands + 1);
	if (!json_array_size(chosen))
		return error_set(error, ERROR_INPUT,
			count > 1 ? _("no artifact has such a path; trabajos artifacts %s lists them")
				  : _("job %s has left no artifacts"),
			key);
	if (!to_stdout) return get_all(key, chosen, error);
	const json_t *artifact = json_array_get(chosen, 0);
	if (json_array_size(chosen) > 1)
		return error_set(error, ERROR_USAGE, _("--stdout is for one artifact, named by its path"));
	return download(key, artifact, stdout, error);
}

const struct cli_verb cli_artifacts = {.name = "artifacts",
	.operands = "[KEY]",
	.offers = CLI_KEY,
	.most = 1,
	.help = "list the files that a job has left; without KEY your newest",
	.run = list};

const struct cli_verb cli_artifacts_get = {.name = "artifacts get",
	.operands = "KEY [PATH]…",
	.offers = CLI_KEY,
	.least = 1,
	.most = SIZE_MAX,
	.help = "fetch files that a job has left",
	.more = "All of them, or those whose paths are named (with * and ? as in a shell). Each is checked by its SHA-256 before it appears\n"
		"under its name; nothing is ever written outside of the folder, nor through a symbolic link in it.",
	CLI_OPTIONS(get_options),
	.run = get};
