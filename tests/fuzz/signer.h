// Signs tokens with a key that is the same in every run (its secret is 1, 2, 3 … 32: of no use to anybody), by OpenSSL, so that
// signer and verifier share no code; and holds what the verifier is told.
#pragma once

#include "frontend/token.h"

#define SIGNER_NOW      INT64_C(1700000000)
#define SIGNER_ISSUER   "http://localhost:8082/realms/cloudcomputing"
#define SIGNER_AUDIENCE "nodejs-microservice"

extern const struct token_rules signer_rules;

// The set {ec: our key on P-256, rsa: the public key of RFC 7515, A.2}; made once.
const struct token_keys *signer_keys(void);
// A token of the header and the payload, as they are, signed by ES256 whatever the header says. Owned by the caller.
char *signer_token(const void *header, size_t header_length, const void *payload, size_t payload_length) MUST_USE;
