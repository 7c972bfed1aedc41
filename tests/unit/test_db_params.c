// Parameters of statements, there and back through a real PostgreSQL.
#include "lib/db.h"
#include "lib/mem.h"
#include "tests/unit/scratch_db.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct scratch_db scratch;
static struct db *db;

static void parameters_of_every_type_come_back_as_they_went(void **state UNUSED) {
	static const struct db_statement types = {"types",
		"SELECT $1::text, $2::text, $3::bigint, $4::bytea, ($5::text[])[1], ($5::text[])[2], ($5::text[])[3] IS NULL,"
		" ($5::text[])[4], ($6::bigint[])[2], ($7::bytea[])[1], cardinality($7::bytea[]), ($7::bytea[])[2] IS NULL,"
		" cardinality($8::text[]), length($9::bytea)"};
	const char *const texts[] = {"a \"quoted\\\" {word}, NULL", "", NULL, "ñandú\n€"};
	const int64_t numbers[] = {0, INT64_MIN, 7};
	const unsigned char bytes[] = {0, 1, 255, '\\', '"', '\''};
	const void *const blobs[] = {bytes, NULL, ""};
	const size_t lengths[] = {sizeof(bytes), 0, 0};
	struct db_params *params = db_params_new();
	db_text(params, "x'y\\");
	db_text(params, NULL);
	db_int(params, -9000000000);
	db_bytes(params, bytes, sizeof(bytes));
	db_text_array(params, texts, 4);
	db_int_array(params, numbers, 3);
	db_bytes_array(params, blobs, lengths, 3);
	db_text_array(params, NULL, 0);
	db_bytes(params, "", 0);
	AUTO_ERROR struct error error = {0};
	struct db_result *result = NULL;
	if (db_execute(db, &types, params, &result, &error) != DB_OK) fail_msg("%s", error_text(&error));
	assert_int_equal(db_rows(result), 1);
	assert_string_equal(db_get(result, 0, 0), "x'y\\");
	assert_null(db_get(result, 0, 1));
	assert_int_equal(db_get_int(result, 0, 1), 0);
	assert_true(db_get_int(result, 0, 2) == -9000000000);
	size_t length;
	AUTO_FREE unsigned char *back = db_get_bytes(result, 0, 3, &length);
	assert_int_equal(length, sizeof(bytes));
	assert_memory_equal(back, bytes, length);
	assert_string_equal(db_get(result, 0, 4), texts[0]);
	assert_string_equal(db_get(result, 0, 5), "");
	assert_int_equal(db_get_int(result, 0, 6), 1);
	assert_string_equal(db_get(result, 0, 7), texts[3]);
	assert_true(db_get_int(result, 0, 8) == INT64_MIN);
	AUTO_FREE unsigned char *element = db_get_bytes(result, 0, 9, &length);
	assert_int_equal(length, sizeof(bytes));
	assert_memory_equal(element, bytes, length);
	assert_int_equal(db_get_int(result, 0, 10), 3);
	assert_int_equal(db_get_int(result, 0, 11), 1);
	assert_int_equal(db_get_int(result, 0, 12), 0);
	assert_int_equal(db_get_int(result, 0, 13), 0);
	db_result_free(result);
	db_params_free(params);
}

static void binary_arrays_come_back_as_they_went(void **state UNUSED) {
	static const struct db_statement types = {"binary",
		"SELECT ($1::text[])[1], ($1::text[])[2], ($1::text[])[3] IS NULL, ($1::text[])[4], ($2::uuid[])[1], $2::uuid[] = ARRAY["
		"'00112233-4455-7677-8899-aabbccddeeff', null, 'ffffffff-ffff-ffff-ffff-ffffffffffff']::uuid[],"
		" ($3::jsonb[])[1] ->> 'a', $4::bool[], $5::smallint[], $6::integer[], $7::bigint[], cardinality($8::uuid[]),"
		" cardinality($9::bigint[])"};
	const char *const texts[] = {"a \"quoted\\\" {word}, NULL", "", NULL, "ñandú\n€"};
	const char *const keys[] = {"00112233-4455-7677-8899-AABBCCDDEEFF", NULL, "ffffffff-ffff-ffff-ffff-ffffffffffff"};
	const char *const objects[] = {"{\"a\":\"ñ\"}"};
	const int64_t numbers[] = {1, 0, -1};
	struct db_params *params = db_params_new();
	db_texts(params, DB_TEXT, texts, 4);
	db_texts(params, DB_UUID, keys, 3);
	db_texts(params, DB_JSONB, objects, 1);
	db_ints(params, DB_BOOL, numbers, 2);
	db_ints(params, DB_INT2, numbers, 3);
	db_ints(params, DB_INT4, numbers, 3);
	db_ints(params, DB_INT8, (const int64_t[]){INT64_MIN, INT64_MAX, -1}, 3);
	db_texts(params, DB_UUID, NULL, 0);
	db_ints(params, DB_INT8, NULL, 0);
	AUTO_ERROR struct error error = {0};
	struct db_result *result = NULL;
	if (db_execute(db, &types, params, &result, &error) != DB_OK) fail_msg("%s", error_text(&error));
	static const char *const expected[] = {"a \"quoted\\\" {word}, NULL", "", "t", "ñandú\n€",
		"00112233-4455-7677-8899-aabbccddeeff", "t", "ñ", "{t,f}", "{1,0,-1}", "{1,0,-1}",
		"{-9223372036854775808,9223372036854775807,-1}", "0", "0"};
	for (int i = 0; i < (int)COUNT_OF(expected); i++) assert_string_equal(db_get(result, 0, i), expected[i]);
	db_result_free(result);
	db_params_free(params);
}

static void what_a_binary_array_cannot_hold_is_bad_data(void **state UNUSED) {
	static const struct db_statement take = {"take", "SELECT $1::uuid[], $2::text[], $3::jsonb[]"};
	static const char *const bad[][3] = {
		{"no uuid", "", "{}"},
		{"00112233-4455-7677-8899-aabbccddeef", "", "{}"},
		{"00112233-4455-7677-8899_aabbccddeeff", "", "{}"},
		{"00112233-4455-7677-8899-aabbccddeefg", "", "{}"},
		{NULL, "\xff", "{}"},
		{NULL, "", "{"},
		{NULL, "", ""},
	};
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		struct db_params *params = db_params_new();
		db_texts(params, DB_UUID, &bad[i][0], 1);
		db_texts(params, DB_TEXT, &bad[i][1], 1);
		db_texts(params, DB_JSONB, &bad[i][2], 1);
		AUTO_ERROR struct error error = {0};
		struct db_result *result = NULL;
		assert_int_equal(db_execute(db, &take, params, &result, &error), DB_BAD_DATA);
		db_params_free(params);
	}
}

static int start(void **state UNUSED) {
	return scratch_open(&scratch) || db_open(&scratch.config, NULL, &db) ? -1 : 0;
}

static int stop(void **state UNUSED) {
	db_close(db);
	scratch_close(&scratch);
	return 0;
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parameters_of_every_type_come_back_as_they_went),
		cmocka_unit_test(binary_arrays_come_back_as_they_went),
		cmocka_unit_test(what_a_binary_array_cannot_hold_is_bad_data),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
