#include "gguf.h"

#include "support.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { F32 = 0, F16 = 1, Q4_0 = 2, Q4_1 = 3, Q8_0 = 8 };

// A whole small file: every kind of value, one tensor of each accepted type.
static writer make_file(uint32_t version)
{
    static const char *const words[] = {"one", "", "three"};
    static const int32_t numbers[] = {-1, 2, INT32_MIN};
    static const float f32[] = {1.5f, -2.0f, 0.0f, 3.25f};
    writer w = {0};
    put_head(&w, version, 4, 10);
    put_u32(&w, "u32", 7);
    put_f32(&w, "f32", 0.5f);
    put_text(&w, "text", "hello");
    put_strings(&w, "words", words, KN_LEN(words));
    put_i32s(&w, "numbers", numbers, KN_LEN(numbers));
    put_string(&w, "i8");
    put_int(&w, GGUF_I8, 4);
    put_int(&w, 0xFE, 1);
    put_string(&w, "u64");
    put_int(&w, GGUF_U64, 4);
    put_int(&w, UINT64_MAX, 8);
    put_string(&w, "f64");
    put_int(&w, GGUF_F64, 4);
    put_int(&w, 0x3FE0000000000000, 8); // 0.5
    put_string(&w, "yes");
    put_int(&w, GGUF_BOOL, 4);
    put_int(&w, 1, 1);
    put_u32(&w, "general.alignment", 64);
    put_tensor(&w, "f32", (const uint64_t[4]){2, 2}, F32, 0);
    put_tensor(&w, "f16", (const uint64_t[4]){5}, F16, 64);
    put_tensor(&w, "q4_1", (const uint64_t[4]){32, 1, 2}, Q4_1, 128);
    put_tensor(&w, "q8_0", (const uint64_t[4]){64}, Q8_0, 192);
    put_padding(&w, 64);
    for (size_t i = 0; i < KN_LEN(f32); ++i) {
        uint32_t bits;
        memcpy(&bits, &f32[i], sizeof(bits));
        put_int(&w, bits, 4);
    }
    put_padding(&w, 64);
    static const uint16_t halves[] = {0x3C00, 0xC000, 0x0001, 0x7BFF,
                                      0xFC00}; // 1, -2, 2^-24, 65504, -inf
    for (size_t i = 0; i < KN_LEN(halves); ++i)
        put_int(&w, halves[i], 2);
    put_padding(&w, 64);
    for (uint32_t block = 0; block < 2; ++block) { // q * 0.5 + (1 or 2), q: 0 … 15 twice
        put_int(&w, 0x3800, 2);
        put_int(&w, block ? 0x4000 : 0x3C00, 2);
        for (uint32_t i = 0; i < 16; ++i)
            put_int(&w, i | (15 - i) << 4, 1);
    }
    put_padding(&w, 64);
    for (uint32_t block = 0; block < 2; ++block) {
        put_int(&w, 0x3400, 2); // 0.25
        for (uint32_t i = 0; i < 32; ++i)
            put_int(&w, block * 128 + i * 4 + 3, 1);
    }
    return w;
}

static void check_values(const gguf_file *file)
{
    kn_error err = KN_ERROR_INIT;
    int64_t integer;
    double number;
    bool flag;
    gguf_string text;
    gguf_array array;
    assert_int_equal(gguf_get_int(file, "u32", 0, 7, &integer, &err), KN_OK);
    assert_int_equal(integer, 7);
    assert_int_equal(gguf_get_int(file, "i8", -2, 0, &integer, &err), KN_OK);
    assert_int_equal(integer, -2);
    assert_int_equal(gguf_get_float(file, "f32", &number, &err), KN_OK);
    assert_true(number == 0.5);
    assert_int_equal(gguf_get_float(file, "f64", &number, &err), KN_OK);
    assert_true(number == 0.5);
    assert_int_equal(gguf_get_bool(file, "yes", &flag, &err), KN_OK);
    assert_true(flag);
    assert_int_equal(gguf_get_string(file, "text", &text, &err), KN_OK);
    assert_int_equal(text.n_bytes, 5);
    assert_memory_equal(text.bytes, "hello", 5);
    assert_int_equal(gguf_get_array(file, "words", GGUF_STRING, &array, &err), KN_OK);
    assert_int_equal(array.count, 3);
    assert_int_equal(gguf_next_string(&array).n_bytes, 3);
    assert_int_equal(gguf_next_string(&array).n_bytes, 0);
    assert_memory_equal(gguf_next_string(&array).bytes, "three", 5);
    assert_int_equal(gguf_get_array(file, "numbers", GGUF_I32, &array, &err), KN_OK);
    assert_int_equal(gguf_next_i32(&array), -1);
    assert_int_equal(gguf_next_i32(&array), 2);
    assert_int_equal(gguf_next_i32(&array), INT32_MIN);
    assert_int_equal(array.count, 0);

    assert_failure(gguf_get_int(file, "none", 0, 1, &integer, &err), &err, KN_ERR_FORMAT,
                   "no 'none'", NULL);
    assert_failure(gguf_get_int(file, "u32", 8, 9, &integer, &err), &err, KN_ERR_FORMAT,
                   "'u32' is 7", "8 to 9");
    assert_failure(gguf_get_int(file, "u64", 0, INT64_MAX - 1, &integer, &err), &err, KN_ERR_FORMAT,
                   "'u64'", "accepted are");
    assert_failure(gguf_get_int(file, "text", 0, 1, &integer, &err), &err, KN_ERR_FORMAT,
                   "'text' is string", "an integer");
    assert_failure(gguf_get_float(file, "u32", &number, &err), &err, KN_ERR_FORMAT,
                   "'u32' is uint32", "float32");
    assert_failure(gguf_get_bool(file, "u32", &flag, &err), &err, KN_ERR_FORMAT, "uint32", "bool");
    assert_failure(gguf_get_string(file, "words", &text, &err), &err, KN_ERR_FORMAT,
                   "array of string", "accepted is string");
    assert_failure(gguf_get_array(file, "words", GGUF_I32, &array, &err), &err, KN_ERR_FORMAT,
                   "array of string", "array of int32");
}

static void check_tensors(gguf_file *file)
{
    kn_error err = KN_ERROR_INIT;
    float out[64];
    const gguf_tensor *t = gguf_find_tensor(file, "f32");
    assert_int_equal(gguf_n_tensors(file), 4);
    assert_null(gguf_find_tensor(file, "f3"));
    assert_int_equal(t->n_cols, 2);
    assert_int_equal(t->n_rows, 2);
    assert_int_equal(gguf_read_rows(file, t, 1, 1, out, &err), KN_OK);
    assert_true(out[0] == 0.0f && out[1] == 3.25f);
    assert_failure(gguf_read_rows(file, t, 1, 2, out, &err), &err, KN_ERR_INVALID, "has 2 rows",
                   "2 from 1");
    assert_failure(gguf_read_rows(file, t, UINT64_MAX, 2, out, &err), &err, KN_ERR_INVALID,
                   "has 2 rows", NULL);
    t = gguf_find_tensor(file, "f16");
    assert_int_equal(gguf_read_rows(file, t, 0, 1, out, &err), KN_OK);
    assert_true(out[0] == 1.0f && out[1] == -2.0f && out[2] == 0x1p-24f && out[3] == 65504.0f &&
                out[4] == -INFINITY);
    t = gguf_find_tensor(file, "q4_1");
    assert_int_equal(t->n_rows, 2);
    assert_int_equal(gguf_read_rows(file, t, 0, 2, out, &err), KN_OK);
    for (size_t i = 0; i < 64; ++i) {
        const size_t q = i % 32 < 16 ? i % 16 : 15 - i % 16;
        assert_true(out[i] == (float)q * 0.5f + (i < 32 ? 1.0f : 2.0f));
    }
    t = gguf_find_tensor(file, "q8_0");
    assert_int_equal(gguf_read_rows(file, t, 0, 1, out, &err), KN_OK);
    for (size_t i = 0; i < 64; ++i) {
        const int q = (int)(i % 32) * 4 + 3 - (i < 32 ? 0 : 128);
        assert_true(out[i] == (float)q * 0.25f);
    }
}

static void write_file(const char *path, const void *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static void test_whole(void **state)
{
    (void)state;
    char path[] = "/tmp/llama_gguf_XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    for (uint32_t version = 2; version <= 3; ++version) {
        kn_error err = KN_ERROR_INIT;
        gguf_file *file = NULL;
        writer w = make_file(version);
        assert_int_equal(gguf_open_bytes("made", w.bytes, w.size, &file, &err), KN_OK);
        check_values(file);
        check_tensors(file);
        gguf_close(file);
        write_file(path, w.bytes, w.size);
        assert_int_equal(gguf_open(path, &file, &err), KN_OK);
        check_values(file);
        check_tensors(file);
        // The file is cut short while it is open.
        float out[64];
        assert_int_equal(truncate(path, (off_t)w.size - 40), 0);
        assert_failure(gguf_read_rows(file, gguf_find_tensor(file, "q8_0"), 0, 1, out, &err), &err,
                       KN_ERR_IO, "cut short", path);
        gguf_close(file);
        free(w.bytes);
    }
    unlink(path);
}

// Every beginning of a file is an error that says so; from memory and from disk.
static void test_truncated(void **state)
{
    (void)state;
    writer w = make_file(3);
    char path[] = "/tmp/llama_gguf_XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    for (size_t size = 0; size < w.size; ++size) {
        kn_error err = KN_ERROR_INIT;
        gguf_file *file = NULL;
        // A copy of exactly that size, so that a read beyond it is noticed.
        uint8_t *part = malloc(size ? size : 1);
        assert_non_null(part);
        memcpy(part, w.bytes, size);
        const kn_status st = gguf_open_bytes("made", part, size, &file, &err);
        assert_null(file);
        assert_failure(st, &err, KN_ERR_FORMAT, "made", size < 16 ? "truncated" : NULL);
        free(part);
        if (size % 16 == 0) {
            write_file(path, w.bytes, size);
            assert_failure(gguf_open(path, &file, &err), &err, KN_ERR_FORMAT, path, NULL);
        }
    }
    unlink(path);
    free(w.bytes);
}

// The head is longer than what is read first.
static void test_long_head(void **state)
{
    (void)state;
    enum { COUNT = 400000 };
    kn_error err = KN_ERROR_INIT;
    gguf_file *file = NULL;
    gguf_array array;
    writer w = {0};
    char path[] = "/tmp/llama_gguf_XXXXXX";
    const int fd = mkstemp(path);
    int32_t *numbers = calloc(COUNT, sizeof(*numbers));
    assert_true(fd >= 0);
    assert_non_null(numbers);
    close(fd);
    put_head(&w, 3, 0, 2);
    put_string(&w, "numbers");
    put_int(&w, GGUF_ARRAY, 4);
    put_int(&w, GGUF_I32, 4);
    put_int(&w, COUNT, 8);
    put_bytes(&w, numbers, COUNT * sizeof(*numbers));
    put_u32(&w, "last", 9);
    write_file(path, w.bytes, w.size);
    assert_int_equal(gguf_open(path, &file, &err), KN_OK);
    assert_true(gguf_has(file, "last"));
    assert_int_equal(gguf_get_array(file, "numbers", GGUF_I32, &array, &err), KN_OK);
    assert_int_equal(array.count, COUNT);
    gguf_close(file);
    unlink(path);
    free(numbers);
    free(w.bytes);
}

// One thing is wrong in each.
static void bad_magic(writer *w)
{
    put_bytes(w, "GGML\3\0\0\0", 8);
    put_int(w, 0, 8);
    put_int(w, 0, 8);
}
static void bad_version(writer *w)
{
    put_head(w, 1, 0, 0);
}
static void big_endian(writer *w)
{
    put_head(w, 0x03000000, 0, 0);
}
static void many_tensors(writer *w)
{
    put_head(w, 3, UINT64_MAX, 0);
}
static void many_entries(writer *w)
{
    put_head(w, 3, 0, UINT64_MAX / 2);
    put_padding(w, 64);
}
static void long_key(writer *w)
{
    put_head(w, 3, 0, 1);
    put_int(w, 1 << 20, 8);
    put_padding(w, 64);
}
static void endless_key(writer *w)
{
    put_head(w, 3, 0, 1);
    put_int(w, 60000, 8);
    put_padding(w, 64);
}
static void huge_string(writer *w)
{
    put_head(w, 3, 0, 1);
    put_string(w, "k");
    put_int(w, GGUF_STRING, 4);
    put_int(w, UINT64_MAX, 8);
}
static void value_type(writer *w)
{
    put_head(w, 3, 0, 1);
    put_string(w, "k");
    put_int(w, 13, 4);
    put_int(w, 0, 8);
}
static void item_type(writer *w)
{
    put_head(w, 3, 0, 1);
    put_string(w, "k");
    put_int(w, GGUF_ARRAY, 4);
    put_int(w, GGUF_ARRAY, 4);
    put_int(w, 1, 8);
}
static void huge_array(writer *w)
{
    put_head(w, 3, 0, 1);
    put_string(w, "k");
    put_int(w, GGUF_ARRAY, 4);
    put_int(w, GGUF_U64, 4);
    put_int(w, UINT64_MAX / 2, 8);
}
static void long_array(writer *w)
{
    put_head(w, 3, 0, 1);
    put_string(w, "k");
    put_int(w, GGUF_ARRAY, 4);
    put_int(w, GGUF_U8, 4);
    put_int(w, 1000, 8);
}
static void bad_bool(writer *w)
{
    put_head(w, 3, 0, 1);
    put_string(w, "k");
    put_int(w, GGUF_BOOL, 4);
    put_int(w, 2, 1);
}
static void same_keys(writer *w)
{
    put_head(w, 3, 0, 2);
    put_u32(w, "key", 1);
    put_u32(w, "key", 2);
}
static void tensor(writer *w, const uint64_t dims[4], uint32_t dtype, uint64_t offset)
{
    put_head(w, 3, 1, 0);
    put_tensor(w, "t", dims, dtype, offset);
    put_padding(w, 32);
    for (size_t i = 0; i < 128; ++i)
        put_int(w, 0, 1);
}
static void no_dims(writer *w)
{
    tensor(w, (const uint64_t[4]){0}, F32, 0);
}
static void many_dims(writer *w)
{
    put_head(w, 3, 1, 0);
    put_string(w, "t");
    put_int(w, 5, 4);
    put_padding(w, 64);
}
static void zero_dim(writer *w)
{
    put_head(w, 3, 1, 0);
    put_string(w, "t");
    put_int(w, 2, 4);
    put_int(w, 4, 8);
    put_padding(w, 64);
}
static void huge_dim(writer *w)
{
    tensor(w, (const uint64_t[4]){UINT64_MAX}, F32, 0);
}
static void huge_product(writer *w)
{
    tensor(w, (const uint64_t[4]){32, UINT64_C(1) << 32, UINT64_C(1) << 32}, F32, 0);
}
static void wrapping_size(writer *w)
{
    tensor(w, (const uint64_t[4]){INT64_MAX / 2, 2}, F32, 0);
}
static void other_dtype(writer *w)
{
    tensor(w, (const uint64_t[4]){32}, Q4_0, 0);
}
static void half_block(writer *w)
{
    tensor(w, (const uint64_t[4]){48}, Q8_0, 0);
}
static void beyond(writer *w)
{
    tensor(w, (const uint64_t[4]){33}, F32, 0);
}
static void far_beyond(writer *w)
{
    tensor(w, (const uint64_t[4]){1}, F32, UINT64_MAX - 31);
}
static void crooked(writer *w)
{
    tensor(w, (const uint64_t[4]){1}, F32, 4);
}
static void same_tensors(writer *w)
{
    put_head(w, 3, 2, 0);
    put_tensor(w, "t", (const uint64_t[4]){1}, F32, 0);
    put_tensor(w, "t", (const uint64_t[4]){1}, F32, 0);
    put_padding(w, 32);
    put_padding(w, 64);
    put_int(w, 0, 8);
}
static void bad_alignment(writer *w)
{
    put_head(w, 3, 0, 1);
    put_u32(w, "general.alignment", 48);
}
static void zero_alignment(writer *w)
{
    put_head(w, 3, 0, 1);
    put_u32(w, "general.alignment", 0);
}
static void text_alignment(writer *w)
{
    put_head(w, 3, 0, 1);
    put_text(w, "general.alignment", "32");
}

static const struct {
    const char *name;
    void (*make)(writer *);
    kn_status status;
    const char *part, *other;
} broken[] = {
    {"magic", bad_magic, KN_ERR_FORMAT, "byte 0: begins with 47 47 4d 4c", "\"GGUF\""},
    {"version 1", bad_version, KN_ERR_UNSUPPORTED, "byte 4: GGUF version 1",
     "accepted are 2 and 3"},
    {"big-endian", big_endian, KN_ERR_UNSUPPORTED, "big-endian", NULL},
    {"many tensors", many_tensors, KN_ERR_FORMAT, "byte 8: the number of tensors", "more than"},
    {"many entries", many_entries, KN_ERR_FORMAT, "byte 16: the number of metadata", "more than"},
    {"long key", long_key, KN_ERR_FORMAT, "byte 24: a key of 1048576 bytes", "up to 65535"},
    {"endless key", endless_key, KN_ERR_FORMAT, "byte 32: a key needs 60000", "truncated"},
    {"huge string", huge_string, KN_ERR_FORMAT, "a string of 18446744073709551615", "up to"},
    {"value type", value_type, KN_ERR_FORMAT, "byte 33: a value of type 13", "0 to 12"},
    {"array of arrays", item_type, KN_ERR_FORMAT, "elements: 9", "all but 9"},
    {"huge array", huge_array, KN_ERR_FORMAT, "more than any file holds", NULL},
    {"long array", long_array, KN_ERR_FORMAT, "needs 1000 bytes", "truncated"},
    {"bool", bad_bool, KN_ERR_FORMAT, "a bool of value 2", "0 and 1"},
    {"same keys", same_keys, KN_ERR_FORMAT, "two metadata entries are named 'key'", "unique"},
    {"no dimensions", no_dims, KN_ERR_FORMAT, "a tensor of 0 dimensions", "1 to 4"},
    {"many dimensions", many_dims, KN_ERR_FORMAT, "a tensor of 5 dimensions", "1 to 4"},
    {"empty dimension", zero_dim, KN_ERR_FORMAT, "a dimension of 0", NULL},
    {"huge dimension", huge_dim, KN_ERR_FORMAT, "a dimension of 18446744073709551615", NULL},
    {"huge product", huge_product, KN_ERR_FORMAT, "a dimension of 4294967296", NULL},
    {"wrapping size", wrapping_size, KN_ERR_FORMAT, "ends beyond", "truncated"},
    {"type of tensor", other_dtype, KN_ERR_FORMAT, "'t' is of type 2", "Q4_1 (3), Q8_0 (8)"},
    {"half a block", half_block, KN_ERR_FORMAT, "rows of 48", "multiples of 32"},
    {"beyond the end", beyond, KN_ERR_FORMAT, "'t' (F32, 1 x 33, byte 0", "truncated"},
    {"far beyond the end", far_beyond, KN_ERR_FORMAT, "ends beyond", "truncated"},
    {"crooked offset", crooked, KN_ERR_FORMAT, "byte 4 of the data", "multiples of 32"},
    {"same tensors", same_tensors, KN_ERR_FORMAT, "two tensors are named 't'", "unique"},
    {"alignment 48", bad_alignment, KN_ERR_FORMAT, "uint32 48", "power of two"},
    {"alignment 0", zero_alignment, KN_ERR_FORMAT, "uint32 0", "power of two"},
    {"alignment as text", text_alignment, KN_ERR_FORMAT, "general.alignment is string", NULL},
};

static void test_broken(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(broken); ++i) {
        kn_error err = KN_ERROR_INIT;
        gguf_file *file = NULL;
        writer w = {0};
        print_message("  %s\n", broken[i].name);
        broken[i].make(&w);
        const kn_status st = gguf_open_bytes("made", w.bytes, w.size, &file, &err);
        assert_null(file);
        assert_failure(st, &err, broken[i].status, broken[i].part, broken[i].other);
        assert_int_equal(gguf_open_bytes("made", w.bytes, w.size, &file, NULL), broken[i].status);
        free(w.bytes);
    }
}

static void test_no_file(void **state)
{
    (void)state;
    kn_error err = KN_ERROR_INIT;
    gguf_file *file = NULL;
    assert_failure(gguf_open("/nonexistent/model.gguf", &file, &err), &err, KN_ERR_IO,
                   "/nonexistent/model.gguf: cannot open", "No such file");
    assert_failure(gguf_open("/tmp", &file, &err), &err, KN_ERR_IO, "not a regular file", NULL);
    assert_failure(gguf_open("/dev/zero", &file, &err), &err, KN_ERR_IO, "not a regular file",
                   NULL);
    assert_null(file);
    gguf_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),     cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_long_head), cmocka_unit_test(test_broken),
        cmocka_unit_test(test_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
