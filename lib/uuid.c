#include "lib/uuid.h"

#include "lib/mem.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/random.h>
#include <uuid/uuid.h>

// UUIDv5(RFC 9562's DNS namespace, "trabajos"). It never changes: a key sent again must give the same job.
#define NAMESPACE "3b826edf-8069-5dae-9965-4c29b068bd85"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t last_ms;
static unsigned last_counter;

// Section 6.2, method 1: within a millisecond rand_a counts, from a random start that leaves half of its room; when it
// is full, or the clock went back, time runs ahead of the clock.
static void next_tick(unsigned seed, int64_t *ms, unsigned *counter) {
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	int64_t now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
	pthread_mutex_lock(&lock);
	if (now_ms > last_ms) {
		last_ms = now_ms;
		last_counter = seed & 0x7ff;
	} else if (++last_counter > 0xfff) {
		last_ms++;
		last_counter = seed & 0x7ff;
	}
	*ms = last_ms;
	*counter = last_counter;
	pthread_mutex_unlock(&lock);
}

void uuid_v7(char text[UUID_TEXT]) {
	uuid_t bytes;
	// The kernel's, without what uuid_generate_random adds from a generator that it seeds anew for each: that is most of its time.
	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes)) mem_die("uuid: no random bytes");
	int64_t ms;
	unsigned counter;
	next_tick((unsigned)bytes[0] << 8 | bytes[1], &ms, &counter);
	for (int i = 0; i < 6; i++) bytes[i] = (unsigned char)(ms >> (40 - 8 * i));
	bytes[6] = (unsigned char)(0x70 | counter >> 8);
	bytes[7] = (unsigned char)(counter & 0xff);
	bytes[8] = (unsigned char)(0x80 | (bytes[8] & 0x3f)); // the variant
	uuid_unparse_lower(bytes, text);
}

void uuid_v5(const char *space, const char *name, char text[UUID_TEXT]) {
	uuid_t in, out;
	if (uuid_parse(space, in) != 0) mem_die("uuid: the name space is no UUID");
	uuid_generate_sha1(out, in, name, strlen(name));
	uuid_unparse_lower(out, text);
}

int uuid_parse_text(const char *text, char normal[UUID_TEXT]) {
	uuid_t bytes;
	if (!text || uuid_parse(text, bytes) != 0) return -1;
	uuid_unparse_lower(bytes, normal);
	return 0;
}

void uuid_idempotent(const char *owner, const char *key, char text[UUID_TEXT]) {
	char space[UUID_TEXT];
	uuid_v5(NAMESPACE, owner, space);
	uuid_v5(space, key, text);
}
