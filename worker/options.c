#include "worker/options.h"

#include "lib/http.h"
#include "lib/lifecycle.h"
#include "lib/mem.h"
#include "lib/webhook.h"
#include "lib/weights.h"
#include "worker/descriptors.h"
#include "worker/egress.h"

#include <limits.h>
#include <stddef.h>

static struct worker_config values;

static const char *const workspaces[] = {"overlay", "copy", NULL};
static const char *const networks[] = {"none", "egress", NULL};

#define INTEGER(option, member, standard, least, most, text)                                                                   \
	{                                                                                                                      \
		.name = (option), .type = OPTION_INT, .value = &values.member, .fallback = (standard), .min = (least),         \
		.max = (most), .help = (text)                                                                                  \
	}
#define STRING(option, member, standard, text)                                                                                 \
	{ .name = (option), .type = OPTION_STRING, .value = &values.member, .fallback = (standard), .help = (text) }

static const struct option table[] = {
	OPTIONS_KAFKA(values.kafka),
	OPTIONS_DB(values.db),
	OPTION_METRICS(values.metrics_listen),
	INTEGER("WORKER_SLOTS", slots, NULL, 1, 180, "jobs at the same time; default: the number of cores"),
	STRING("WORKER_DIR", dir, "/var/lib/trabajos", "mirrors, trees and job directories of this one worker"),
	INTEGER("WORKER_FREE_MB", free_mb, "256", 0, 1 << 30, "MiB that must be free in WORKER_DIR, else no job is claimed"),
	INTEGER("WORKER_CACHE_MB", cache_mb, "0", 0, 1 << 30,
		"MiB of mirrors and trees that WORKER_DIR keeps; 0: half of its free space, at most 10 GiB"),
	{.name = "WORKER_ISOLATION",
		.type = OPTION_CHOICE,
		.value = &values.isolation,
		.fallback = "full",
		.choices = sandbox_level_names,
		.help = "the weakest acceptable isolation of a job"},
	{.name = "WORKER_WORKSPACE",
		.type = OPTION_CHOICE,
		.value = &values.workspace,
		.fallback = "overlay",
		.choices = workspaces,
		.help = "how a job gets its tree: shown by overlayfs where that can be, or always copied"},
	INTEGER("WORKER_UID_BASE", uid_base, "61000", 1000, INT_MAX - 1000,
		"started by root: uid of the fetch; the slots' jobs have the ones behind it"),
	INTEGER("JOB_TIMEOUT_S", job_timeout_s, "600", 1, 86400, "seconds that a job may run, at most"),
	INTEGER("JOB_CPU_S", job_cpu_s, "0", 0, 86400,
		"seconds of processor time of all of a job's processes together; 0: no limit"),
	INTEGER("JOB_MEMORY_MB", job_memory_mb, "512", 16, 1 << 20, "MiB of memory of a job, at most"),
	INTEGER("JOB_PROCESSES", job_processes, "256", 4, 1 << 20, "processes and threads of a job"),
	INTEGER("JOB_FILES", job_files, "1024", 64, 1 << 20,
		"files and other descriptors that a process of a job can have open"),
	INTEGER("JOB_DISK_MB", job_disk_mb, "1024", 1, 1 << 20, "MiB that a job can write, its copy of the tree included"),
	INTEGER("JOB_OUTPUT_KB", job_output_kb, "1024", 1, 1 << 16, "KiB of output that are kept"),
	INTEGER("JOB_GRACE_S", job_grace_s, "5", 0, 3600, "seconds from SIGTERM to SIGKILL of a job"),
	{.name = "JOB_NETWORK",
		.type = OPTION_CHOICE,
		.value = &values.network,
		.fallback = "none",
		.choices = networks,
		.help = "what of the network a job can reach: egress = public addresses, for those of JOB_EGRESS_FOR"},
	STRING("JOB_EGRESS_FOR", egress_for, "",
		"who has egress: users, owners, label:NAME=VALUE, * for all; commas between, + where several must hold"),
	STRING("JOB_EGRESS_DENY", egress_deny, "",
		"IPv4 addresses and prefixes that egress does not reach beside those that are not public"),
	INTEGER("ARTIFACTS_MB", artifacts_mb, "64", 0, 1 << 20, "MiB of artifacts of a job, at most; 0: none are taken"),
	INTEGER("ARTIFACTS_FILES", artifacts_files, "1000", 1, 10000, "files among them, at most"),
	INTEGER("ARTIFACTS_USER_MB", artifacts_user_mb, "2048", 0, 1 << 30,
		"MiB of artifacts of all jobs of a user, at most; 0: no limit"),
	OPTIONS_BLOBS(values.store),
	STRING("GIT_ALLOW", git_allow, "", "comma-separated URLs that may be fetched beside public https ones"),
	STRING("GIT_DENY", git_deny, "",
		"IP addresses and prefixes that no fetch reaches beside those that are not public, but by GIT_ALLOW"),
	OPTION_WEBHOOK(values.webhook_allow),
	STRING("GIT_CREDENTIALS_FILE", git_credentials_file, "",
		"JSON file with what is shown to private git servers, and for whom"),
	STRING("GIT_CA_FILE", git_ca_file, "",
		"PEM file with certificates that git servers are trusted by beside the system's"),
	INTEGER("FETCH_TIMEOUT_S", fetch_timeout_s, "120", 1, 3600, "seconds that a fetch may take"),
	INTEGER("FETCH_MB", fetch_mb, "512", 1, 1 << 20, "MiB of a repository, packed and as a tree, at most"),
	INTEGER("USER_RUNNING", user_running, "0", 0, 1 << 20, "most running jobs of a user, over all workers; 0: no limit"),
	STRING("USER_WEIGHTS", user_weights, "", "shares of users, name=weight,…; who is not named has 1"),
	OPTIONS_HOUSEKEEPING(values),
	INTEGER("DRAIN_S", drain_s, "60", 0, 86400, "seconds that running jobs have to end after SIGTERM"),
	OPTIONS_LOG,
};

// The boxes' processes stand in other folders than the worker.
static void make_absolute(char **path) {
	char *here = **path == '/' ? NULL : realpath(".", NULL);
	if (!here) return;
	char *whole = mem_format("%s/%s", here, *path);
	free(here);
	free(*path);
	*path = whole;
}

static int check_egress(struct error *error) {
	if (*values.egress_for && egress_for_check(values.egress_for, error) != 0) return -1;
	if (egress_deny_check(values.egress_deny, error) != 0) return -1;
	if (values.network == WORKER_NETWORK_NONE || *values.egress_for) return 0;
	return error_set(error, ERROR_INPUT,
		"JOB_NETWORK=egress without JOB_EGRESS_FOR is for nobody: name users, owners or labels, or * for everybody");
}

int options_read(struct worker_config *config, int argc, char **argv) {
	values.slots = sysconf(_SC_NPROCESSORS_ONLN);
	int check = lifecycle_start(
		"worker", "claims jobs, runs each in a sandbox, keeps the result", table, COUNT_OF(table), argc, argv);
	make_absolute(&values.dir);
	values.db.application = "trabajos-worker";
	values.db.steady_plans = true;
	AUTO_ERROR struct error error = {0};
	if (housekeeping_retention_check(values.retention_days, &values.kafka, &error) != 0) exit(lifecycle_bad_start(&error));
	if (weights_read(values.user_weights, &values.weights_json, &error) != 0) exit(lifecycle_bad_start(&error));
	if (descriptors_take(values.job_files, geteuid() != 0, &error) != 0) exit(lifecycle_bad_start(&error));
	if (blobs_check(&values.store, &error) != 0) exit(lifecycle_bad_start(&error));
	if (check_egress(&error) != 0) exit(lifecycle_bad_start(&error));
	*config = values;
	return check;
}

void options_clear(void) {
	free(STEAL(values.weights_json));
	option_clear(table, COUNT_OF(table));
}
