// What the worker and its child trabajos-fetch say to each other, and the worker's side: start the child, read its answer.
//
// The child is executed with the request as one line of JSON on standard input and answers with one line of JSON on standard
// output (at most 64 KiB), then exits 0. Anything else (no line, a signal, garbage) is a platform fault.
//
//   request  {"op":"fetch","url":…,"ref":…|null,"git_allow":…,"git_deny":…,"dir":WORKER_DIR,"pack_bytes":n,"tree_bytes":n,"files":n,
//             "connect_timeout_ms":n,"credential":{"id":"<64 hex>","username":…,"password":…}|null}
//   answer   {"ok":true,"commit":"<40 hex>","tree":"trees/<mirror>/<commit>","mirror":"<id>","plan":{…}|null,
//             "looked_for":"…"|null,"plan_error":"…"|null,"bytes":n,"files":n,"remote":true|false (asked the remote),
//             "added_bytes":n (what the disk holds more than before),"times_us":{"connect":n,"fetch":n,"checkout":n}}
//            {"ok":false,"code":"not_found"|"denied"|"fetch"|"disk","blame":"user"|"limit"|"platform","message":…}
//   request  {"op":"evict","dir":…,"keep_bytes":n,"in_use":["trees/…",…]}     removes least recently used trees, then mirrors
//   answer   {"ok":true,"removed":["trees/…",…],"bytes":n}
#pragma once

#include "lib/error.h"
#include "lib/json.h"
#include "lib/loop.h"
#include "lib/resultado.h"
#include "worker/plan.h"

#include <sys/types.h>

struct fetch_config {
	const char *program; // path of trabajos-fetch, opened once (execveat), so that the child's uid need not reach it
	const char *dir;     // WORKER_DIR
	const char *git_allow, *git_deny;               // GIT_ALLOW and GIT_DENY as text; NULL: empty
	const char *git_credentials_file, *git_ca_file; // NULL or "": none
	uid_t uid;                                      // the child's own where the worker is root, (uid_t)-1: the worker's
	gid_t gid;                                      // group that the slots' uids share: may read trees
	int64_t pack_bytes, tree_bytes, files, timeout_ms;
	int64_t cache_bytes; // most that mirrors and trees may hold; 0: half of what the disk has free, at most 10 GiB
};

struct fetch_result {
	char *commit, *tree, *mirror; // tree: relative to WORKER_DIR
	struct plan plan;             // kind NULL: none
	char *looked_for;             // where there is no plan
	char *plan_error;             // where the plan is broken
	int64_t bytes, files;
	int remote; // whether the remote was asked
};
void fetch_result_clear(struct fetch_result *result);

// Who wants it: what a credential fetched is given to those only who may use that credential.
struct fetch_asker {
	const char *owner, *usuario;
};

struct fetcher; // configuration, program descriptor, and the cache of answers for full commit ids
int fetcher_open(struct loop *loop, const struct fetch_config *config, struct fetcher **fetcher, struct error *error) MUST_USE;
void fetcher_close(struct fetcher *fetcher);

// A full commit id whose tree this worker has: answered from memory at once (no child, no remote). The tree is held (not
// evicted) until fetcher_release(tree). 1 and fills result, or 0.
int fetcher_cached(struct fetcher *fetcher, const char *url, const char *ref, const struct fetch_asker *asker,
	struct fetch_result *result);
// Otherwise a child fetches: one at a time for a URL (and credential). Who comes meanwhile waits for the next one, together with
// all that want the same ref, or joins the one at work where it is for the same commit id. done is called once from the loop: outcome NULL and a result (moved to the callee, tree held), or
// the outcome of the failure (valid during the call).
struct fetch_run;
typedef void fetch_done(struct fetch_result *result, const struct outcome *outcome, void *arg);
int fetcher_start(struct fetcher *fetcher, const char *url, const char *ref, const struct fetch_asker *asker, fetch_done *done,
	void *arg, struct fetch_run **run, struct error *error) MUST_USE;
void fetch_run_cancel(struct fetch_run *run); // kills the child; done is not called
void fetcher_release(struct fetcher *fetcher, const char *tree);
