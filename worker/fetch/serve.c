#include "worker/fetch/serve.h"

#include "lib/digest.h"
#include "lib/giturl.h"
#include "lib/mem.h"
#include "worker/fetch/confine.h"
#include "worker/fetch/fault.h"
#include "worker/fetch/folder.h"
#include "worker/fetch/mirror.h"
#include "worker/fetch/refs.h"
#include "worker/fetch/store.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define HEX 41

// The worker has judged the URL when the job came in; what this process goes to, it judges itself.
static int judge(const struct order *order, struct giturl *url, struct outcome *outcome) {
	AUTO_ERROR struct error error = {0};
	struct giturl_rules *rules = NULL;
	if (giturl_rules_parse(order->git_allow, &rules, &error) < 0) {
		outcome_set(outcome, OUTCOME_FETCH, BLAME_PLATFORM, "GIT_ALLOW: %s", error_text(&error));
		return -1;
	}
	int done = giturl_check(order->url, rules, url, &error);
	giturl_rules_free(rules);
	if (done == 0) return 0;
	outcome_set(
		outcome, error.kind == ERROR_DENIED ? OUTCOME_DENIED : OUTCOME_NOT_FOUND, BLAME_USER, "%s", error_text(&error));
	return -1;
}

static void lower(const char *ref, char commit[HEX]) {
	for (size_t i = 0; i < HEX - 1; i++) commit[i] = (char)tolower((unsigned char)ref[i]);
	commit[HEX - 1] = '\0';
}

struct work {
	const struct order *order;
	int root_fd;
	struct mirror mirror;
	char id[DIGEST_TEXT]; // of the mirror
	char commit[HEX];     // "": not known yet
	json_t *tree;
	int64_t checkout_us;
	bool wrote;
};

// The mirror is open and locked.
static int resolve(struct work *work, struct outcome *outcome) {
	git_oid id;
	if (work->commit[0] && git_oid_fromstr(&id, work->commit) == 0 && mirror_reaches(&work->mirror, &id)) return 0;
	if (mirror_fetch(&work->mirror, &id, outcome) < 0) return -1;
	git_oid_tostr(work->commit, HEX, &id);
	return 0;
}

static int make_tree(struct work *work, struct outcome *outcome) {
	const struct checkout_limits limits = {.bytes = work->order->tree_bytes, .files = work->order->files};
	if (resolve(work, outcome) < 0) return -1;
	work->tree = store_find(work->root_fd, work->id, work->commit);
	if (work->tree) return 0;
	const int64_t begun = mirror_now_us();
	int done = store_put(work->root_fd, work->id, work->commit, work->mirror.repository, &limits, &work->tree,
		&work->mirror.damaged, outcome);
	work->checkout_us = mirror_now_us() - begun;
	work->wrote = done == 0;
	return done;
}

// As its server sends it: no second try makes it whole.
static int broken(struct outcome *outcome) {
	if (outcome->code != OUTCOME_FETCH || outcome->blame != BLAME_PLATFORM) return -1;
	AUTO_FREE char *what = STEAL(outcome->message);
	outcome_set(outcome, OUTCOME_FETCH, BLAME_USER, "the repository is broken or incomplete: %s", what);
	return -1;
}

static int confine(const struct work *work, uint16_t port, struct outcome *outcome) {
	AUTO_FREE char *folder = mem_format("trees/%s", work->id);
	AUTO_CLOSE int mirror_fd = folder_open(work->mirror.mirrors_fd, work->mirror.name);
	if (folder_make(work->root_fd, folder) < 0) return fault_errno(outcome, "making a folder for trees", errno);
	AUTO_CLOSE int trees_fd = folder_open(work->root_fd, folder);
	if (mirror_fd < 0 || trees_fd < 0) return fault_errno(outcome, "opening a URL's folders", errno);
	futimens(trees_fd, NULL); // an old empty one is swept by the next evict
	return confine_to(mirror_fd, trees_fd, port, outcome);
}

static int with_mirror(struct work *work, const struct giturl *url, struct outcome *outcome) {
	if (mirror_library() < 0) return fault_local(outcome, "starting libgit2");
	if (mirror_open(work->order, url, work->root_fd, work->id, &work->mirror, outcome) < 0) return -1;
	if (confine(work, url->port, outcome) < 0 || mirror_load(&work->mirror, outcome) < 0) return -1;
	if (make_tree(work, outcome) == 0) return 0;
	// Files that do not read as they were written (a disk that lies, a machine that lost power): everything anew, once.
	if (work->mirror.damaged && !work->mirror.fresh) {
		outcome_clear(outcome);
		if (mirror_renew(&work->mirror, outcome) < 0) return -1;
		if (make_tree(work, outcome) == 0) return 0;
	}
	return work->mirror.damaged ? broken(outcome) : -1;
}

static json_t *describe(struct work *work) {
	int64_t added = work->mirror.received_bytes;
	if (work->wrote) added += json_integer_value(json_object_get(work->tree, "bytes"));
	json_t *answer = json_copy(work->tree);
	json_object_del(answer, "boot");
	json_object_del(answer, "version");
	json_object_del(answer, "seal");
	json_object_set_new(answer, "ok", json_true());
	json_object_set_new(answer, "remote", json_boolean(work->mirror.asked));
	json_object_set_new(answer, "added_bytes", json_integer(added));
	json_object_set_new(answer, "times_us",
		json_pack("{s:I, s:I, s:I}", "connect", (json_int_t)work->mirror.connect_us, "fetch",
			(json_int_t)work->mirror.fetch_us, "checkout", (json_int_t)work->checkout_us));
	return answer;
}

// What a credential fetched is kept apart from what anybody may fetch, and from what other credentials did.
static void name_mirror(const struct order *order, const struct giturl *url, char id[DIGEST_TEXT]) {
	const char *credential = order->credential_id;
	AUTO_FREE char *text = credential ? mem_format("%s\n%s", url->text, credential) : mem_strdup(url->text);
	digest_sha256_hex(text, strlen(text), id);
}

int serve_fetch(const struct order *order, int root_fd, json_t **answer, struct outcome *outcome) {
	struct work work = {.order = order, .root_fd = root_fd, .mirror = {.mirrors_fd = -1, .lock_fd = -1}};
	struct giturl url;
	if (judge(order, &url, outcome) < 0) return -1;
	name_mirror(order, &url, work.id);
	if (refs_is_commit_id(order->ref)) {
		lower(order->ref, work.commit);
		work.tree = store_find(root_fd, work.id, work.commit);
	}
	int done = work.tree ? 0 : with_mirror(&work, &url, outcome);
	if (done == 0) *answer = describe(&work);
	json_decref(work.tree);
	mirror_close(&work.mirror);
	giturl_clear(&url);
	return done;
}
