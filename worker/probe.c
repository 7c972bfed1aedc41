#include "worker/probe.h"

#include "lib/loop.h"
#include "lib/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define PROBE_MS         30000 // a machine that is busy just now is not a weaker one
#define PROBE_PROCESSES  24
#define PROBE_DISK       (4 << 20)
#define PROBE_FILE       (1 << 20)
#define PROBE_MEMORY     (64 << 20)
#define PROBE_TEXT_BYTES 16384

struct probing {
	struct box box;
	int64_t until_ms;
	char text[PROBE_TEXT_BYTES]; // what the program inside printed
	size_t length;
	bool ended;
	int status;
	int landlock, no_landlock; // as the box said
	bool shared;
	char *unshared; // why not
};

// ---- the box, without a loop

static const char *unshared_remedy(int number) {
	if (number == EOPNOTSUPP) return " (tmpfs keeps user attributes since Linux 6.6)";
	return number == EPERM || number == EACCES ? " (a container's profile refuses setns or mounts)" : "";
}

static int on_event(struct probing *probing, const struct box_event *event, struct error *error) {
	switch (event->kind) {
	case BOX_READY:
		probing->landlock = event->landlock;
		probing->no_landlock = event->number;
		return 0;
	case BOX_SHARED:
		probing->shared = true;
		return 0;
	case BOX_UNSHARED:
		free(probing->unshared);
		probing->unshared =
			mem_format("%s: %s%s", event->what, strerror(event->number), unshared_remedy(event->number));
		return 0;
	case BOX_REFUSED:
	case BOX_FAILED:
		return error_set_errno(error, ERROR_UNAVAILABLE, event->number, "%s", event->what);
	case BOX_ENDED:
		probing->ended = true;
		probing->status = event->status;
		return 0;
	default:
		return 0;
	}
}

static void read_text(struct probing *probing) {
	while (probing->length < sizeof(probing->text) - 1) {
		ssize_t length =
			read(probing->box.out, probing->text + probing->length, sizeof(probing->text) - 1 - probing->length);
		if (length <= 0) return;
		probing->length += (size_t)length;
	}
}

static int wait_for_end(struct probing *probing, struct error *error) {
	while (!probing->ended) {
		struct box_event event;
		int result = box_read(&probing->box, &event);
		if (result == 1 && on_event(probing, &event, error) != 0) return -1;
		if (result == 1) continue;
		const char *complaint = probing->box.complaint;
		if (result < 0)
			return error_set(
				error, ERROR_UNAVAILABLE, "%s", complaint ? complaint : "the box ended without a word");
		int64_t left_ms = probing->until_ms - loop_now_ms();
		if (left_ms <= 0)
			return error_set(error, ERROR_UNAVAILABLE, "the box did not end within %d s", PROBE_MS / 1000);
		struct pollfd polled[] = {
			{.fd = probing->box.socket, .events = POLLIN}, {.fd = probing->box.out, .events = POLLIN}};
		(void)poll(polled, probing->length < sizeof(probing->text) - 1 ? 2 : 1, (int)left_ms);
		read_text(probing);
	}
	read_text(probing);
	return 0;
}

static void remove_box(struct probing *probing) {
	int64_t until_ms = loop_now_ms() + PROBE_MS / 2;
	box_kill(&probing->box);
	for (int wait_ms = 1; !box_over(&probing->box) && loop_now_ms() < until_ms; wait_ms = wait_ms < 50 ? wait_ms * 2 : 50) {
		struct pollfd polled = {.fd = probing->box.pidfd, .events = POLLIN};
		(void)poll(&polled, 1, wait_ms);
		if (wait_ms == 50) box_kill(&probing->box);
	}
	while (box_clear(&probing->box) != 0) {
		if (loop_now_ms() >= until_ms) {
			box_abandon(&probing->box);
			return;
		}
		(void)poll(NULL, 0, 1);
	}
}

// ---- what it found

// Every line but the last names something that was possible.
static int judge_text(struct probing *probing, struct error *error) {
	probing->text[probing->length] = 0;
	char *last = strstr(probing->text, "probed ");
	if (!last || probing->status != 0)
		return error_set(error, ERROR_UNAVAILABLE, "the probe inside of the box was cut short (wait status %d)",
			probing->status);
	*last = 0;
	for (char *at = probing->text; *at; at++)
		if (*at == '\n') *at = at[1] ? ';' : 0;
	return *probing->text ? error_set(error, ERROR_UNAVAILABLE, "the box does not hold: %s", probing->text) : 0;
}

static int run_egress_probe(const struct box_maker *maker, struct probing *probing, struct error *error) {
	AUTO_FREE char *tree = mem_format("%s/empty", maker->root.folder);
	char *argv[] = {(char[]){SPEC_INIT}, (char[]){"probe"}, (char[]){"egress"}, NULL}, *env[] = {NULL};
	const struct sandbox_job job = {.tree = tree,
		.argv = argv,
		.env = env,
		.egress = true,
		.limits = {.memory_bytes = PROBE_MEMORY,
			.processes = PROBE_PROCESSES,
			.disk_bytes = PROBE_DISK,
			.file_bytes = PROBE_FILE,
			.open_files = 256}};
	if (box_spawn(maker, 0, PROBE_DISK, &probing->box, error) != 0) return -1;
	int result = box_send(maker, &probing->box, &job, error);
	if (result == 0) result = wait_for_end(probing, error);
	remove_box(probing);
	return result == 0 ? judge_text(probing, error) : -1;
}

static const char *egress_lacks(const struct box_maker *maker) {
	if (maker->level == SANDBOX_NONE) return "level none has no network of its own";
	if (access(SPEC_SLIRP, X_OK) != 0) return "slirp4netns is not installed: apt-get install slirp4netns";
	if (access(SPEC_NFT, X_OK) != 0) return "nft is not installed: apt-get install nftables";
	struct stat tun;
	if (stat("/dev/net/tun", &tun) != 0) return "there is no /dev/net/tun: Docker --device /dev/net/tun, or modprobe tun";
	// By the box's user, who is nobody to the device.
	bool open_to_all = (tun.st_mode & (S_IROTH | S_IWOTH)) == (S_IROTH | S_IWOTH);
	if (!open_to_all && (maker->uid_base != (uid_t)-1 || access("/dev/net/tun", R_OK | W_OK) != 0))
		return "/dev/net/tun is closed to the boxes' users: chmod 666 /dev/net/tun, as udev has it";
	return NULL;
}

int probe_egress(struct box_maker *maker, struct error *error) {
	const char *lacking = egress_lacks(maker);
	if (lacking) return error_set(error, ERROR_UNAVAILABLE, "%s", lacking);
	AUTO_FREE struct probing *probing = mem_zalloc(sizeof(*probing));
	probing->until_ms = loop_now_ms() + PROBE_MS;
	int result = run_egress_probe(maker, probing, error);
	free(probing->unshared);
	return result;
}

static int run_probe(const struct box_maker *maker, const char *hidden, struct probing *probing, struct error *error) {
	AUTO_FREE char *tree = mem_format("%s/empty", maker->root.folder);
	// Where neither group nor rlimit bounds them, the sampler would have to kill the probe.
	bool bounded = limits_processes(maker->limits) || !maker->uid_counts;
	AUTO_FREE char *processes = mem_format("%d", bounded ? PROBE_PROCESSES : 0);
	AUTO_FREE char *disk = mem_format("%d", PROBE_DISK);
	AUTO_FREE char *file = mem_format("%d", PROBE_FILE);
	AUTO_FREE char *folder = mem_strdup(hidden);
	AUTO_FREE char *level = mem_strdup(sandbox_level_names[maker->level]);
	char *program = maker->bwrap && maker->level != SANDBOX_NONE ? (char[]){SPEC_INIT} : maker->root.init;
	char *argv[] = {program, (char[]){"probe"}, level, folder, processes, disk, file, NULL};
	char *env[] = {NULL};
	const struct sandbox_job job = {
		.tree = tree,
		.argv = argv,
		.env = env,
		.limits = {.memory_bytes = PROBE_MEMORY,
			.processes = PROBE_PROCESSES,
			.disk_bytes = PROBE_DISK,
			.file_bytes = PROBE_FILE,
			.open_files = 256},
	};
	if (box_spawn(maker, 0, PROBE_DISK, &probing->box, error) != 0) return -1;
	int result = box_send(maker, &probing->box, &job, error);
	if (result == 0) result = wait_for_end(probing, error);
	remove_box(probing);
	return result == 0 ? judge_text(probing, error) : -1;
}

// What overlayfs is tried with is the box's own empty folder.
static int run_shared_probe(struct box_maker *maker, const char *hidden, struct probing *probing, struct error *error) {
	char *trees = maker->trees;
	if (trees) maker->trees = maker->root.folder;
	int result = run_probe(maker, hidden, probing, error);
	maker->trees = trees;
	free(STEAL(maker->unshared));
	if (!probing->shared) maker->unshared = STEAL(probing->unshared);
	free(probing->unshared);
	return result;
}

int probe_box(struct box_maker *maker, const char *hidden, struct error *error) {
	AUTO_FREE struct probing *probing = mem_zalloc(sizeof(*probing));
	probing->until_ms = loop_now_ms() + PROBE_MS;
	int result = run_shared_probe(maker, hidden, probing, error);
	maker->landlock = probing->landlock;
	maker->no_landlock = probing->no_landlock;
	return result;
}

// ---- what to do about it

static int64_t read_sysctl(const char *path) {
	char text[32];
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (length <= 0) return -1;
	text[length] = 0;
	return strtoll(text, NULL, 10);
}

char *probe_remedy(const char *message) {
	if (read_sysctl("/proc/sys/kernel/unprivileged_userns_clone") == 0)
		return mem_strdup("user namespaces are closed to ordinary users: sysctl -w kernel.unprivileged_userns_clone=1");
	if (read_sysctl("/proc/sys/user/max_user_namespaces") == 0)
		return mem_strdup("user namespaces are turned off: sysctl -w user.max_user_namespaces=15000");
	if (read_sysctl("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1)
		return mem_strdup(
			"AppArmor closes user namespaces to ordinary users: give /usr/bin/bwrap a profile with `userns,` (Ubuntu: "
			"apparmor-profiles has bwrap-userns-restrict) or sysctl -w kernel.apparmor_restrict_unprivileged_userns=0");
	if (strstr(message, "proc") && strstr(message, "mount"))
		return mem_strdup(
			"the container masks parts of /proc, so that no new one can be mounted: Docker --security-opt "
			"systempaths=unconfined, Kubernetes procMount: Unmasked");
	if (strstr(message, "max_user_namespaces"))
		return mem_strdup(
			"the container's /proc/sys is read-only: Docker --security-opt systempaths=unconfined, Kubernetes "
			"procMount: Unmasked");
	if (strstr(message, "exceeded"))
		return mem_strdup(
			"no user namespace is left to make, or none may be made here: sysctl user.max_user_namespaces, and "
			"no sandbox around the worker that disables them");
	if (strstr(message, "source path") || strstr(message, "Permission denied"))
		return mem_strdup(
			"the boxes' users must be able to reach WORKER_DIR and to execute there: chmod o+x it and the folders above "
			"it, and no mount with noexec");
	if (strstr(message, "namespace") || strstr(message, "Operation not permitted"))
		return mem_strdup(
			"the container's seccomp profile refuses namespaces: Docker --security-opt "
			"seccomp=docker-compose/seccomp.json (or unconfined), and --security-opt apparmor=unconfined where AppArmor is on");
	return mem_strdup("");
}
