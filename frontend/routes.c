#include "frontend/frontend.h"

const struct http_route frontend_routes[] = {
	{"/", "GET", index_handle},
	{"/add", "GET POST", add_handle},
	{"/all", "GET", all_handle},
	{"/status", "GET", status_handle},
	{"/healthcheck", "GET", health_handle},
};
const size_t frontend_route_count = COUNT_OF(frontend_routes);
