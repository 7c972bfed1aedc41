#include "worker/artifacts_type.h"

#include "lib/attr.h"

#include <string.h>
#include <strings.h>

static const struct {
	const char *ending, *type;
} types[] = {
	{"txt", "text/plain; charset=utf-8"},
	{"log", "text/plain; charset=utf-8"},
	{"md", "text/markdown; charset=utf-8"},
	{"csv", "text/csv; charset=utf-8"},
	{"html", "text/html; charset=utf-8"},
	{"htm", "text/html; charset=utf-8"},
	{"css", "text/css; charset=utf-8"},
	{"js", "text/javascript; charset=utf-8"},
	{"mjs", "text/javascript; charset=utf-8"},
	{"json", "application/json"},
	{"xml", "application/xml"},
	{"yaml", "application/yaml"},
	{"yml", "application/yaml"},
	{"pdf", "application/pdf"},
	{"svg", "image/svg+xml"},
	{"png", "image/png"},
	{"jpg", "image/jpeg"},
	{"jpeg", "image/jpeg"},
	{"gif", "image/gif"},
	{"webp", "image/webp"},
	{"avif", "image/avif"},
	{"mp3", "audio/mpeg"},
	{"wav", "audio/wav"},
	{"mp4", "video/mp4"},
	{"webm", "video/webm"},
	{"wasm", "application/wasm"},
	{"zip", "application/zip"},
	{"gz", "application/gzip"},
	{"tgz", "application/gzip"},
	{"xz", "application/x-xz"},
	{"zst", "application/zstd"},
	{"bz2", "application/x-bzip2"},
	{"tar", "application/x-tar"},
	{"7z", "application/x-7z-compressed"},
};

const char *artifacts_type(const char *path) {
	const char *slash = strrchr(path, '/'), *dot = strrchr(slash ? slash : path, '.');
	for (size_t i = 0; dot && i < COUNT_OF(types); i++)
		if (strcasecmp(dot + 1, types[i].ending) == 0) return types[i].type;
	return "application/octet-stream";
}
