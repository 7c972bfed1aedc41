#include "lib/mem.h"
#include "worker/plan.h"
#include "worker/plan_part.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

// ---- a tree of files in a folder of its own

struct tree {
	char *path;
	int fd;
};

static int tree_up(void **state) {
	struct tree *tree = mem_zalloc(sizeof *tree);
	tree->path = mem_strdup("/tmp/test_plan.XXXXXX");
	if (!mkdtemp(tree->path)) return -1;
	tree->fd = open(tree->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = tree;
	return tree->fd < 0 ? -1 : 0;
}

static int tree_down(void **state) {
	static const char *const names[] = {"trabajo.yaml", "package.json", "Makefile", "main.py", "main.sh", "main",
		"ci/t.yaml", "trabajo.yml", "GNUmakefile", "makefile", "go.mod", "Cargo.toml", "CMakeLists.txt",
		"requirements.txt", "pyproject.toml", "setup.py", "Dockerfile", NULL};
	struct tree *tree = *state;
	for (const char *const *name = names; *name; name++)
		if (unlinkat(tree->fd, *name, 0) < 0) unlinkat(tree->fd, *name, AT_REMOVEDIR);
	unlinkat(tree->fd, "ci", AT_REMOVEDIR);
	close(tree->fd);
	int done = rmdir(tree->path);
	free(tree->path);
	free(tree);
	return done;
}

static void put_bytes(const struct tree *tree, const char *name, const char *text, size_t length, mode_t mode) {
	int fd = openat(tree->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(write(fd, text, length), (ssize_t)length);
	close(fd);
}

static void put(const struct tree *tree, const char *name, const char *text, mode_t mode) {
	put_bytes(tree, name, text, strlen(text), mode);
}

static void expect_plan(const struct tree *tree, const char *kind, const char *command) {
	AUTO_ERROR struct error error = {0};
	struct plan plan;
	char *looked_for;
	int found = plan_detect(tree->fd, &plan, &looked_for, &error);
	if (found != 0) fail_msg("%d: %s%s", found, error_text(&error), looked_for ? looked_for : "");
	assert_string_equal(plan.kind, kind);
	assert_string_equal(plan.command, command);
	assert_null(looked_for);
	plan_clear(&plan);
}

static void expect_none(const struct tree *tree, const char *word) {
	AUTO_ERROR struct error error = {0};
	struct plan plan;
	char *looked_for;
	assert_int_equal(plan_detect(tree->fd, &plan, &looked_for, &error), 1);
	if (!strstr(looked_for, word)) fail_msg("no \"%s\" in: %s", word, looked_for);
	free(looked_for);
}

static void expect_broken(const struct tree *tree, const char *word) {
	AUTO_ERROR struct error error = {0};
	struct plan plan;
	char *looked_for;
	assert_int_equal(plan_detect(tree->fd, &plan, &looked_for, &error), -1);
	assert_int_equal(error.kind, ERROR_INPUT);
	if (!strstr(error_text(&error), word)) fail_msg("no \"%s\" in: %s", word, error_text(&error));
	assert_null(plan.kind);
	assert_null(looked_for);
}

// ---- the order

static void the_first_candidate_that_applies_wins(void **state) {
	struct tree *tree = *state;
	expect_none(tree,
		"trabajo.yaml, package.json with a script main, Makefile with a target main, main.py, executable main.sh, "
		"executable main");
	put(tree, "main", "x", 0755);
	expect_plan(tree, "main", "./main");
	put(tree, "main.sh", "x", 0755);
	expect_plan(tree, "main.sh", "./main.sh");
	put(tree, "main.py", "x", 0644);
	expect_plan(tree, "main.py", "python3 main.py");
	put(tree, "Makefile", "all:\nmain:\n\ttrue\n", 0644);
	expect_plan(tree, "Makefile", "make main");
	put(tree, "package.json", "{\"scripts\":{\"main\":\"node x\"}}", 0644);
	expect_plan(tree, "package.json", "npm run main");
	put(tree, "trabajo.yaml", "run: ./x\n", 0644);
	expect_plan(tree, "trabajo.yaml", "./x");
}

static void what_only_looks_like_a_candidate_is_named_with_its_reason(void **state) {
	struct tree *tree = *state;
	put(tree, "main", "x", 0644);
	put(tree, "main.sh", "x", 0644);
	put(tree, "package.json", "{\"scripts\":{\"test\":\"x\"}}", 0644);
	put(tree, "Makefile", "all:\n", 0644);
	expect_none(tree, "package.json with a script main (it has none)");
	expect_none(tree, "Makefile with a target main (it has none)");
	expect_none(tree, "main.sh (it is not executable");
	expect_none(tree, "main (it is not executable");
}

static void folders_with_the_names_of_files_do_not_count(void **state) {
	struct tree *tree = *state;
	static const char *const names[] = {"trabajo.yaml", "package.json", "Makefile", "main.py", "main.sh", "main", NULL};
	for (const char *const *name = names; *name; name++) assert_int_equal(mkdirat(tree->fd, *name, 0755), 0);
	expect_none(tree, "trabajo.yaml, ");
}

static void links_inside_the_tree_are_followed_and_links_out_are_not(void **state) {
	struct tree *tree = *state;
	assert_int_equal(mkdirat(tree->fd, "ci", 0755), 0);
	put(tree, "ci/t.yaml", "run: inside\n", 0644);
	assert_int_equal(symlinkat("ci/t.yaml", tree->fd, "trabajo.yaml"), 0);
	expect_plan(tree, "trabajo.yaml", "inside");
	static const char *const targets[] = {
		"/etc/passwd", "../../etc/passwd", "ci/../../x", "/proc/self/environ", "trabajo.yaml", NULL};
	for (const char *const *target = targets; *target; target++) {
		assert_int_equal(unlinkat(tree->fd, "trabajo.yaml", 0), 0);
		assert_int_equal(symlinkat(*target, tree->fd, "trabajo.yaml"), 0);
		expect_broken(tree, "trabajo.yaml: a symbolic link");
	}
}

static void what_a_repository_without_a_plan_seems_to_be_is_said_with_the_remedy(void **state) {
	struct tree *tree = *state;
	// each stands before those that came before it here
	static const struct {
		const char *file, *word;
	} cases[] = {{"Dockerfile", "; no images are built here (Dockerfile): add a trabajo.yaml"},
		{"setup.py", "; this seems to be a Python package (setup.py)"},
		{"pyproject.toml", "; this seems to be a Python package (pyproject.toml)"},
		{"requirements.txt", "; this seems to be a Python program (requirements.txt): name the program main.py, or"},
		{"CMakeLists.txt", "; this seems to be built by CMake (CMakeLists.txt)"},
		{"Cargo.toml", "\"run: cargo run --release\""}, {"go.mod", "\"run: go run .\""},
		{"makefile", "; makefile is not looked at: call it Makefile"},
		{"GNUmakefile", "; GNUmakefile is not looked at: call it Makefile"},
		{"trabajo.yml", "; trabajo.yml is not looked at: call it trabajo.yaml"}};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		put(tree, cases[i].file, "x", 0644);
		expect_none(tree, cases[i].word);
	}
	put(tree, "main.py", "x", 0644);
	expect_plan(tree, "main.py", "python3 main.py");
}

static void a_folder_or_a_link_is_no_hint(void **state) {
	struct tree *tree = *state;
	char *looked_for;
	struct plan plan;
	assert_int_equal(mkdirat(tree->fd, "go.mod", 0755), 0);
	assert_int_equal(symlinkat("/etc/passwd", tree->fd, "Dockerfile"), 0);
	assert_int_equal(plan_detect(tree->fd, &plan, &looked_for, NULL), 1);
	assert_null(strchr(looked_for, ';'));
	free(looked_for);
}

// ---- package.json

static void package_json_is_read_as_npm_does(void **state) {
	(void)state;
	AUTO_ERROR struct error error = {0};
	static const struct {
		const char *text;
		int has;
	} cases[] = {{"{\"scripts\":{\"main\":\"x\"}}", 1}, {"\xef\xbb\xbf{\"scripts\":{\"main\":\"x\"}}", 1},
		{"{\"a\":1,\"a\":2,\"scripts\":{\"main\":\"x\"}}", 1}, {"{}", 0}, {"{\"scripts\":[]}", 0},
		{"{\"scripts\":{\"main\":\"\"}}", 0}, {"{\"scripts\":{\"main\":7}}", 0}, {"{\"main\":\"index.js\"}", 0},
		{"[]", -1}, {"", -1}, {"{", -1}, {"{\"a\":\"\xff\"}", -1}};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		int has = plan_npm_has_main(cases[i].text, strlen(cases[i].text), &error);
		if (has != cases[i].has) fail_msg("%s: %d", cases[i].text, has);
	}
}

static void a_broken_package_json_is_not_quoted(void **state) {
	(void)state;
	static const char *const texts[] = {
		"{\"scripts\":{\"main\":\"x\" \xc3\xb1\xc3\xb1}}", "{\"scripts\": \x1b[31m}", "{\n\n\"a\": secret}", NULL};
	for (const char *const *text = texts; *text; text++) {
		AUTO_ERROR struct error error = {0};
		assert_int_equal(plan_npm_has_main(*text, strlen(*text), &error), -1);
		assert_memory_equal(error_text(&error), "package.json: line ", 19);
		for (const char *at = error_text(&error); *at; at++) assert_in_range(*at, ' ', '~');
		assert_null(strstr(error_text(&error), "secret"));
	}
}

static void deeply_nested_package_json_is_refused(void **state) {
	(void)state;
	AUTO_ERROR struct error error = {0};
	char text[100000];
	memset(text, '[', sizeof text);
	assert_int_equal(plan_npm_has_main(text, sizeof text, &error), -1);
}

static void too_large_files_are_refused(void **state) {
	struct tree *tree = *state;
	char *text = mem_zalloc(1048577);
	memset(text, ' ', 1048577);
	put_bytes(tree, "Makefile", text, 1048577, 0644);
	expect_broken(tree, "Makefile: larger than 1024 KiB");
	put_bytes(tree, "package.json", text, 1048577, 0644);
	expect_broken(tree, "package.json: larger than 1024 KiB");
	put_bytes(tree, "trabajo.yaml", text, 65537, 0644);
	expect_broken(tree, "trabajo.yaml: larger than 64 KiB");
	free(text);
}

// ---- Makefile

static void a_makefile_has_main_where_a_rule_names_it(void **state) {
	(void)state;
	static const char *const with[] = {"main:\n", "main :\n", "main: a b\n\tx", "main::\n", "all main test: x\n",
		"main&: x", "a main &: x", "x=1\n\nmain: y # z\n", "a \\\n main: b\n", "  main: x", "main: ; echo x\n",
		"main:\r\n\tx\r\n", "a:\n\tb\nmain:", "main: X = y\n", "define x\nendef\nmain:\n", "a \\\r\n main:\r\n", NULL};
	for (const char *const *text = with; *text; text++)
		if (!plan_make_has_main(*text, strlen(*text))) fail_msg("no main in: %s", *text);
}

static void a_makefile_without_such_a_rule_has_none(void **state) {
	(void)state;
	static const char *const without[] = {"", "main", "main = x\n", "main := x\n", "main ::= x\n", "main :::= x\n",
		"main ?= a:b\n", "a: main\n", ".PHONY: main\n", "#main:\n", "\tmain:\n", "x:\n\tmain: y\n", "main.o: x\n",
		"$(main:x=y): z\n", "mainly:\n", "a # main:\n", "define x\nmain:\nendef\n", "# a \\\nmain:\n",
		"domain main.c: x", "$(a) $(b:main: c)", "ma\rin:\n", NULL};
	for (const char *const *text = without; *text; text++)
		if (plan_make_has_main(*text, strlen(*text))) fail_msg("main in: %s", *text);
	assert_false(plan_make_has_main("ma\0in:\n", 7));
	assert_true(plan_make_has_main("x\0y\nmain:\n", 10));
}

// ---- trabajo.yaml

static void a_whole_trabajo_yaml_is_read(void **state) {
	(void)state;
	AUTO_ERROR struct error error = {0};
	struct plan plan = {.timeout_s = -1, .memory_mb = -1};
	const char *text =
		"# a comment\nrun: |\n  echo a\n  echo b\ntimeout: 10m\nmemory: 2G\nenv:\n  GREETING: hola ñ\n  N: 3\n"
		"  EMPTY:\nartifacts:\n  - out/*.txt\n  - report.html\n";
	if (plan_yaml_read(text, strlen(text), &plan, &error) < 0) fail_msg("%s", error_text(&error));
	assert_string_equal(plan.argv[0], "/bin/sh");
	assert_string_equal(plan.argv[1], "-c");
	assert_string_equal(plan.argv[2], "echo a\necho b\n");
	assert_null(plan.argv[3]);
	assert_string_equal(plan.command, "echo a …");
	assert_int_equal(plan.timeout_s, 600);
	assert_int_equal(plan.memory_mb, 2048);
	assert_string_equal(plan.env[0], "GREETING=hola ñ");
	assert_string_equal(plan.env[1], "N=3");
	assert_string_equal(plan.env[2], "EMPTY=");
	assert_null(plan.env[3]);
	assert_string_equal(plan.artifacts[1], "report.html");
	assert_null(plan.artifacts[2]);
	plan_clear(&plan);
}

static void a_command_is_shown_without_what_a_terminal_would_obey(void **state) {
	(void)state;
	AUTO_ERROR struct error error = {0};
	struct plan plan = {.timeout_s = -1, .memory_mb = -1};
	const char *text = "run: \"echo \\e[31m\\a red\\x7f\"\n";
	if (plan_yaml_read(text, strlen(text), &plan, &error) < 0) fail_msg("%s", error_text(&error));
	assert_string_equal(plan.command, "echo  [31m  red ");
	assert_string_equal(plan.argv[2], "echo \x1b[31m\a red\x7f");
	plan_clear(&plan);
}

static void amounts_take_units(void **state) {
	(void)state;
	static const struct {
		const char *timeout, *memory;
		int64_t timeout_s, memory_mb;
	} cases[] = {{"1", "1", 1, 1}, {"30s", "512M", 30, 512}, {"2m", "1G", 120, 1024}, {"24h", "1024GiB", 86400, 1048576},
		{"86400", "\"64MB\"", 86400, 64}};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		AUTO_ERROR struct error error = {0};
		struct plan plan = {.timeout_s = -1, .memory_mb = -1};
		AUTO_FREE char *text = mem_format("run: x\ntimeout: %s\nmemory: %s\n", cases[i].timeout, cases[i].memory);
		if (plan_yaml_read(text, strlen(text), &plan, &error) < 0) fail_msg("%s: %s", text, error_text(&error));
		assert_int_equal(plan.timeout_s, cases[i].timeout_s);
		assert_int_equal(plan.memory_mb, cases[i].memory_mb);
		plan_clear(&plan);
	}
}

static void a_bad_trabajo_yaml_is_refused_with_its_line(void **state) {
	(void)state;
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"", "line 1: the file is empty"},
		{"# only a comment\n", "line 2: the file is empty"},
		{"# only a comment", "line 1: the file is empty"},
		{"run: x\nenv: [", "line 2: env must be a list"},
		{"run: x\r\ntimeout: 0\r\n", "line 2: timeout must be from 1"},
		{"run\n", "line 1: the file must be"},
		{"- run: x\n", "line 1: the file must be"},
		{"timeout: 3\n", "line 1: run is missing"},
		{"{}", "run is missing"},
		{"run:\n", "line 1: run is empty"},
		{"run: '  '\n", "line 1: run is empty"},
		{"run: [a, b]\n", "line 1: run must be a single value"},
		{"run: {a: b}\n", "line 1: run must be a single value"},
		{"run: x\nrunn: y\n", "line 2: unknown member runn (known: run, timeout"},
		{"run: x\n<<: y\n", "line 2: unknown member <<"},
		{"run: x\n\"a\\nb\": y\n", "line 2: unknown member a?b"},
		{"run: x\nrun: y\n", "line 2: run stands twice"},
		{"run: x\n\n\n? [a]\n: b\n", "line 4: a member's name must be a single value"},
		{"run: x\ntimeout: 0\n", "line 2: timeout must be from 1"},
		{"run: x\ntimeout: 25h\n", "line 2: timeout must be from 1"},
		{"run: x\ntimeout: -1\n", "line 2: timeout must be whole"},
		{"run: x\ntimeout: 1.5\n", "line 2: timeout must be whole"},
		{"run: x\ntimeout: 10 m\n", "line 2: timeout must be whole"},
		{"run: x\ntimeout: 99999999999999999999\n", "line 2: timeout must be from 1"},
		{"run: x\ntimeout:\n", "line 2: timeout must be whole"},
		{"run: x\nmemory: 2000G\n", "line 2: memory must be from 1"},
		{"run: x\nmemory: 1T\n", "line 2: memory must be whole"},
		{"run: x\nenv: y\n", "line 2: env must be a list"},
		{"run: x\nenv:\n  A B: y\n", "line 3: env: A B: a name has only"},
		{"run: x\nenv:\n  1A: y\n", "line 3: env: 1A: a name does not start"},
		{"run: x\nenv:\n  A: y\n  A: z\n", "line 4: env: A stands twice"},
		{"run: x\nenv:\n  PATH: y\n", "line 3: env: PATH: is set by the worker"},
		{"run: x\nenv:\n  TRABAJO_KEY: y\n", "line 3: env: TRABAJO_KEY: is set by the worker"},
		{"run: x\nenv:\n  A: [y]\n", "line 3: a value in env must be a single value"},
		{"run: x\nenv:\n  A: \"a\\0b\"\n", "line 3: a value in env has a NUL"},
		{"run: x\nartifacts: out\n", "line 2: artifacts must be a list"},
		{"run: x\nartifacts:\n  - /etc\n", "line 3: artifacts: /etc: a path is relative"},
		{"run: x\nartifacts:\n  - a/../b\n", "line 3: artifacts: a/../b: a path has no .."},
		{"run: x\nartifacts:\n  - ..\n", "line 3: artifacts: ..: a path has no .."},
		{"run: x\nartifacts:\n  - ''\n", "line 3: artifacts: : a path has"},
		{"run: x\nartifacts: [[a]]\n", "line 2: a path in artifacts must be a single value"},
		{"run: &a x\nenv: {B: *a}\n", "line 2: aliases"},
		{"run: !!python/object x\n", "line 1: tags"},
		{"run: !x y\n", "line 1: tags"},
		{"run: x\n---\nrun: y\n", "line 2: a second document"},
		{"run: 'x\n", "no YAML"},
		{"run: x\n\ty: z\n", "no YAML"},
		{"run: \xff\n", "line 1: no YAML"},
		{"run: x\n\nenv:\n  A: \xff\n", "line 4: no YAML"},
		{"run: x\r\n\r\nenv:\r\n  A: \x01\r\n", "line 4: no YAML"},
		{"%YAML 9.9\n---\nrun: x\n", "no YAML"},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		AUTO_ERROR struct error error = {0};
		struct plan plan = {.timeout_s = -1, .memory_mb = -1};
		if (plan_yaml_read(cases[i].text, strlen(cases[i].text), &plan, &error) == 0)
			fail_msg("taken: %s", cases[i].text);
		if (error.kind != ERROR_INPUT || !strstr(error_text(&error), cases[i].message) ||
			!strstr(error_text(&error), "trabajo.yaml: line "))
			fail_msg("%s: %s", cases[i].text, error_text(&error));
		plan_clear(&plan);
	}
}

static void floods_in_trabajo_yaml_are_refused(void **state) {
	(void)state;
	AUTO_ERROR struct error error = {0};
	static const struct {
		const char *head, *each, *message;
		int count;
	} cases[] = {{"run: x\nenv:\n", "  A%d: x\n", "env has more than 100", 101},
		{"run: x\nartifacts:\n", "  - a%d\n", "artifacts has more than 100", 101},
		{"run: x\nenv: ", "[", "env must be", 60000}, {"", "[", "the file must be", 60000},
		{"run: ", "aaaaaaaaaaaaaaaaaaaa%d", "run is longer", 2000}};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct plan plan = {.timeout_s = -1, .memory_mb = -1};
		char *text = NULL;
		size_t length;
		FILE *out = open_memstream(&text, &length);
		fputs(cases[i].head, out);
		for (int n = 0; n < cases[i].count; n++) {
			const char *number = strstr(cases[i].each, "%d");
			fprintf(out, "%.*s", number ? (int)(number - cases[i].each) : 100, cases[i].each);
			if (number) fprintf(out, "%d%s", n, number + 2);
		}
		fclose(out);
		assert_int_equal(plan_yaml_read(text, length, &plan, &error), -1);
		if (!strstr(error_text(&error), cases[i].message)) fail_msg("%s", error_text(&error));
		plan_clear(&plan);
		free(text);
	}
}

static void a_plan_that_would_not_fit_the_answer_is_refused(void **state) {
	struct tree *tree = *state;
	char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);
	fputs("run: x\nenv:\n", out);
	for (int n = 0; n < 100; n++) fprintf(out, "  A%d: %0500d\n", n, 0);
	fclose(out);
	put_bytes(tree, "trabajo.yaml", text, length, 0644);
	expect_broken(tree, "trabajo.yaml: asks for more than fits");
	free(text);
}

// ---- JSON

static void a_plan_survives_json(void **state) {
	(void)state;
	AUTO_ERROR struct error error = {0};
	struct plan plan = {.timeout_s = -1, .memory_mb = -1}, again;
	const char *text = "run: echo \"ñ\"\nenv: {A: \"x\\ty\"}\nartifacts: [a]\nmemory: 7\n";
	if (plan_yaml_read(text, strlen(text), &plan, &error) < 0) fail_msg("%s", error_text(&error));
	AUTO_JSON json_t *json = plan_json(&plan);
	if (plan_read(json, &again, &error) < 0) fail_msg("%s", error_text(&error));
	AUTO_JSON json_t *twice = plan_json(&again);
	assert_true(json_equal(json, twice));
	assert_int_equal(again.memory_mb, 7);
	assert_int_equal(again.timeout_s, -1);
	plan_clear(&plan);
	plan_clear(&again);
}

static void a_plan_that_is_not_ours_is_refused(void **state) {
	(void)state;
#define REST "\"timeout_s\":-1,\"memory_mb\":-1"
	static const char *const texts[] = {"7", "[]", "{}",
		"{\"kind\":\"evil\",\"command\":\"x\",\"argv\":[\"x\"],\"env\":[],\"artifacts\":[]," REST "}",
		"{\"kind\":\"main\",\"command\":\"\",\"argv\":[\"x\"],\"env\":[],\"artifacts\":[]," REST "}",
		"{\"kind\":\"main\",\"command\":\"\\u001b[31m\",\"argv\":[\"x\"],\"env\":[],\"artifacts\":[]," REST "}",
		"{\"kind\":\"main\",\"command\":\"x\",\"argv\":[\"x\"],\"env\":[],\"artifacts\":[],\"timeout_s\":0,\"memory_mb\":1}",
		"{\"kind\":\"main\",\"command\":\"x\",\"argv\":[\"x\"],\"env\":[],\"artifacts\":[],\"timeout_s\":1,\"memory_mb\":0}",
		"{\"kind\":\"main\",\"command\":7,\"argv\":[\"x\"],\"env\":[],\"artifacts\":[]," REST "}",
		"{\"kind\":\"main\",\"command\":\"x\",\"argv\":[],\"env\":[],\"artifacts\":[]," REST "}",
		"{\"kind\":\"main\",\"command\":\"x\",\"argv\":[\"\"],\"env\":[],\"artifacts\":[]," REST "}",
		"{\"kind\":\"main\",\"command\":\"x\",\"argv\":\"x\",\"env\":[],\"artifacts\":[]," REST "}",
		"{\"kind\":\"main\",\"command\":\"x\",\"argv\":[7],\"env\":[],\"artifacts\":[]," REST "}",
		"{\"kind\":\"main\",\"command\":\"x\",\"argv\":[\"a\",\"b\",\"c\",\"d\"],\"env\":[],\"artifacts\":[]," REST "}",
		"{\"kind\":\"main\",\"command\":\"x\",\"argv\":[\"x\"],\"env\":[\"PATH=/\"],\"artifacts\":[]," REST "}",
		"{\"kind\":\"main\",\"command\":\"x\",\"argv\":[\"x\"],\"env\":[\"A\"],\"artifacts\":[]," REST "}",
		"{\"kind\":\"main\",\"command\":\"x\",\"argv\":[\"x\"],\"env\":[],\"artifacts\":[\"../x\"]," REST "}",
		"{\"kind\":\"main\",\"command\":\"x\",\"argv\":[\"x\"],\"env\":[],\"artifacts\":[],\"timeout_s\":\"x\",\"memory_mb\":1}",
		"{\"kind\":\"main\",\"command\":\"x\",\"argv\":[\"x\"],\"env\":[],\"artifacts\":[],\"timeout_s\":1,\"memory_mb\":99999999}",
		"{\"kind\":\"main\",\"command\":\"x\",\"argv\":[\"x\"],\"env\":[],\"artifacts\":[],\"more\":1," REST "}", NULL};
	for (const char *const *text = texts; *text; text++) {
		AUTO_ERROR struct error error = {0};
		struct plan plan;
		AUTO_JSON json_t *json = json_loads(*text, JSON_DECODE_ANY, NULL);
		assert_non_null(json);
		if (plan_read(json, &plan, &error) == 0) fail_msg("taken: %s", *text);
		assert_null(plan.argv);
	}
}

int main(void) {
#define WITH_TREE(test) cmocka_unit_test_setup_teardown(test, tree_up, tree_down)
	const struct CMUnitTest tests[] = {
		WITH_TREE(the_first_candidate_that_applies_wins),
		WITH_TREE(what_only_looks_like_a_candidate_is_named_with_its_reason),
		WITH_TREE(folders_with_the_names_of_files_do_not_count),
		WITH_TREE(links_inside_the_tree_are_followed_and_links_out_are_not),
		WITH_TREE(what_a_repository_without_a_plan_seems_to_be_is_said_with_the_remedy),
		WITH_TREE(a_folder_or_a_link_is_no_hint),
		cmocka_unit_test(a_broken_package_json_is_not_quoted),
		cmocka_unit_test(package_json_is_read_as_npm_does),
		cmocka_unit_test(deeply_nested_package_json_is_refused),
		WITH_TREE(too_large_files_are_refused),
		cmocka_unit_test(a_makefile_has_main_where_a_rule_names_it),
		cmocka_unit_test(a_makefile_without_such_a_rule_has_none),
		cmocka_unit_test(a_whole_trabajo_yaml_is_read),
		cmocka_unit_test(a_command_is_shown_without_what_a_terminal_would_obey),
		cmocka_unit_test(amounts_take_units),
		cmocka_unit_test(a_bad_trabajo_yaml_is_refused_with_its_line),
		cmocka_unit_test(floods_in_trabajo_yaml_are_refused),
		WITH_TREE(a_plan_that_would_not_fit_the_answer_is_refused),
		cmocka_unit_test(a_plan_survives_json),
		cmocka_unit_test(a_plan_that_is_not_ours_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
