#include "lib/certificate.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdbool.h>

int certificate_check(const char *text, size_t length, struct error *error) {
	size_t count = 0;
	if (length > INT_MAX) return error_set(error, ERROR_INPUT, "too large");
	BIO *in = BIO_new_mem_buf(text, (int)length);
	if (!in) return error_set(error, ERROR_INTERNAL, "OpenSSL has no memory");
	ERR_clear_error();
	for (X509 *found; (found = PEM_read_bio_X509(in, NULL, NULL, NULL)); count++) X509_free(found);
	// At the end of the text OpenSSL says that no other one begins.
	bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
	ERR_clear_error();
	BIO_free(in);
	if (!at_end) return error_set(error, ERROR_INPUT, "certificate %zu cannot be read", count + 1);
	return count > 0 ? 0 : error_set(error, ERROR_INPUT, "holds no certificate (PEM: -----BEGIN CERTIFICATE-----)");
}
