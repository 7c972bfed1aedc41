#include "lib/lifecycle.h"
#include "lib/mem.h"
#include "lib/option.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

static char *brokers, *password, *listen_at, *metrics_at, *ports;
static int64_t slots, timeout_s, isolation;
static const char *const isolations[] = {"full", "reduced", "none", NULL};

static const struct option table[] = {
	{"KAFKA_BOOTSTRAP", OPTION_STRING, &brokers, "localhost:9092", 0, 0, NULL, "brokers to start from"},
	{"POSTGRES_PASSWORD", OPTION_SECRET, &password, "", 0, 0, NULL, "password"},
	{"FRONTEND_LISTEN", OPTION_LISTEN, &listen_at, "127.0.0.1:3000", 0, 0, NULL, "where to listen"},
	{"METRICS_LISTEN", OPTION_LISTEN, &metrics_at, "", 0, 0, NULL, "where to serve metrics"},
	{"POSTGRES_PORT", OPTION_PORTS, &ports, "5432", 0, 0, NULL, "ports"},
	{"WORKER_SLOTS", OPTION_INT, &slots, NULL, 1, 64, NULL, "jobs at once"},
	{"JOB_TIMEOUT_S", OPTION_INT, &timeout_s, "600", -5, 86400, NULL, "longest run of a job, seconds"},
	{"WORKER_ISOLATION", OPTION_CHOICE, &isolation, "full", 0, 0, isolations, "weakest acceptable isolation"},
};

// Arguments and environment are one list: what begins with a dash (and what follows) are arguments.
static int parse(char *const *words, enum option_action *action, struct error *error) {
	char *arguments[16] = {(char[]){"trabajos-test"}};
	char *environment[16] = {NULL};
	int argc = 1, variables = 0;
	bool in_arguments = false;
	for (; *words; words++) {
		in_arguments |= **words == '-' || strcmp(*words, "operand") == 0;
		if (in_arguments) {
			arguments[argc++] = *words;
		} else {
			environment[variables++] = *words;
		}
	}
	slots = 8;
	return option_parse(table, COUNT_OF(table), argc, arguments, environment, action, error);
}

#define WORDS(...) ((char *[]){__VA_ARGS__, NULL})

static void fine(char *const *words) {
	AUTO_ERROR struct error error = {0};
	enum option_action action;
	if (parse(words, &action, &error) != 0) fail_msg("%s", error_text(&error));
	assert_int_equal(action, OPTION_RUN);
}

static void refused(char *const *words, enum error_kind kind, const char *message) {
	AUTO_ERROR struct error error = {0};
	enum option_action action;
	assert_int_equal(parse(words, &action, &error), -1);
	assert_string_equal(error_text(&error), message);
	assert_int_equal(error.kind, kind);
}

static int clear(void **state) {
	(void)state;
	option_clear(table, COUNT_OF(table));
	return 0;
}

static void without_anything_the_defaults_hold(void **state) {
	(void)state;
	fine(WORDS("HOME=/root"));
	assert_string_equal(brokers, "localhost:9092");
	assert_string_equal(password, "");
	assert_string_equal(listen_at, "127.0.0.1:3000");
	assert_string_equal(metrics_at, "");
	assert_int_equal(slots, 8);
	assert_int_equal(timeout_s, 600);
	assert_int_equal(isolation, 0);
}

static void the_environment_sets_every_type(void **state) {
	(void)state;
	fine(WORDS("KAFKA_BOOTSTRAP=a:1,b:2", "POSTGRES_PASSWORD=s3cret", "FRONTEND_LISTEN=[::1]:80",
		"METRICS_LISTEN=localhost:0", "WORKER_SLOTS=3", "JOB_TIMEOUT_S=-5", "WORKER_ISOLATION=none"));
	assert_string_equal(brokers, "a:1,b:2");
	assert_string_equal(password, "s3cret");
	assert_string_equal(listen_at, "[::1]:80");
	assert_string_equal(metrics_at, "localhost:0");
	assert_int_equal(slots, 3);
	assert_int_equal(timeout_s, -5);
	assert_int_equal(isolation, 2);
}

static void a_flag_wins_over_the_environment_in_both_spellings(void **state) {
	(void)state;
	fine(WORDS("KAFKA_BOOTSTRAP=env", "WORKER_SLOTS=3", "--kafka-bootstrap=flag=1", "--worker-slots", "5"));
	assert_string_equal(brokers, "flag=1");
	assert_int_equal(slots, 5);
}

static void the_last_of_two_flags_wins(void **state) {
	(void)state;
	fine(WORDS("--worker-slots=2", "--worker-slots=4"));
	assert_int_equal(slots, 4);
}

static void an_empty_variable_counts_as_not_set_but_an_empty_flag_does_not(void **state) {
	(void)state;
	fine(WORDS("KAFKA_BOOTSTRAP=", "WORKER_SLOTS="));
	assert_string_equal(brokers, "localhost:9092");
	assert_int_equal(slots, 8);
	fine(WORDS("KAFKA_BOOTSTRAP=x", "METRICS_LISTEN=a:1", "--kafka-bootstrap=", "--metrics-listen="));
	assert_string_equal(brokers, "");
	assert_string_equal(metrics_at, "");
}

static void a_name_that_only_begins_alike_is_another(void **state) {
	(void)state;
	fine(WORDS("KAFKA_BOOTSTRAP_OLD=x", "KAFKA=y"));
	assert_string_equal(brokers, "localhost:9092");
	refused(WORDS("--kafka-boot=x"), ERROR_USAGE, "--kafka-boot: unknown option; --help lists them");
	refused(WORDS("--kafka-bootstrap-old=x"), ERROR_USAGE, "--kafka-bootstrap-old: unknown option; --help lists them");
	refused(WORDS("--KAFKA_BOOTSTRAP=x"), ERROR_USAGE, "--KAFKA_BOOTSTRAP: unknown option; --help lists them");
}

static void numbers_are_whole_decimal_and_in_range(void **state) {
	(void)state;
	const char *const bad[] = {"x", "1x", " 1", "1 ", "+1", "0x10", "1.0", "1e3", "-", "--1", "86401", "-6",
		"9223372036854775808", "99999999999999999999999"};
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		AUTO_FREE char *word = mem_format("JOB_TIMEOUT_S=%s", bad[i]);
		AUTO_FREE char *message = mem_format("JOB_TIMEOUT_S: \"%s\" is not a whole number from -5 to 86400", bad[i]);
		refused(WORDS(word), ERROR_INPUT, message);
	}
}

static void choices_are_exact(void **state) {
	(void)state;
	refused(WORDS("WORKER_ISOLATION=Full"), ERROR_INPUT, "WORKER_ISOLATION: \"Full\" is none of: full, reduced, none");
	refused(WORDS("--worker-isolation="), ERROR_INPUT, "WORKER_ISOLATION: \"\" is none of: full, reduced, none");
}

static void listen_addresses_have_a_host_and_a_port(void **state) {
	(void)state;
	const char *const bad[] = {"3000", ":3000", "host:", "host:65536", "host:123456", "host:-1", "host:+1", "host:1x",
		"::1:80", "[::1]", "[::1:80", "[::g]:80", "[]:80", "[127.0.0.1]:80", "a b:80", "http://host:80", "host:80/"};
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		AUTO_FREE char *word = mem_format("FRONTEND_LISTEN=%s", bad[i]);
		AUTO_FREE char *message = mem_format("FRONTEND_LISTEN: \"%s\" is not HOST:PORT or [IPV6]:PORT", bad[i]);
		refused(WORDS(word), ERROR_INPUT, message);
	}
	refused(WORDS("--frontend-listen="), ERROR_INPUT, "FRONTEND_LISTEN: \"\" is not HOST:PORT or [IPV6]:PORT");
	fine(WORDS("FRONTEND_LISTEN=frontend_1.example-x:65535"));
}

static void ports_are_whole_numbers_perhaps_several(void **state) {
	(void)state;
	const char *const good[] = {"1", "65535", "5432,5433", "5432,,5433", ","};
	for (size_t i = 0; i < COUNT_OF(good); i++) {
		AUTO_FREE char *word = mem_format("POSTGRES_PORT=%s", good[i]);
		fine(WORDS(word));
		assert_string_equal(ports, good[i]);
	}
	const char *const bad[] = {"abc", "0", "65536", "99999", "-1", "5432 ", "5432;5433", "5432,x", "5432,0"};
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		AUTO_FREE char *word = mem_format("POSTGRES_PORT=%s", bad[i]);
		AUTO_FREE char *message = mem_format(
			"POSTGRES_PORT: \"%s\" is not a port from 1 to 65535, or several with commas between", bad[i]);
		refused(WORDS(word), ERROR_INPUT, message);
	}
}

static void a_bad_value_is_shown_without_its_control_characters_and_cut(void **state) {
	(void)state;
	refused(WORDS("WORKER_SLOTS=\033[2J\n\xc3\xb1"), ERROR_INPUT,
		"WORKER_SLOTS: \"?[2J???\" is not a whole number from 1 to 64");
	AUTO_FREE char *word = mem_format("WORKER_SLOTS=%0500d", 7);
	fine(WORDS(word)); // leading zeros are decimal
	assert_int_equal(slots, 7);
	AUTO_FREE char *longer = mem_format("WORKER_SLOTS=x%0500d", 7);
	AUTO_FREE char *cut = mem_format("WORKER_SLOTS: \"x%079d...\" is not a whole number from 1 to 64", 0);
	refused(WORDS(longer), ERROR_INPUT, cut);
}

static void secrets_have_no_flag_and_never_stand_in_a_message(void **state) {
	(void)state;
	refused(WORDS("--postgres-password=hunter2"), ERROR_USAGE,
		"--postgres-password: secrets have no flag; use the environment variable POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE");
}

// A file in memory: nothing is left behind. The path opens it anew.
static char *memory_file(const void *data, size_t length, int *fd) {
	*fd = memfd_create("secret", MFD_CLOEXEC);
	assert_true(*fd >= 0);
	assert_int_equal(write(*fd, data, length), length);
	return mem_format("POSTGRES_PASSWORD_FILE=/proc/self/fd/%d", *fd);
}

static void a_secret_may_come_from_a_file_less_one_newline(void **state) {
	(void)state;
	AUTO_CLOSE int fd = -1;
	AUTO_FREE char *word = memory_file("two words\n\n", 11, &fd);
	fine(WORDS(word));
	assert_string_equal(password, "two words\n");
	refused(WORDS(word, "POSTGRES_PASSWORD=x"), ERROR_INPUT,
		"POSTGRES_PASSWORD_FILE: set together with POSTGRES_PASSWORD; one is enough");
}

static void a_secret_file_that_cannot_be_read_is_an_error(void **state) {
	(void)state;
	refused(WORDS("POSTGRES_PASSWORD_FILE=/nonexistent/secret"), ERROR_INPUT,
		"POSTGRES_PASSWORD_FILE: cannot open the file: No such file or directory");
	refused(WORDS("POSTGRES_PASSWORD_FILE=/"), ERROR_INPUT, "POSTGRES_PASSWORD_FILE: cannot read the file: Is a directory");
}

static void a_secret_file_is_bounded_and_has_no_nul(void **state) {
	(void)state;
	AUTO_CLOSE int fd = -1;
	AUTO_FREE char *word = memory_file("a\0b", 3, &fd);
	refused(WORDS(word), ERROR_INPUT, "POSTGRES_PASSWORD_FILE: the file contains a NUL byte");
	refused(WORDS("POSTGRES_PASSWORD_FILE=/dev/zero"), ERROR_INPUT,
		"POSTGRES_PASSWORD_FILE: the file is larger than 65536 bytes");
	fine(WORDS("POSTGRES_PASSWORD_FILE=/dev/null"));
	assert_string_equal(password, "");
}

static void operands_and_missing_values_are_usage_errors(void **state) {
	(void)state;
	refused(WORDS("operand"), ERROR_USAGE, "operand: operands are not taken; --help lists the options");
	refused(WORDS("-x"), ERROR_USAGE, "-x: operands are not taken; --help lists the options");
	refused(WORDS("--"), ERROR_USAGE, "--: operands are not taken; --help lists the options");
	refused(WORDS("--worker-slots"), ERROR_USAGE, "--worker-slots: needs a value");
}

static enum option_action action_of(char *const *words) {
	enum option_action action;
	AUTO_ERROR struct error error = {0};
	if (parse(words, &action, &error) != 0) fail_msg("%s", error_text(&error));
	return action;
}

static void help_and_version_work_whatever_the_environment_says(void **state) {
	(void)state;
	assert_int_equal(action_of(WORDS("WORKER_SLOTS=x", "--help")), OPTION_HELP);
	assert_int_equal(action_of(WORDS("WORKER_SLOTS=x", "-h", "--nonsense")), OPTION_HELP);
	assert_int_equal(action_of(WORDS("WORKER_SLOTS=x", "--version")), OPTION_VERSION);
	assert_int_equal(action_of(WORDS("--check", "--worker-slots=2")), OPTION_CHECK);
	assert_int_equal(slots, 2);
}

static void the_help_names_each_option_with_flag_variable_default_and_choices(void **state) {
	(void)state;
	slots = 8;
	AUTO_FREE char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);
	option_help(table, COUNT_OF(table), "trabajos-test", "Tests.", out);
	fclose(out);
	const char *const lines[] = {
		"Usage: trabajos-test [OPTION]...\nTests.\n",
		"\n  --kafka-bootstrap=TEXT       KAFKA_BOOTSTRAP           brokers to start from (default localhost:9092)\n",
		"\n  (no flag)                    POSTGRES_PASSWORD[_FILE]  password\n",
		"\n  --worker-slots=N             WORKER_SLOTS ",
		"jobs at once (default here 8)\n",
		"\n  --metrics-listen=HOST:PORT   METRICS_LISTEN            ",
		"where to serve metrics\n",
		"weakest acceptable isolation (full, reduced, none; default full)\n",
		"\n  --check ",
	};
	for (size_t i = 0; i < COUNT_OF(lines); i++) {
		if (!strstr(text, lines[i])) fail_msg("\"%s\" is missing in\n%s", lines[i], text);
	}
}

static void clearing_frees_the_strings_and_can_be_repeated(void **state) {
	(void)state;
	fine(WORDS("POSTGRES_PASSWORD=x"));
	option_clear(table, COUNT_OF(table));
	assert_null(password);
	assert_null(brokers);
	option_clear(table, COUNT_OF(table));
}

static void the_log_options_have_the_defaults_of_the_interface(void **state) {
	(void)state;
	static const struct option log_table[] = {OPTIONS_LOG};
	AUTO_ERROR struct error error = {0};
	enum option_action action;
	char *argv[] = {(char[]){"x"}, (char[]){"--log-level=debug"}, NULL};
	assert_int_equal(option_parse(log_table, COUNT_OF(log_table), 2, argv, NULL, &action, &error), 0);
	assert_int_equal(lifecycle_log_level, 0);
	assert_int_equal(lifecycle_log_format, 0);
}

#define TEST(function) cmocka_unit_test_teardown(function, clear)

int main(void) {
	const struct CMUnitTest tests[] = {
		TEST(without_anything_the_defaults_hold),
		TEST(the_environment_sets_every_type),
		TEST(a_flag_wins_over_the_environment_in_both_spellings),
		TEST(the_last_of_two_flags_wins),
		TEST(an_empty_variable_counts_as_not_set_but_an_empty_flag_does_not),
		TEST(a_name_that_only_begins_alike_is_another),
		TEST(numbers_are_whole_decimal_and_in_range),
		TEST(choices_are_exact),
		TEST(listen_addresses_have_a_host_and_a_port),
		TEST(ports_are_whole_numbers_perhaps_several),
		TEST(a_bad_value_is_shown_without_its_control_characters_and_cut),
		TEST(secrets_have_no_flag_and_never_stand_in_a_message),
		TEST(a_secret_may_come_from_a_file_less_one_newline),
		TEST(a_secret_file_that_cannot_be_read_is_an_error),
		TEST(a_secret_file_is_bounded_and_has_no_nul),
		TEST(operands_and_missing_values_are_usage_errors),
		TEST(help_and_version_work_whatever_the_environment_says),
		TEST(the_help_names_each_option_with_flag_variable_default_and_choices),
		TEST(clearing_frees_the_strings_and_can_be_repeated),
		TEST(the_log_options_have_the_defaults_of_the_interface),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
