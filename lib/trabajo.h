// The record of topic trabajos: key = the job's UUID, value = the URL as plain text, headers sub, usuario, role, spec.
#pragma once

#include "lib/error.h"
#include "lib/json.h"
#include "lib/kafka.h"

#include <stdbool.h>
#include <stdint.h>

#define TRABAJO_URL_MAX     2000    // bytes
#define TRABAJO_REF_MAX     250     // bytes
#define TRABAJO_USUARIO_MAX 255     // bytes
#define TRABAJO_SPEC_MAX    65536   // bytes of JSON
#define TRABAJO_NOBODY      "kafka" // owner and usuario of records without a sub; no token can take it

// What a user may ask for beside the URL; absent numbers are -1.
struct trabajo_spec {
	char *ref;         // NULL: the remote's HEAD
	int64_t priority;  // -100 to 100, default 0
	int64_t timeout_s; // 1 to 86400
	int64_t retries;   // 0 to 100: for the user's own failures
	// not before: seconds after the post, or a moment in ms since the epoch
	int64_t run_after_s, run_after_ms;
	// At most concurrency_limit (1 to 1000, default 1) of the owner's jobs with an equal concurrency_key run at once; the others
	// wait, or are cancelled by newer ones where the newer ones ask to replace them.
	char *concurrency_key; // NULL: none
	int64_t concurrency_limit;
	bool concurrency_replace;
	json_t *json; // the whole spec as it stands in the header and the ledger: only known members
};

struct trabajo {
	char key[37];
	char *owner;   // token's sub
	char *usuario; // display name
	bool admin;    // posted by an administrator: its priority goes before other users' jobs
	char *url;     // normalised
	struct trabajo_spec spec;
	int64_t posted_ms; // the record's LogAppendTime
};

void trabajo_clear(struct trabajo *trabajo);

// Reads {"ref","priority","timeout_s","retries","run_after","concurrency_key","concurrency_limit","concurrency_policy",
// "labels","env","reuse","on_done"}; unknown members and bad values are
// ERROR_INPUT, the message names the member and what is allowed. NULL json: all defaults.
int trabajo_spec_read(const json_t *json, struct trabajo_spec *spec, struct error *error) MUST_USE;
void trabajo_spec_clear(struct trabajo_spec *spec);
// Refs: a branch, tag (also refs/…) or commit id; git-check-ref-format rules, no "..", no leading "-", no control characters.
int trabajo_ref_check(const char *ref, struct error *error) MUST_USE;
// SHA-256 over the canonical JSON of url and spec: equal for equal bodies. text: 65 bytes.
void trabajo_fingerprint(const struct trabajo *trabajo, char text[65]);

enum trabajo_verdict {
	TRABAJO_FINE,
	TRABAJO_BAD,     // a usable key, but no acceptable job: to be recorded as failed (why in error; kind DENIED or INPUT)
	TRABAJO_USELESS, // no usable key: count and skip
};

// Decodes a record. On BAD, key, owner, usuario and posted_ms are set, and url to a printable form of what came.
// Whether the URL is allowed is asked of giturl_check with `git_allow` (GIT_ALLOW as parsed).
struct giturl_rules;
enum trabajo_verdict trabajo_decode(const struct kafka_message *message, const struct giturl_rules *git_allow,
	struct trabajo *trabajo, struct error *error) MUST_USE;
// When it may run at the earliest, in ms since the epoch; posted_ms is set.
int64_t trabajo_eligible_ms(const struct trabajo *trabajo);
// Headers for producing; valid as long as the trabajo is and spec_text lives. Returns their number.
#define TRABAJO_HEADERS 4
size_t trabajo_headers(const struct trabajo *trabajo, const char *spec_text, struct kafka_header headers[TRABAJO_HEADERS]);
