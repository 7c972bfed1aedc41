// What the command can do, in the order in which --help says it.
#include "cli/cli.h"

const struct cli_verb *const cli_verbs[] = {&cli_login, &cli_logout, &cli_add, &cli_list, &cli_status, &cli_log, &cli_cancel,
	&cli_replay, &cli_artifacts, &cli_artifacts_get, &cli_deliveries, &cli_dead, &cli_dead_replay, &cli_schedules,
	&cli_schedules_add, &cli_schedules_pause, &cli_schedules_resume, &cli_schedules_remove, &cli_workers, &cli_scale,
	&cli_top, &cli_token, &cli_migrate, &cli_observer_replay, &cli_observer_score, &cli_completion, &cli_complete,
	&cli_manual, &cli_version};
const size_t cli_verb_count = COUNT_OF(cli_verbs);
