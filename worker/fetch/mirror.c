#include "worker/fetch/mirror.h"

#include "lib/mem.h"
#include "lib/prefix.h"
#include "worker/fetch/dial.h"
#include "worker/fetch/fault.h"
#include "worker/fetch/folder.h"
#include "worker/fetch/packs.h"
#include "worker/fetch/refs.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define LOCK_WAIT_MS 600000 // the worker's own time limit ends the waiting earlier
#define STALL_MS     30000
#define ADVERT_BYTES ((int64_t)64 << 20) // what refs and requests may weigh beside the pack
#define REFS_MAX     500000
#define REFS_ALL     10000 // with more than these, only the asked one is fetched
#define OBJECTS_MAX  4000000
#define PACKS_MAX    24
#define MIB          ((size_t)1 << 20)

int64_t mirror_now_us(void) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

// ---- the library

static bool started;

int mirror_library(void) {
	static const git_config_level_t levels[] = {
		GIT_CONFIG_LEVEL_PROGRAMDATA, GIT_CONFIG_LEVEL_SYSTEM, GIT_CONFIG_LEVEL_XDG, GIT_CONFIG_LEVEL_GLOBAL};
	if (started) return 0;
	if (git_libgit2_init() < 0) return -1;
	started = true;
	for (size_t i = 0; i < COUNT_OF(levels); i++)
		if (git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, levels[i], "") < 0) return -1;
	// Memory stays below the child's limit whatever the packs look like.
	if (git_libgit2_opts(GIT_OPT_SET_TEMPLATE_PATH, "") < 0 || git_libgit2_opts(GIT_OPT_SET_MWINDOW_SIZE, 16 * MIB) < 0 ||
		git_libgit2_opts(GIT_OPT_SET_MWINDOW_MAPPED_LIMIT, 256 * MIB) < 0 ||
		git_libgit2_opts(GIT_OPT_SET_MWINDOW_FILE_LIMIT, (size_t)64) < 0 ||
		git_libgit2_opts(GIT_OPT_SET_CACHE_MAX_SIZE, (ssize_t)(32 * MIB)) < 0 ||
		git_libgit2_opts(GIT_OPT_SET_PACK_MAX_OBJECTS, (size_t)OBJECTS_MAX) < 0 ||
		git_libgit2_opts(GIT_OPT_SET_USER_AGENT, "trabajos-fetch") < 0)
		return -1;
	// The system's certificates and the deployment's own, in one file (worker/fetch_ca.c): some builds of libgit2 add it to
	// what they trust, others trust nothing else from here on.
	const char *trusted = getenv("GIT_CA_FILE");
	return trusted ? git_libgit2_opts(GIT_OPT_SET_SSL_CERT_LOCATIONS, trusted, NULL) : 0;
}

void mirror_library_end(void) {
	if (started) git_libgit2_shutdown();
	started = false;
}

// ---- opening

static int create(struct mirror *mirror, struct outcome *outcome) {
	git_repository_init_options options;
	AUTO_FREE char *path = mem_format("%s/mirrors/%s", mirror->order->dir, mirror->name);
	git_repository_init_options_init(&options, GIT_REPOSITORY_INIT_OPTIONS_VERSION);
	options.flags = GIT_REPOSITORY_INIT_BARE | GIT_REPOSITORY_INIT_NO_REINIT;
	// The folder itself stays: what this process is confined to.
	if (folder_empty(mirror->mirrors_fd, mirror->name) < 0) return fault_errno(outcome, "clearing a mirror", errno);
	if (git_repository_init_ext(&mirror->repository, path, &options) < 0) return fault_local(outcome, "making a mirror");
	mirror->fresh = true;
	return 0;
}

// Too many packs become two, where they can be read.
static int open_existing(struct mirror *mirror, const char *path) {
	AUTO_FREE char *name = mem_format("%s/objects/pack", mirror->name);
	AUTO_CLOSE int pack_fd = folder_open(mirror->mirrors_fd, name);
	size_t packs;
	if (pack_fd < 0 || packs_sweep(pack_fd, &packs) < 0 || git_repository_open_bare(&mirror->repository, path) < 0)
		return -1;
	if (packs <= PACKS_MAX) return 0;
	int done = packs_merge(mirror->repository, pack_fd);
	git_repository_free(mirror->repository);
	mirror->repository = NULL;
	return done == 0 ? git_repository_open_bare(&mirror->repository, path) : -1;
}

int mirror_load(struct mirror *mirror, struct outcome *outcome) {
	AUTO_FREE char *path = mem_format("%s/mirrors/%s", mirror->order->dir, mirror->name);
	return open_existing(mirror, path) == 0 ? 0 : create(mirror, outcome);
}

void mirror_close(struct mirror *mirror) {
	git_repository_free(mirror->repository);
	free(mirror->name);
	if (mirror->lock_fd >= 0) close(mirror->lock_fd);
	if (mirror->mirrors_fd >= 0) close(mirror->mirrors_fd);
	*mirror = (struct mirror){.mirrors_fd = -1, .lock_fd = -1};
}

int mirror_open(const struct order *order, const struct giturl *url, int root_fd, const char *id, struct mirror *mirror,
	struct outcome *outcome) {
	AUTO_FREE char *lock = mem_format("%s.lock", id);
	*mirror = (struct mirror){.order = order,
		.url = url,
		.name = mem_format("%s.git", id),
		.lock_fd = -1,
		.mirrors_fd = folder_open(root_fd, "mirrors")};
	if (mirror->mirrors_fd < 0) return fault_errno(outcome, "opening the mirrors", errno);
	mirror->lock_fd = folder_lock(mirror->mirrors_fd, lock, LOCK_WAIT_MS);
	if (mirror->lock_fd < 0) return fault_errno(outcome, "waiting for another fetch of this URL", errno);
	futimens(mirror->lock_fd, NULL); // its time is the mirror's last use
	if (folder_make(mirror->mirrors_fd, mirror->name) < 0) return fault_errno(outcome, "making a mirror's folder", errno);
	return 0;
}

int mirror_renew(struct mirror *mirror, struct outcome *outcome) {
	git_repository_free(mirror->repository);
	mirror->repository = NULL;
	mirror->damaged = false;
	return create(mirror, outcome);
}

// ---- what it holds

static int peel(struct mirror *mirror, const git_oid *id, git_oid *commit) {
	git_object *object = NULL, *peeled = NULL;
	int code = git_object_lookup(&object, mirror->repository, id, GIT_OBJECT_ANY);
	if (code == 0) code = git_object_peel(&peeled, object, GIT_OBJECT_COMMIT);
	if (code == 0) git_oid_cpy(commit, git_object_id(peeled));
	git_object_free(peeled);
	git_object_free(object);
	return code;
}

// What is not there, or is no commit, is no damage.
static bool reads(struct mirror *mirror, int code) {
	if (code < 0 && code != GIT_ENOTFOUND && code != GIT_EPEEL && code != GIT_EINVALIDSPEC) mirror->damaged = true;
	return code >= 0;
}

bool mirror_reaches(struct mirror *mirror, const git_oid *commit) {
	git_commit *found = NULL;
	git_oid *ids = NULL;
	size_t count = 0, tips = 0;
	bool reached = false;
	if (!reads(mirror, git_commit_lookup(&found, mirror->repository, commit))) return false;
	git_commit_free(found);
	if (!reads(mirror, refs_read(mirror->repository, &ids, &count))) return false;
	for (size_t i = 0; i < count && !reached; i++) {
		git_oid tip;
		if (!reads(mirror, peel(mirror, &ids[i], &tip))) continue; // a tag of a tree or blob
		reached = git_oid_equal(&tip, commit);
		git_oid_cpy(&ids[tips++], &tip);
	}
	if (!reached && tips > 0) {
		int code = git_graph_reachable_from_any(mirror->repository, commit, ids, tips);
		reached = reads(mirror, code) && code == 1;
	}
	free(ids);
	return reached;
}

// ---- fetching

struct transfer {
	struct mirror *mirror;
	enum fault_cause cause;
	bool showed; // the credential
};

static int on_progress(const git_indexer_progress *stats, void *payload) {
	struct transfer *transfer = payload;
	transfer->mirror->received_bytes = (int64_t)stats->received_bytes;
	if ((int64_t)stats->received_bytes > transfer->mirror->order->pack_bytes) transfer->cause = FAULT_PACK_TOO_LARGE;
	if (stats->total_objects > OBJECTS_MAX) transfer->cause = FAULT_TOO_MANY_OBJECTS;
	return transfer->cause == FAULT_NONE ? 0 : GIT_EUSER;
}

// Called where the server asks. Once: who asks again does not take it.
static int on_credential(git_credential **credential, const char *url, const char *name, unsigned int types, void *payload) {
	struct transfer *transfer = payload;
	const struct order *order = transfer->mirror->order;
	(void)url;
	(void)name;
	if (!order->credential_id) return GIT_PASSTHROUGH;
	if (transfer->showed || !(types & GIT_CREDENTIAL_USERPASS_PLAINTEXT)) {
		transfer->cause = FAULT_CREDENTIAL;
		git_error_set_str(GIT_ERROR_NET, "the credential is not taken");
		return GIT_EUSER;
	}
	transfer->showed = true;
	return git_credential_userpass_plaintext_new(credential, order->username, order->password);
}

static void set_callbacks(git_remote_callbacks *callbacks, struct transfer *transfer) {
	callbacks->transfer_progress = on_progress;
	callbacks->credentials = on_credential;
	callbacks->payload = transfer;
}

// Whether the mirror's own files are to blame. What the server sent says so by other classes (INDEXER, NET).
static void note_damage(struct mirror *mirror) {
	static const int classes[] = {
		GIT_ERROR_ODB, GIT_ERROR_ZLIB, GIT_ERROR_OBJECT, GIT_ERROR_REFERENCE, GIT_ERROR_CONFIG, GIT_ERROR_REPOSITORY};
	const git_error *error = git_error_last();
	for (size_t i = 0; error && dial_fault() == DIAL_FINE && i < COUNT_OF(classes); i++)
		if (error->klass == classes[i]) mirror->damaged = true;
}

static int connect_remote(struct mirror *mirror, struct transfer *transfer, git_remote **remote, struct outcome *outcome) {
	git_remote_connect_options options;
	git_remote_connect_options_init(&options, GIT_REMOTE_CONNECT_OPTIONS_VERSION);
	options.follow_redirects = GIT_REMOTE_REDIRECT_NONE;
	options.proxy_opts.type = GIT_PROXY_NONE;
	set_callbacks(&options.callbacks, transfer);
	if (git_remote_create_anonymous(remote, mirror->repository, mirror->url->text) < 0) {
		note_damage(mirror);
		return fault_local(outcome, "preparing the fetch");
	}
	int code = git_remote_connect_ext(*remote, GIT_DIRECTION_FETCH, &options);
	if (code == 0) return 0;
	note_damage(mirror);
	return fault_remote(outcome, code, transfer->cause);
}

static int choose(const git_remote_head *const *heads, size_t count, const char *ref, const git_remote_head **picked,
	struct outcome *outcome) {
	*picked = NULL;
	if (count == 0) {
		outcome_set(outcome, OUTCOME_NOT_FOUND, BLAME_USER, "the repository is empty");
		return -1;
	}
	if (count > REFS_MAX) {
		outcome_set(outcome, OUTCOME_FETCH, BLAME_LIMIT, "the repository has more than %d refs", REFS_MAX);
		return -1;
	}
	if (refs_is_commit_id(ref)) return 0;
	int valid = 0;
	*picked = refs_pick(heads, count, ref);
	if (*picked && git_reference_name_is_valid(&valid, (*picked)->name) == 0 && valid) return 0;
	if (!ref || strcmp(ref, "HEAD") == 0)
		outcome_set(outcome, OUTCOME_NOT_FOUND, BLAME_USER,
			"the repository's HEAD names a branch that does not exist: ask for one with ref");
	else
		outcome_set(outcome, OUTCOME_NOT_FOUND, BLAME_USER,
			"there is no branch or tag %s (a commit is given by its 40 digits)", ref);
	return -1;
}

static int download(struct mirror *mirror, git_remote *remote, struct transfer *transfer, size_t count,
	const git_remote_head *picked, struct outcome *outcome) {
	git_fetch_options options;
	static char branches[] = "+refs/heads/*:refs/heads/*", tags[] = "+refs/tags/*:refs/tags/*";
	char *specs[3];
	git_strarray list = {.strings = specs, .count = 0};
	AUTO_FREE char *one = picked ? mem_format("+%s:refs/trabajos/picked", picked->name) : NULL;
	if (!picked || count <= REFS_ALL) {
		specs[list.count++] = branches;
		specs[list.count++] = tags;
	}
	if (one) specs[list.count++] = one;
	git_fetch_options_init(&options, GIT_FETCH_OPTIONS_VERSION);
	set_callbacks(&options.callbacks, transfer);
	options.proxy_opts.type = GIT_PROXY_NONE;
	options.follow_redirects = GIT_REMOTE_REDIRECT_NONE;
	options.download_tags = GIT_REMOTE_DOWNLOAD_TAGS_NONE;
	options.update_fetchhead = 0;
	int code = git_remote_download(remote, &list, &options);
	if (code == 0) return 0;
	note_damage(mirror);
	return fault_remote(outcome, code, transfer->cause);
}

static int resolve(struct mirror *mirror, const git_remote_head *picked, git_oid *commit, struct outcome *outcome) {
	const char *ref = mirror->order->ref;
	if (picked) {
		int code = peel(mirror, &picked->oid, commit);
		if (code == 0) return 0;
		if (code != GIT_EPEEL && code != GIT_EINVALIDSPEC) {
			mirror->damaged = true;
			return fault_local(outcome, "reading what was fetched");
		}
		outcome_set(outcome, OUTCOME_NOT_FOUND, BLAME_USER, "%s is no commit", ref ? ref : "HEAD");
		return -1;
	}
	if (git_oid_fromstr(commit, ref) == 0 && mirror_reaches(mirror, commit)) return 0;
	if (mirror->damaged) return fault_local(outcome, "reading what was fetched");
	outcome_set(outcome, OUTCOME_NOT_FOUND, BLAME_USER, "the commit %s is in no branch or tag of the repository", ref);
	return -1;
}

static int fetch_with(
	struct mirror *mirror, struct transfer *transfer, git_remote **remote, git_oid *commit, struct outcome *outcome) {
	const git_remote_head **heads, *picked;
	size_t count;
	const int64_t begun = mirror_now_us();
	if (connect_remote(mirror, transfer, remote, outcome) < 0) return -1;
	int code = git_remote_ls(&heads, &count, *remote);
	if (code < 0) return fault_remote(outcome, code, transfer->cause);
	const int64_t connected = mirror_now_us();
	mirror->connect_us += connected - begun;
	if (choose(heads, count, mirror->order->ref, &picked, outcome) < 0) return -1;
	if (download(mirror, *remote, transfer, count, picked, outcome) < 0) return -1;
	if (refs_write(mirror->repository, heads, count, picked) < 0) return fault_errno(outcome, "writing refs", errno);
	mirror->fetch_us += mirror_now_us() - connected;
	return resolve(mirror, picked, commit, outcome);
}

// GIT_DENY, and this machine's own addresses as they are now: what listens there may trust its own host.
static struct prefixes *denied_addresses(const char *text, struct outcome *outcome) {
	AUTO_ERROR struct error error = {0};
	struct prefixes *denied = NULL;
	struct ifaddrs *list = NULL;
	if (prefixes_parse(text, &denied, &error) < 0) {
		outcome_set(outcome, OUTCOME_FETCH, BLAME_PLATFORM, "GIT_DENY: %s", error_text(&error));
		return NULL;
	}
	if (getifaddrs(&list) < 0) {
		fault_errno(outcome, "reading this machine's addresses", errno);
		prefixes_free(denied);
		return NULL;
	}
	for (const struct ifaddrs *each = list; each; each = each->ifa_next)
		if (each->ifa_addr) prefixes_add(denied, each->ifa_addr);
	freeifaddrs(list);
	return denied;
}

int mirror_fetch(struct mirror *mirror, git_oid *commit, struct outcome *outcome) {
	struct prefixes *denied = denied_addresses(mirror->order->git_deny, outcome);
	if (!denied) return -1;
	const struct dial_target target = {
		.host = mirror->url->host,
		.port = mirror->url->port,
		.path = mirror->url->path,
		.allowed = mirror->url->allowed,
		.denied = denied,
		.secret = mirror->order->credential_id != NULL,
		.connect_timeout_ms = mirror->order->connect_timeout_ms,
		.stall_timeout_ms = STALL_MS,
		.most_bytes = mirror->order->pack_bytes + ADVERT_BYTES,
	};
	struct transfer transfer = {.mirror = mirror};
	git_remote *remote = NULL;
	int done = dial_register(&target, NULL) < 0 ? fault_local(outcome, "preparing the fetch") : 0;
	if (done == 0) {
		mirror->asked = true;
		git_error_clear(); // of looking into the mirror: it would be taken for what stopped the fetch
		done = fetch_with(mirror, &transfer, &remote, commit, outcome);
	}
	git_remote_free(remote); // closes the connection: nothing dials after the target is gone
	prefixes_free(denied);
	return done;
}
