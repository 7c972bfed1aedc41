#include "worker/init/init.h"

static int usage(void) {
	static const char text[] = "usage: trabajos-init launch|run|clear|probe …\n"
				   "Started by trabajos-worker, in and around the box of a job; of no use by hand.\n";
	ssize_t written = write(STDERR_FILENO, text, sizeof(text) - 1);
	(void)written;
	return 64;
}

int main(int argc, char **argv) {
	if (argc < 2) return usage();
	if (strcmp(argv[1], "launch") == 0) return launch_main(argc - 2, argv + 2);
	if (strcmp(argv[1], "run") == 0) return run_main(argc - 2, argv + 2);
	if (strcmp(argv[1], "clear") == 0) return clear_main(argc - 2, argv + 2);
	if (strcmp(argv[1], "probe") == 0) return probe_main(argc - 2, argv + 2);
	return usage();
}
