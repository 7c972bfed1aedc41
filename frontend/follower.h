// One client that follows a log: a position, and what is to be sent next (docs/INTERFACES.md, "Logs").
//
//     chunk by chunk, attempt by attempt --> nothing there: suspended, until the hub wakes it
//                                       `--> the job has ended, all is sent: "end", and the stream is over
//
// As events it also hears of every change of the status, of output that was not kept, of its token's end; as text it has
// nothing but the bytes, and is cut where they do not go on although the job does, so that the client notices.
#pragma once

#include "frontend/follow.h"
#include "lib/http.h"

struct follower_wish {
	const char *key;
	bool events;          // server-sent events; else the bytes alone
	int stream;           // 0: both
	int64_t attempt, seq; // where it begins
	bool only;            // that attempt alone
};

// Answers with the stream. The rest: what log_read_look has said.
void follower_start(struct follow *follow, struct http_request *request, struct token_claims *claims,
	const struct follower_wish *wish, const char *status, int64_t attempt, const char *outcome, int64_t next_seq);
