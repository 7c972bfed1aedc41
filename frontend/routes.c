#include "frontend/discovery.h"
#include "frontend/frontend.h"
#include "frontend/web.h"

const struct http_route frontend_routes[] = {
	{"/", "GET", index_handle},
	{"/web/*", "GET", web_handle},
	{"/add", "GET POST", add_handle},
	{"/all", "GET", all_handle},
	{"/status", "GET", status_handle},
	{"/healthcheck", "GET", health_handle},
	{DISCOVERY_PATH, "GET", discovery_handle},
	{DISCOVERY_PATH "/{path*}", "GET", discovery_handle},
	{"/api/v1/openapi.json", "GET", openapi_handle},
	{"/api/v1/docs", "GET", docs_handle},
	{"/api/v1/docs/page.js", "GET", docs_script_handle},
	{"/api/v1/docs/viewer.js", "GET", docs_viewer_handle},
	{"/api/v1/trabajos", "POST", api_add_handle},
	{"/api/v1/trabajos", "GET", api_list_handle},
	{"/api/v1/trabajos/{key}", "GET", api_get_handle},
	{"/api/v1/trabajos/{key}/log", "GET", api_log_handle},
	{"/api/v1/trabajos/{key}/artifacts", "GET", artifacts_list_handle},
	{"/api/v1/trabajos/{key}/artifacts/{path*}", "GET", artifacts_get_handle},
	{"/api/v1/trabajos/{key}/deliveries", "GET", deliveries_handle},
	{"/api/v1/trabajos/{key}/cancel", "POST", api_cancel_handle},
	{"/api/v1/trabajos/{key}/replay", "POST", api_replay_handle},
	{"/api/v1/dead", "GET", api_dead_handle},
	{"/api/v1/dead/replay", "POST", api_dead_replay_handle},
	{"/api/v1/scale", "GET", api_scale_handle},
	{"/api/v1/workers", "GET", api_workers_handle},
	{"/api/v1/workers/{worker}/drain", "POST", api_worker_drain_handle},
	{"/api/v1/workers/{worker}/resume", "POST", api_worker_resume_handle},
	{"/api/v1/schedules", "GET POST", schedules_handle},
	{"/api/v1/schedules/{id}", "GET DELETE", schedule_handle},
	{"/api/v1/schedules/{id}/pause", "POST", schedule_pause_handle},
	{"/api/v1/schedules/{id}/resume", "POST", schedule_resume_handle},
};
const size_t frontend_route_count = COUNT_OF(frontend_routes);
