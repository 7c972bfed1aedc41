#include "worker/fetch/fault.h"

#include "lib/mem.h"
#include "worker/fetch/dial.h"
#include "worker/fetch/git.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static const char *last_text(void) {
	const git_error *error = git_error_last();
	return error && error->message ? error->message : "unknown error";
}

static int last_class(void) {
	const git_error *error = git_error_last();
	return error ? error->klass : GIT_ERROR_NONE;
}

// libgit2's words for people, without the worker's paths: they tell a stranger nothing that helps.
static char *shown_text(void) {
	const char *text = last_text();
	char *shown = mem_zalloc(strlen(text) + 1), *out = shown;
	for (const char *at = text; *at; at++) {
		bool path = *at == '/' && (at == text || strchr(" '\"(", at[-1]));
		*out++ = path ? '.' : *at;
		if (path) at += strcspn(at, " '\")") - 1;
	}
	return shown;
}

static int set(struct outcome *outcome, enum outcome_code code, enum blame blame, const char *text) {
	outcome_set(outcome, code, blame, "%s", text);
	return -1;
}

static int redirected(struct outcome *outcome) {
	return set(
		outcome, OUTCOME_DENIED, BLAME_USER, "the URL redirects to elsewhere, which is not followed: use the new URL");
}

static int from_dial(struct outcome *outcome, enum dial_fault fault) {
	switch (fault) {
	case DIAL_DENIED:
		return set(outcome, OUTCOME_DENIED, BLAME_USER, "the URL leads to an address that is not allowed");
	case DIAL_REDIRECT:
		return redirected(outcome);
	case DIAL_NO_HOST:
		return set(outcome, OUTCOME_NOT_FOUND, BLAME_USER, "the URL's host does not exist");
	case DIAL_TOO_MUCH:
		return set(outcome, OUTCOME_FETCH, BLAME_LIMIT, "the repository is too large: its server sends too much");
	case DIAL_NO_LOOKUP:
		return set(outcome, OUTCOME_FETCH, BLAME_PLATFORM, "the URL's host cannot be looked up now");
	case DIAL_REFUSED:
		return set(outcome, OUTCOME_FETCH, BLAME_PLATFORM, "the git server cannot be reached");
	case DIAL_TIMEOUT:
		return set(outcome, OUTCOME_FETCH, BLAME_PLATFORM, "the git server does not answer");
	case DIAL_BROKEN:
		return set(outcome, OUTCOME_FETCH, BLAME_PLATFORM, "the connection to the git server broke");
	case DIAL_FINE:
		break;
	}
	return -1;
}

static bool is_status(const char *status) {
	const char *text = strstr(last_text(), "unexpected http status code: ");
	return text && strcmp(strrchr(text, ' ') + 1, status) == 0;
}

// libgit2 has no codes for what a server says; these are the texts of 1.5 to 1.9 (transports/http.c).
static bool is_missing(void) {
	return is_status("404") || is_status("410") || is_status("403");
}

static bool is_no_git_server(void) {
	return strstr(last_text(), "content-type") != NULL || is_status("400") || is_status("405");
}

// A repository of SHA-256 objects (git-hash-function-transition(7)) has longer ids, which no libgit2 up to 1.9 reads by default.
static bool is_no_list_of_refs(void) {
	return strstr(last_text(), "parsing REF pkt-line") || strstr(last_text(), "object format");
}

static bool is_disk_full(void) {
	return strstr(last_text(), strerror(ENOSPC)) || strstr(last_text(), strerror(EDQUOT));
}

static int disk_full(struct outcome *outcome) {
	return set(outcome, OUTCOME_DISK, BLAME_PLATFORM, "the worker's disk is full");
}

static int no_memory(struct outcome *outcome) {
	return set(outcome, OUTCOME_FETCH, BLAME_LIMIT, "the repository needs more memory than fetching one may use");
}

int fault_remote(struct outcome *outcome, int code, enum fault_cause cause) {
	if (cause == FAULT_PACK_TOO_LARGE) return set(outcome, OUTCOME_FETCH, BLAME_LIMIT, "the repository is too large");
	if (cause == FAULT_TOO_MANY_OBJECTS || strcmp(last_text(), "too many objects") == 0)
		return set(outcome, OUTCOME_FETCH, BLAME_LIMIT, "the repository has too many objects");
	if (dial_fault() != DIAL_FINE) return from_dial(outcome, dial_fault());
	if (cause == FAULT_CREDENTIAL)
		return set(outcome, OUTCOME_FETCH, BLAME_PLATFORM,
			"the git server does not take the credential that the operator has given for this URL (GIT_CREDENTIALS_FILE)");
	if (code == GIT_EAUTH || is_status("401"))
		return set(outcome, OUTCOME_NOT_FOUND, BLAME_USER,
			"there is no such repository, or it is a private one (the operator can give a credential for it: GIT_CREDENTIALS_FILE)");
	if (is_missing()) return set(outcome, OUTCOME_NOT_FOUND, BLAME_USER, "there is no such repository");
	if (is_no_git_server())
		return set(
			outcome, OUTCOME_NOT_FOUND, BLAME_USER, "there is no git repository at the URL (smart HTTP is needed)");
	if (is_no_list_of_refs())
		return set(outcome, OUTCOME_FETCH, BLAME_USER,
			"the git server's list of refs cannot be read (a repository of SHA-256 objects is not supported)");
	if (strstr(last_text(), "cannot redirect") || strstr(last_text(), "too many redirects")) return redirected(outcome);
	if (code == GIT_ECERTIFICATE)
		return set(outcome, OUTCOME_FETCH, BLAME_USER, "the git server's certificate is not trusted");
	if (is_disk_full()) return disk_full(outcome);
	if (last_class() == GIT_ERROR_NOMEMORY) return no_memory(outcome);
	AUTO_FREE char *text = shown_text();
	outcome_set(outcome, OUTCOME_FETCH, BLAME_PLATFORM, "fetching failed: %.200s", text);
	return -1;
}

int fault_local(struct outcome *outcome, const char *doing) {
	if (is_disk_full()) return disk_full(outcome);
	if (last_class() == GIT_ERROR_NOMEMORY) return no_memory(outcome);
	AUTO_FREE char *text = shown_text();
	outcome_set(outcome, OUTCOME_FETCH, BLAME_PLATFORM, "%s: %.200s", doing, text);
	return -1;
}

int fault_errno(struct outcome *outcome, const char *doing, int number) {
	if (number == ENOSPC || number == EDQUOT) return disk_full(outcome);
	outcome_set(outcome, OUTCOME_FETCH, BLAME_PLATFORM, "%s: %s", doing, strerror(number));
	return -1;
}
