// What the handlers share; one handler a file.
#pragma once

#include "frontend/auth.h"
#include "frontend/intake.h"
#include "frontend/rate.h"
#include "frontend/told.h"
#include "lib/blobs.h"
#include "lib/giturl.h"
#include "lib/http.h"
#include "lib/prepare.h"

struct follow;

struct frontend {
	struct loop *loop;
	struct auth *auth;
	struct intake *intake;
	struct rate *rate;
	struct giturl_rules *git_allow, *webhook_allow;
	struct db_session *reads, *writes; // NULL: no ledger yet; apart, so that no read waits for a row's lock
	struct follow *follow;             // NULL: no ledger yet
	struct prepare *prepare;
	struct told *told;
	struct client *client;
	const struct blobs_config *store; // where artifacts are
};

#define FRONTEND_READ_WAIT_MS    500  // for a connection to the ledger
#define FRONTEND_READ_TIMEOUT_MS 5000 // for one statement

// arg of each: struct frontend *.
void add_handle(struct http_request *request, void *arg);
void all_handle(struct http_request *request, void *arg);
void status_handle(struct http_request *request, void *arg);
void health_handle(struct http_request *request, void *arg);
void index_handle(struct http_request *request, void *arg);
void openapi_handle(struct http_request *request, void *arg);
void docs_handle(struct http_request *request, void *arg);
void docs_script_handle(struct http_request *request, void *arg);
void docs_viewer_handle(struct http_request *request, void *arg);
void api_add_handle(struct http_request *request, void *arg);
void api_list_handle(struct http_request *request, void *arg);
void api_get_handle(struct http_request *request, void *arg);
void api_log_handle(struct http_request *request, void *arg);
// Whether it was answered by a stream that lasts as long as the client likes, which says nothing about us.
bool api_log_followed(const struct http_request *request);
void api_cancel_handle(struct http_request *request, void *arg);
void api_replay_handle(struct http_request *request, void *arg);
void api_dead_handle(struct http_request *request, void *arg);
void api_dead_replay_handle(struct http_request *request, void *arg);
void api_scale_handle(struct http_request *request, void *arg);
void api_workers_handle(struct http_request *request, void *arg);
void deliveries_handle(struct http_request *request, void *arg);
void api_worker_drain_handle(struct http_request *request, void *arg);
void api_worker_resume_handle(struct http_request *request, void *arg);
void artifacts_list_handle(struct http_request *request, void *arg);
void artifacts_get_handle(struct http_request *request, void *arg);
void schedules_handle(struct http_request *request, void *arg);
void schedule_handle(struct http_request *request, void *arg);
void schedule_pause_handle(struct http_request *request, void *arg);
void schedule_resume_handle(struct http_request *request, void *arg);

// For /readyz: Kafka, PostgreSQL and the issuer's keys.
int health_ready(char **reason, void *arg);

extern const struct http_route frontend_routes[];
extern const size_t frontend_route_count;
