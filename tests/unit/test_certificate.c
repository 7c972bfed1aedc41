#include "lib/certificate.h"
#include "lib/mem.h"
#include "worker/fetch_ca.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above

static const char pem[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIIBDDCBs6ADAgECAgEBMAoGCCqGSM49BAMCMA8xDTALBgNVBAMMBHRlc3QwIBcN\n"
	"MjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMA8xDTALBgNVBAMMBHRlc3Qw\n"
	"WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASYXWzBkC/t2JoMMqr1fhJIuH/ovp0d\n"
	"G2/MORAfV1DYLhKl9MhgaxMb+kn2J3Vk1xaN/DTDV7L0JbbQphGbZVNUMAoGCCqG\n"
	"SM49BAMCA0gAMEUCIELbK4E/WqehzHyQPirvwWCSr49cWjqlFwEA4de9CvYnAiEA\n"
	"kmuO252cZmPCev5OCg5bScIH0pFxA2jLDVnAKWge56Q=\n"
	"-----END CERTIFICATE-----\n";
// clang-format on

static void expect_refused(const char *text, const char *words) {
	AUTO_ERROR struct error error = {0};
	assert_int_equal(certificate_check(text, strlen(text), &error), -1);
	assert_int_equal(error.kind, ERROR_INPUT);
	if (!strstr(error_text(&error), words)) fail_msg("%s: not in: %s", words, error_text(&error));
}

static void certificates_among_words_are_read(void **state) {
	(void)state;
	AUTO_FREE char *two = mem_format("# our own\n%s\nand\n%s", pem, pem);
	assert_int_equal(certificate_check(pem, strlen(pem), NULL), 0);
	assert_int_equal(certificate_check(two, strlen(two), NULL), 0);
}

static void a_text_without_certificates_is_refused(void **state) {
	(void)state;
	expect_refused("", "holds no certificate");
	expect_refused("hello\n", "holds no certificate");
	expect_refused("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "holds no certificate");
}

static void a_broken_certificate_is_named_by_its_number(void **state) {
	(void)state;
	AUTO_FREE char *second = mem_format("%s-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", pem);
	AUTO_FREE char *cut = mem_strndup(pem, strlen(pem) / 2);
	AUTO_FREE char *changed = mem_strdup(pem);
	changed[60] = '!';
	expect_refused(second, "certificate 2 cannot be read");
	expect_refused(cut, "certificate 1 cannot be read");
	expect_refused(changed, "certificate 1 cannot be read");
}

static void the_bundle_holds_the_given_ones_for_every_child_to_read(void **state) {
	(void)state;
	AUTO_ERROR struct error error = {0};
	char dir[] = "/tmp/test_certificate.XXXXXX";
	assert_non_null(mkdtemp(dir));
	AUTO_CLOSE int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_FREE char *given = mem_format("%s/given.pem", dir);
	AUTO_FREE char *path = NULL;
	AUTO_CLOSE int fd = open(given, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, pem, strlen(pem)), (ssize_t)strlen(pem));
	mode_t before = umask(077);
	if (fetch_ca_prepare(given, dir, dir_fd, &path, &error) < 0) fail_msg("%s", error_text(&error));
	umask(before);
	struct stat status;
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0644);
	AUTO_FREE char *whole = mem_zalloc((size_t)status.st_size + 1);
	AUTO_CLOSE int made = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(made, whole, (size_t)status.st_size), status.st_size);
	assert_non_null(strstr(whole, pem));
	assert_int_equal(certificate_check(whole, strlen(whole), NULL), 0);
	assert_int_equal(unlink(path) + unlink(given) + rmdir(dir), 0);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(certificates_among_words_are_read),
		cmocka_unit_test(a_text_without_certificates_is_refused),
		cmocka_unit_test(a_broken_certificate_is_named_by_its_number),
		cmocka_unit_test(the_bundle_holds_the_given_ones_for_every_child_to_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
