#include "worker/plan_part.h"

#include <fcntl.h>
#include <sys/stat.h>

// The first that is there counts: what is most likely meant stands first.
static const struct {
	const char *file, *hint;
} hints[] = {
	{"trabajo.yml", "trabajo.yml is not looked at: call it trabajo.yaml"},
	{"GNUmakefile", "GNUmakefile is not looked at: call it Makefile"},
	{"makefile", "makefile is not looked at: call it Makefile"},
	{"go.mod",
		"this seems to be a Go module (go.mod): add a trabajo.yaml with the line \"run: go run .\"; where jobs have no "
		"network, what it depends on must lie in the repository (go mod vendor)"},
	{"Cargo.toml",
		"this seems to be a Rust package (Cargo.toml): add a trabajo.yaml with the line \"run: cargo run --release\"; where "
		"jobs have no network, what it depends on must lie in the repository (cargo vendor)"},
	{"CMakeLists.txt", "this seems to be built by CMake (CMakeLists.txt): add a trabajo.yaml with a line such as "
			   "\"run: cmake -B build && cmake --build build && build/PROGRAM\""},
	{"requirements.txt",
		"this seems to be a Python program (requirements.txt): name the program main.py, or add a trabajo.yaml with a line such "
		"as \"run: python3 -m venv .venv && .venv/bin/pip install -r requirements.txt && .venv/bin/python PROGRAM.py\"; where "
		"jobs have no network, what it depends on must be installed on the worker"},
	{"pyproject.toml", "this seems to be a Python package (pyproject.toml): add a trabajo.yaml with a line such as "
			   "\"run: python3 -m PACKAGE\""},
	{"setup.py", "this seems to be a Python package (setup.py): add a trabajo.yaml with a line such as "
		     "\"run: python3 -m PACKAGE\""},
	{"Dockerfile", "no images are built here (Dockerfile): add a trabajo.yaml that says after \"run:\" what its CMD says"},
};

const char *plan_hint(int tree_fd) {
	for (size_t i = 0; i < COUNT_OF(hints); i++) {
		struct stat status;
		if (fstatat(tree_fd, hints[i].file, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode))
			return hints[i].hint;
	}
	return NULL;
}
