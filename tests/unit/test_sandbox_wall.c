// Landlock, the second wall: that it stands alone where the first one has a hole, that programs can live with it, and that a
// kernel without it is named.
#include "tests/unit/sandbox_group.h"
#include "worker/init/landlock.h"
#include "worker/probe.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>

#define CALL_CREATE_RULESET 444

static void require_wall(void) {
	rig_require(&rig, SANDBOX_REDUCED);
	if (rig.sandbox->maker.landlock >= LANDLOCK_LEAST) return;
	AUTO_JSON json_t *description = sandbox_describe(rig.sandbox);
	print_message("not offered here: Landlock: %s\n", json_text(description, "missing_landlock"));
	skip();
}

// As if the kernel had been built without it: a filter of this one call in place of the worker's. Returns the worker's.
static int take_landlock_away(void) {
	struct sock_filter instructions[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CALL_CREATE_RULESET, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	int own = rig.sandbox->maker.filter;
	rig.sandbox->maker.filter = memfd_create("no-landlock", MFD_CLOEXEC);
	assert_int_equal(write(rig.sandbox->maker.filter, instructions, sizeof(instructions)), sizeof(instructions));
	rig_throw_spares_away(&rig);
	return own;
}

static void give_landlock_back(int own) {
	close(rig.sandbox->maker.filter);
	rig.sandbox->maker.filter = own;
	rig_throw_spares_away(&rig);
}

// A bubblewrap whose read-only mounts are writable ones.
static const char holey[] = "#!/bin/sh\n"
			    "n=$#\n"
			    "while [ $n -gt 0 ]; do\n"
			    "	case $1 in --ro-bind) set -- \"$@\" --bind ;; *) set -- \"$@\" \"$1\" ;; esac\n"
			    "	shift; n=$((n - 1))\n"
			    "done\n"
			    "exec /usr/bin/bwrap \"$@\"\n";

static void what_a_mount_lets_through_is_refused_by_landlock(void **state) {
	(void)state;
	require_wall();
	AUTO_FREE char *etc = mem_format("%s/etc", rig.sandbox->maker.root.root);
	AUTO_FREE char *own = rig.sandbox->maker.bwrap;
	if (strcmp(own, "/usr/bin/bwrap") != 0) skip();
	assert_int_equal(chmod(etc, 0777), 0);
	rig_write(rig.dir, "holey", holey, 0755);
	rig.sandbox->maker.bwrap = mem_format("%s/holey", rig.dir);
	static const char script[] =
		"echo x >/etc/hole && echo written; rm -f /etc/hole; mkdir /etc/deeper && rmdir /etc/deeper "
		"&& echo made; cat /etc/hostname";
	AUTO_RESULT struct rig_result without, with;
	int filter = take_landlock_away();
	rig_shell(&rig, script, &without);
	give_landlock_back(filter);
	rig_shell(&rig, script, &with);
	free(rig.sandbox->maker.bwrap);
	rig.sandbox->maker.bwrap = STEAL(own);
	rig_throw_spares_away(&rig);
	assert_int_equal(chmod(etc, 0755), 0);
	assert_string_equal(without.out, "written\nmade\ntrabajo\n");
	assert_string_equal(with.out, "trabajo\n");
	assert_non_null(strstr(with.err, "/etc/hole: Permission denied"));
}

static void what_programs_live_by_is_allowed(void **state) {
	(void)state;
	require_wall();
	rig_require(&rig, SANDBOX_FULL); // for /proc
	AUTO_RESULT struct rig_result result;
	rig_shell(&rig,
		"set -e; cd /tmp; mkdir a b; echo 1 >a/x; mv a/x b/y; ln b/y a/z; ln -s a l; mkfifo f; : >a/z; rm -r a b l f\n"
		"echo 2 >/dev/null; : >/dev/null; echo 3 >/dev/stdout; echo 4 >/dev/fd/1; echo 5 >/dev/shm/s; rm /dev/shm/s\n"
		"head -c 4 /dev/urandom >$HOME/r; head -c 8192 /dev/zero >$HOME/t; truncate -s 4096 $HOME/t; cat /proc/self/maps >/dev/null\n"
		"printf '#!/bin/sh\\necho 6\\n' >run; chmod +x run; ./run; : <<E\nhere\nE\n"
		"(exec 2>/dev/null; sleep 30 & kill $!; wait $! || echo 7)",
		&result);
	assert_string_equal(result.err, "");
	assert_string_equal(result.out, "3\n4\n6\n7\n");
	assert_int_equal(result.report.exit_code, 0);
}

static void terminals_sockets_and_memory_files_work_behind_it(void **state) {
	(void)state;
	require_wall();
	if (access("/usr/bin/python3", X_OK) != 0) skip();
	AUTO_RESULT struct rig_result result;
	rig_shell(&rig,
		"python3 - <<'E'\nimport os, pty, socket, termios\n"
		"master, slave = os.openpty()\ntermios.tcgetattr(os.open(os.ttyname(slave), os.O_RDWR))\n"
		"server = socket.socket(socket.AF_UNIX)\nserver.bind('/tmp/s')\nserver.listen()\n"
		"client = socket.socket(socket.AF_UNIX)\nclient.connect('/tmp/s')\n"
		"other = socket.socket(socket.AF_UNIX)\nother.bind('\\0own')\nother.listen()\nsocket.socket(socket.AF_UNIX).connect('\\0own')\n"
		"try:\n    memory = os.memfd_create('m')\nexcept OSError:\n    memory = 1  # not where nothing could count it\n"
		"open(f'/proc/self/fd/{memory}', 'w').write('')\n"
		"web = socket.create_server(('127.0.0.1', 0))\nsocket.create_connection(web.getsockname())\nprint('all')\nE",
		&result);
	assert_string_equal(result.err, "");
	assert_string_equal(result.out, "all\n");
}

static void a_kernel_without_landlock_is_named_and_no_error(void **state) {
	(void)state;
	rig_require(&rig, SANDBOX_REDUCED);
	struct box_maker *maker = &rig.sandbox->maker;
	int version = maker->landlock, why = maker->no_landlock;
	int filter = take_landlock_away();
	struct error error = {0};
	// This filter refuses nothing else: the probe finds a box that does not hold, but what it says of Landlock stands.
	assert_int_equal(probe_box(maker, rig.dir, &error), -1);
	assert_null(strstr(error_text(&error), "landlock"));
	error_clear(&error);
	AUTO_JSON json_t *description = sandbox_describe(rig.sandbox);
	AUTO_RESULT struct rig_result result;
	rig_shell(&rig, "echo runs", &result);
	give_landlock_back(filter);
	maker->landlock = version;
	maker->no_landlock = why;
	assert_true(json_is_null(json_object_get(description, "landlock")));
	assert_non_null(strstr(json_text(description, "missing_landlock"), "built without Landlock"));
	assert_string_equal(result.out, "runs\n");
}

static void the_version_is_in_the_description(void **state) {
	(void)state;
	require_wall();
	AUTO_JSON json_t *description = sandbox_describe(rig.sandbox);
	assert_int_equal(json_integer_value(json_object_get(description, "landlock")), rig.sandbox->maker.landlock);
	assert_true(json_is_null(json_object_get(description, "missing_landlock")));
}

int main(int argc, char **argv) {
	(void)argv;
	if (argc > 1) return 99;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_mount_lets_through_is_refused_by_landlock),
		cmocka_unit_test(what_programs_live_by_is_allowed),
		cmocka_unit_test(terminals_sockets_and_memory_files_work_behind_it),
		cmocka_unit_test(a_kernel_without_landlock_is_named_and_no_error),
		cmocka_unit_test(the_version_is_in_the_description),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
