// Theory of operation
// ===================
//
// A job is any repository on the internet: hostile. It shall not read, change, hinder or outlive anything outside of its box:
// not the worker, its database password and its Kafka connection, not other jobs, not the machine, not the network.
//
// The mechanisms, each with what it is for:
//
//   user namespace        the job's uid 1000 is a powerless uid outside: one of the slot's own where the worker is root (so that
//                         jobs are strangers to each other even if all else failed), else the worker's. No capabilities, and
//                         no_new_privs: setuid programs are ordinary ones. Nested user namespaces are disabled (full).
//   mount namespace       the root is a small folder of the worker's own and the host's /usr, both read-only; the one writable
//                         place is a tmpfs of the job's disk size (/trabajo; /tmp is a link into it), besides 64 MiB of /dev/shm.
//                         No path of the host that could hold a secret is there.
//   overlayfs             the tree of a commit is one for all jobs that run it, and read-only; each sees it with its own changes,
//                         which lie in its tmpfs. A helper outside (init/helper.c) mounts it before the job begins; where that
//                         cannot be, the tree comes in by a descriptor and is copied (by reflink where both sides are on one
//                         file system that has it: at level none only, since a box's tmpfs is another one)
//   pid namespace         the job sees and signals its own processes only; they die with its pid 1, however they were started
//   network namespace     nothing but a loopback interface of its own; abstract sockets of the host are out of reach. A job with
//                         egress has slirp4netns behind a packet filter in its namespace (init/network.c): public addresses only
//   ipc, uts, cgroup      its own; what it leaves there goes with the namespace
//   system call filter    seccomp.c: parts of the kernel that reach beyond the box or are young and large
//   Landlock              a second wall around files, where the kernel has it (Linux 5.19): the job writes below its own places
//                         only, and reads and executes only what hangs below the box's root, whatever the mounts let
//                         through; no device nodes; from Linux 6.12 on no signals and abstract sockets to the outside
//   control group         memory and swap, number of tasks, a share of the CPU of its own, the CPU time used; limits.c
//   rlimits               file size, open files, processes, core files, locked memory
//   sampler               kills a box whose anonymous memory exceeds the job's limit (below: why the group alone cannot)
//
// The order of steps, and what each failure means. Every failure before "started" is the platform's, but for those of the tree
// and of the command itself; a step that fails ends the box, nothing goes on with less.
//
//   1  worker       makes the control group, the pipes; starts `trabajos-init launch` by posix_spawn: the worker has threads, so
//                   nothing but exec happens in the child                                             fails: sandbox_start
//   2  launch       joins the group, forks the helper (which takes the worker's trees as a mount that hangs nowhere, and then drops
//                   like launch itself), drops to the box's uid, no_new_privs, closes all descriptors but the box's four
//   3  bubblewrap   makes the namespaces and mounts, drops capabilities, loads the filter; what it complains about arrives on
//                   the box's stream and becomes the error's text
//   4  init         pid 1 of the box: says "ready" and waits. Up to here nothing depends on the job: this much is made ahead of
//                   time (a spare for each slot, while its last job still runs), and a job's start costs only what
//                   follows
//   5  worker       sets the group's bounds, sends the specification (command, environment, rlimits) and the tree's folder
//   6  init         has the helper show the tree of the job (a helper that broke off half-way: the platform's), else copies it
//                   (its fault: too deep, too large, too many), closes what is outside, sets the rlimits,
//                   enforces Landlock (its rules were made before "ready"; without them where the kernel has none),
//                   executes the command in a session of its own ("started", or "refused": exit code 126 or 127), with a second
//                   filter, which refuses nothing and has pid 1 asked about open files
//   7  init         waits; at the command's end kills and reaps all else, says "ended" with the wait status and the usage
//   8  worker       reads both pipes to their ends and calls done. The box ends by itself, its group is removed behind
//
// Killing: pid 1 of the box is asked to kill and reap all else, so that the usage is known; where it has not ended 100 ms later,
// it is killed by its pidfd, whereupon the kernel kills all of the namespace; then bubblewrap ends. If the worker dies, its end
// of the stream closes and bubblewrap gets SIGKILL: both end the box.
//
// Memory: pages of the tmpfs count in the same control group as the job's memory, and cannot be told apart in its one bound. So
// the bound is memory + disk, a hard wall (the kernel's out-of-memory killer), and the sampler holds the line between:
// anonymous memory above the job's limit ends the box within 50 ms. What is neither (memfd, shared anonymous maps) has the
// wall. Inodes of a tmpfs are kernel memory, cannot be limited by bubblewrap, and are counted by pid 1 every 100 ms,
// those of /dev/shm as well.
//
// Without a group memory is what the sampler sees mapped: no wall. A shared page that was touched and let go of stays, and nobody
// shows it; memfd and System V's things, which would make that easy, are refused there.
//
// Whose shortage: the group also counts what others do to it, a process that the machine's own killer took, or a container's, and
// a fork that a group above refused. Those are the job's fault only where its group met its own bound. A job that the machine had
// no memory for is the platform's fault and tried again, and no peak is made up for it.
//
// Processor time is the group's, from "started" to "ended": that includes children whom nobody reaps (SIGCHLD ignored), whose times
// the kernel adds to nobody's, pid 1's own little, and slirp4netns's work for the job. Without a group it is what pid 1 has reaped
// and, every 500 ms, what the tree shows, which misses such children once they have ended: a job can then use more than JOB_CPU_S, as
// far as its wall time lets it.
//
// Open files: the kernel bounds them by process, and counts no call that it refused for it. So pid 1 is asked when a process begins
// to use the last descriptor that it can have, and counts (init/files.c). Who does not use it, and all at level reduced, where
// there is no /proc to look into, is seen by the sampler only, every 100 ms. It ends nothing: should the job fail, that is why
// (outcome `files`). A code of its own, since neither more memory nor more processes would help.
//
// Levels: `full` is all of this. `reduced`: the machine (a container, mostly) does not let a /proc be mounted; /proc is then an
// empty read-only folder, and user namespaces are refused by the filter only. `none`: no bubblewrap, no namespaces; a uid of its
// own where the worker is root, rlimits, filter and control group; for an operator's own code. The level is not what the machine
// claims but what probe.c found by really trying to break out, with the very same steps.
//
// What this does not cover: faults of the kernel behind the calls that stay open, side channels between jobs on one CPU, and at
// level none everything that the uid may do.
#include "worker/sandbox.h"

#include "lib/mem.h"
#include "worker/init/landlock.h"
#include "worker/probe.h"
#include "worker/sandbox_internal.h"
#include "worker/seccomp.h"

#include <errno.h>
#include <sys/utsname.h>

#define COLLECT_MS             60000
#define PREPARE_MS             1
#define PREPARE_APART_MS       20 // at the worker's start
#define PREPARE_FAILED_MS      100
#define PREPARE_FAILED_MOST_MS 30000

const char *const sandbox_level_names[] = {"full", "reduced", "none", NULL};

// ---- spares

static void prepare(void *arg) {
	struct sandbox_slot *slot = arg;
	struct sandbox *sandbox = slot->sandbox;
	if (slot->spare || slot->disk_bytes <= 0 || sandbox->maker.level > sandbox->weakest) return;
	slot->spare = cell_new(slot, NULL);
	if (!slot->spare) sandbox_spare_lost(slot, NULL);
}

void sandbox_slot_free(struct sandbox_slot *slot) {
	if (!slot->spare) loop_timer_set(slot->prepare, PREPARE_MS);
}

// The next start says why, with an error of its own; here is only tried again, ever more seldom.
void sandbox_spare_lost(struct sandbox_slot *slot, struct sandbox_cell *cell) {
	if (cell) cell_leave(cell);
	slot->spare = NULL;
	int64_t delay_ms = PREPARE_FAILED_MS << (slot->failures < 10 ? slot->failures : 10);
	slot->failures++;
	loop_timer_set(slot->prepare, delay_ms < PREPARE_FAILED_MOST_MS ? delay_ms : PREPARE_FAILED_MOST_MS);
}

static void make_slots(struct sandbox *sandbox, const struct sandbox_config *config) {
	sandbox->slot_count = config->slots;
	sandbox->slots = mem_zalloc_array((size_t)config->slots, sizeof(*sandbox->slots));
	for (int i = 0; i < config->slots; i++) {
		struct sandbox_slot *slot = &sandbox->slots[i];
		*slot = (struct sandbox_slot){.sandbox = sandbox, .index = i, .disk_bytes = config->disk_bytes};
		slot->prepare = loop_timer_new(sandbox->loop, prepare, slot);
		loop_timer_set(slot->prepare, i * PREPARE_APART_MS);
	}
}

// ---- open

static char *find_bwrap(void) {
	static const char *const places[] = {"/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap"};
	for (size_t i = 0; i < COUNT_OF(places); i++)
		if (access(places[i], X_OK) == 0) return mem_strdup(places[i]);
	return NULL;
}

// Since Linux 5.14 processes are counted by user namespace.
static bool kernel_counts_by_namespace(void) {
	struct utsname name;
	int major = 0, minor = 0;
	if (uname(&name) != 0 || sscanf(name.release, "%d.%d", &major, &minor) != 2) return false;
	return major > 5 || (major == 5 && minor >= 14);
}

static void lacking(struct sandbox *sandbox, const struct error *error) {
	const char *message = error_text(error);
	AUTO_FREE char *remedy = probe_remedy(message);
	free(sandbox->missing);
	sandbox->missing = mem_format("%s%s%s%s", message, *remedy ? " (" : "", remedy, *remedy ? ")" : "");
}

// Whether the next box shall have this level; what keeps it from `full` is remembered.
static bool try_level(struct sandbox *sandbox, enum sandbox_level level, struct error *error) {
	struct box_maker *maker = &sandbox->maker;
	maker->level = level;
	bool shared_uid = maker->uid_base == (uid_t)-1;
	maker->uid_counts = shared_uid && (level == SANDBOX_NONE || !kernel_counts_by_namespace());
	if (probe_box(maker, sandbox->dir, error) == 0) return true;
	if (level == SANDBOX_FULL) lacking(sandbox, error);
	return false;
}

static int find_level(struct sandbox *sandbox, struct error *error) {
	AUTO_ERROR struct error reason = {0};
	if (sandbox->maker.bwrap) {
		if (try_level(sandbox, SANDBOX_FULL, &reason) || try_level(sandbox, SANDBOX_REDUCED, &reason)) return 0;
	} else {
		(void)error_set(&reason, ERROR_UNAVAILABLE, "bubblewrap is not installed: apt-get install bubblewrap");
		lacking(sandbox, &reason);
	}
	if (try_level(sandbox, SANDBOX_NONE, &reason)) return 0;
	return error_set(error, ERROR_UNAVAILABLE, "no job can be started here: %s; isolated: %s", error_text(&reason),
		sandbox->missing);
}

// Boxes made from now on have the helper for it.
static void find_egress(struct sandbox *sandbox, const struct sandbox_config *config) {
	struct box_maker *maker = &sandbox->maker;
	AUTO_ERROR struct error error = {0};
	maker->rules = mem_format("%s/" EGRESS_FILE, maker->root.folder);
	maker->deny = mem_strdup(config->egress_deny ? config->egress_deny : "");
	if (probe_egress(maker, &error) == 0 &&
		sandbox_root_write(&maker->root, "root/etc/resolv.conf", "nameserver " SPEC_NAMESERVER "\n", &error) == 0)
		return;
	sandbox->no_egress = mem_strdup(error_text(&error));
	free(STEAL(maker->rules));
}

static int make(struct sandbox *sandbox, const struct sandbox_config *config, struct error *error) {
	struct box_maker *maker = &sandbox->maker;
	maker->limits = limits_open();
	maker->bwrap = find_bwrap();
	maker->uid_base = geteuid() == 0 ? config->uid_base : (uid_t)-1;
	// What no group counts must not exist outside of any process's own size.
	if (seccomp_make(!limits_memory(maker->limits), &maker->filter, error) != 0) return -1;
	if (sandbox_root_make(config->dir, config->init_program, 2 * config->slots, maker->uid_base, &maker->root, error) != 0)
		return -1;
	maker->trees = config->trees ? mem_strdup(config->trees) : NULL;
	if (find_level(sandbox, error) != 0) return -1;
	if (maker->unshared) free(STEAL(maker->trees));
	if (config->egress) find_egress(sandbox, config);
	return 0;
}

int sandbox_open(struct loop *loop, const struct sandbox_config *config, struct sandbox **sandbox, struct error *error) {
	struct sandbox *made = mem_zalloc(sizeof(*made));
	made->loop = loop;
	made->weakest = config->weakest;
	made->collect_ms = COLLECT_MS;
	made->dir = mem_strdup(config->dir);
	made->maker.filter = made->maker.root.lock = -1;
	if (make(made, config, error) != 0) {
		sandbox_close(made);
		return -1;
	}
	make_slots(made, config);
	*sandbox = made;
	return 0;
}

void sandbox_close(struct sandbox *sandbox) {
	if (!sandbox) return;
	cell_close_all(sandbox);
	for (int i = 0; i < sandbox->slot_count; i++) loop_timer_free(sandbox->slots[i].prepare);
	free(sandbox->slots);
	sandbox_root_remove(&sandbox->maker.root);
	if (sandbox->maker.filter >= 0) close(sandbox->maker.filter);
	limits_close(sandbox->maker.limits);
	free(sandbox->maker.bwrap);
	free(sandbox->maker.trees);
	free(sandbox->maker.rules);
	free(sandbox->maker.deny);
	free(sandbox->no_egress);
	free(sandbox->maker.unshared);
	free(sandbox->missing);
	free(sandbox->dir);
	free(sandbox);
}

// ---- what it is

enum sandbox_level sandbox_level(const struct sandbox *sandbox) {
	return sandbox->maker.level;
}

const char *sandbox_missing(const struct sandbox *sandbox) {
	return sandbox->missing;
}

const char *sandbox_no_egress(const struct sandbox *sandbox) {
	return sandbox->no_egress;
}

static json_t *text_or_null(const char *text) {
	return text ? json_string(text) : json_null();
}

// NULL: it stands.
static const char *why_no_landlock(const struct box_maker *maker) {
	if (maker->landlock >= LANDLOCK_LEAST) return NULL;
	if (maker->level == SANDBOX_NONE) return "there is no box at level none";
	switch (maker->no_landlock) {
	case 0:
		return "the kernel's Landlock is too old: Linux 5.19 and later";
	case EOPNOTSUPP:
		return "Landlock was not turned on at boot: the kernel's parameter lsm=landlock,…";
	case ENOSYS:
		return "the kernel was built without Landlock, or is older than Linux 5.19";
	default:
		return "Landlock's calls are refused here: by a container's seccomp profile, for one";
	}
}

// NULL: overlayfs shows the trees.
static const char *why_copied(const struct box_maker *maker) {
	if (maker->level == SANDBOX_NONE) return "there is no box at level none";
	if (maker->trees) return NULL;
	return maker->unshared ? maker->unshared : "WORKER_WORKSPACE=copy";
}

json_t *sandbox_describe(const struct sandbox *sandbox) {
	const struct box_maker *maker = &sandbox->maker;
	json_t *json = json_object();
	bool none = maker->level == SANDBOX_NONE;
	const char *no_landlock = why_no_landlock(maker), *copied = why_copied(maker);
	(void)json_object_set_new(json, "level", json_string(sandbox_level_names[maker->level]));
	(void)json_object_set_new(json, "cgroup", text_or_null(limits_kind(maker->limits)));
	(void)json_object_set_new(json, "memory", json_string(limits_memory(maker->limits) ? "cgroup" : "sampler"));
	(void)json_object_set_new(json, "processes",
		json_string(limits_processes(maker->limits) ? "cgroup"
			    : maker->uid_counts             ? "none"
							    : "rlimit"));
	(void)json_object_set_new(json, "cpu", json_string(limits_cpu(maker->limits) ? "cgroup" : "sampler"));
	(void)json_object_set_new(json, "disk", json_string(none ? "rlimit" : "tmpfs"));
	(void)json_object_set_new(json, "network", json_string(none ? "host" : maker->rules ? "egress" : "none"));
	(void)json_object_set_new(json, "workspace", json_string(copied ? "copy" : "overlay"));
	(void)json_object_set_new(json, "uid", json_string(maker->uid_base == (uid_t)-1 ? "worker" : "slot"));
	(void)json_object_set_new(json, "landlock", no_landlock ? json_null() : json_integer(maker->landlock));
	(void)json_object_set_new(json, "missing", text_or_null(sandbox->missing));
	(void)json_object_set_new(json, "missing_landlock", text_or_null(no_landlock));
	(void)json_object_set_new(json, "missing_workspace", text_or_null(copied));
	(void)json_object_set_new(json, "missing_limits", text_or_null(limits_why(maker->limits)));
	return json;
}
