// GIT_CREDENTIALS_FILE: names and passwords (or tokens) for private git servers, and the users who may have them used. A JSON
// array of
//
//   {"url":"https://git.example.org/team/","username":"bot","password":"…","users":["ana","*"],"subs":["<a token's sub>"]}
//
// An entry serves the URL itself and what lies below its path, on exactly its scheme, host and port, and the users that it names
// by `usuario` ("*": whoever came with a token) or by `sub`. Of several that fit, the one with the longest path counts.
#pragma once

#include "lib/error.h"
#include "lib/giturl.h"

// What one credential fetched belongs to its id: one for each entry's url, username, users and subs. A password that changes
// keeps it; whoever else may use it changes it.
struct credential {
	char *id; // 64 hexadecimal digits
	char *username, *password;
};

struct credentials;

// The file must be a regular one of this user's or root's, closed to others and not writable by its group. ERROR_INPUT where it is
// not, or its content is not as above; no message holds a password. path "": there are none.
int credentials_open(const char *path, struct credentials **credentials, struct error *error) MUST_USE;
void credentials_free(struct credentials *credentials); // wipes the passwords; NULL is fine
// Reads the file anew if it has changed. 1: done; 0: it is as it was; -1: not as it must be: what was read before still holds, and
// this is said once for each state of the file.
int credentials_refresh(struct credentials *credentials, struct error *error) MUST_USE;
// NULL: none for this user at this URL. Lives until the next refresh.
const struct credential *credentials_find(
	const struct credentials *credentials, const struct giturl *url, const char *owner, const char *usuario);
