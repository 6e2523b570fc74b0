#include <fcntl.h>
#include <unistd.h>

#include "base/digest.h"
#include "support/cmocka.h"
#include "support/fail_alloc.h"
#include "support/temp_dir.h"

// The examples of FIPS 180-4, and a text longer than the reading buffer (checked with sha256sum and sha512sum).
static const struct {
    const char *name, *text;
    size_t times;
    const char *sha256, *sha512;
} vectors[] = {
    {"empty", "", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
     "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
     "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"},
    {"abc", "abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
     "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
    {"a million a", "a", 1000000,
     "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
     "e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973eb"
     "de0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e4eadb217ad8cc09b"},
};

static char *repeat(const char *text, size_t times)
{
    const size_t size = strlen(text);
    char *whole = malloc(size * times + 1);
    assert_non_null(whole);
    for (size_t i = 0; i < times; ++i)
        memcpy(whole + i * size, text, size);
    return whole;
}

static void test_vectors(void **state)
{
    char *dir = *state;
    for (size_t i = 0; i < KN_LEN(vectors); ++i) {
        char *text = repeat(vectors[i].text, vectors[i].times);
        const size_t size = strlen(vectors[i].text) * vectors[i].times;
        print_message("  %s\n", vectors[i].name);
        temp_dir_write(dir, "file", text, size);
        const int fd = open(temp_dir_path(dir, "file"), O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        for (kni_digest_algorithm a = KNI_SHA256; a <= KNI_SHA512; ++a) {
            kni_digest of_bytes, of_file;
            char hex[129];
            assert_int_equal(kni_digest_bytes(a, text, size, &of_bytes, NULL), KN_OK);
            kni_digest_hex(&of_bytes, hex);
            assert_string_equal(hex, a == KNI_SHA256 ? vectors[i].sha256 : vectors[i].sha512);
            assert_int_equal(lseek(fd, (off_t)(size / 2), SEEK_SET), size / 2); // of no account
            assert_int_equal(kni_digest_fd(a, fd, "file", &of_file, NULL), KN_OK);
            assert_true(kni_digest_equal(&of_bytes, &of_file));
        }
        close(fd);
        free(text);
    }
}

static void test_equal(void **state)
{
    (void)state;
    kni_digest a, b;
    assert_int_equal(kni_digest_bytes(KNI_SHA256, "a", 1, &a, NULL), KN_OK);
    b = a;
    assert_true(kni_digest_equal(&a, &b));
    b.bytes[31] ^= 1;
    assert_false(kni_digest_equal(&a, &b));
    b = a;
    b.algorithm = KNI_SHA512;
    assert_false(kni_digest_equal(&a, &b));
}

static void test_algorithms(void **state)
{
    (void)state;
    kni_digest_algorithm algorithm = KNI_SHA256;
    assert_true(kni_digest_algorithm_parse("sha512", &algorithm));
    assert_int_equal(algorithm, KNI_SHA512);
    assert_int_equal(kni_digest_size(algorithm), 64);
    assert_true(kni_digest_algorithm_parse("sha256", &algorithm));
    assert_int_equal(kni_digest_size(algorithm), 32);
    assert_false(kni_digest_algorithm_parse("sha1", &algorithm));
    assert_false(kni_digest_algorithm_parse("SHA256", &algorithm));
    assert_false(kni_digest_algorithm_parse("", &algorithm));
    assert_int_equal(algorithm, KNI_SHA256);
}

static void test_base64(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
        bool accepted;
    } rows[] = {
        {"of abc", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=", true},
        {"stray bits at the end", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa1=", false},
        {"no padding", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0", false},
        {"two paddings", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa==", false},
        {"alphabet of URLs", "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0=", false},
        {"blank in front", " ngWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=", false},
        {"newline at the end", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0\n", false},
        {"padding inside", "ungW=48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=", false},
        {"too short", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIA", false},
        {"too long", "AAAAungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=", false},
        {"33 bytes", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0A", false},
        {"empty", "", false},
    };
    kni_digest abc, read;
    char text[89];
    assert_int_equal(kni_digest_bytes(KNI_SHA256, "abc", 3, &abc, NULL), KN_OK);
    kni_digest_base64(&abc, text);
    assert_string_equal(text, rows[0].text);
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        print_message("  %s\n", rows[i].name);
        memset(&read, 0, sizeof(read));
        assert_int_equal(kni_digest_from_base64(rows[i].text, KNI_SHA256, &read), rows[i].accepted);
        assert_int_equal(kni_digest_equal(&read, &abc), rows[i].accepted);
    }
    assert_false(kni_digest_from_base64(rows[0].text, KNI_SHA512, &read));

    kni_digest long_one;
    assert_int_equal(kni_digest_bytes(KNI_SHA512, "abc", 3, &long_one, NULL), KN_OK);
    kni_digest_base64(&long_one, text);
    assert_true(kni_digest_from_base64(text, KNI_SHA512, &read));
    assert_true(kni_digest_equal(&read, &long_one));
    assert_false(kni_digest_from_base64(text, KNI_SHA256, &read));
}

static void test_unreadable(void **state)
{
    char *dir = *state;
    int ends[2];
    kni_digest digest;
    kn_error err = KN_ERROR_INIT;
    const int fd = open(dir, O_RDONLY | O_CLOEXEC);
    assert_int_equal(kni_digest_fd(KNI_SHA256, fd, "the directory", &digest, &err), KN_ERR_IO);
    assert_string_equal(kn_error_text(&err), "the directory: cannot read: Is a directory");
    kn_error_dispose(&err);
    close(fd);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(kni_digest_fd(KNI_SHA256, ends[0], "the pipe", &digest, &err), KN_ERR_IO);
    assert_string_equal(kn_error_text(&err), "the pipe: cannot read: Illegal seek");
    kn_error_dispose(&err);
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(kni_digest_fd(KNI_SHA256, ends[0], "closed", &digest, NULL), KN_ERR_IO);
}

static kn_status hash_file(void *user, kn_error *err)
{
    kni_digest digest;
    return kni_digest_fd(KNI_SHA256, *(int *)user, "file", &digest, err);
}

static void test_memory(void **state)
{
    char *dir = *state;
    temp_dir_text(dir, "file", "abc");
    int fd = open(temp_dir_path(dir, "file"), O_RDONLY | O_CLOEXEC);
    assert_int_equal(fail_alloc_each(FAIL_OURS, hash_file, &fd), 1);
    close(fd);
}

static int set_up(void **state)
{
    *state = temp_dir_new();
    return 0;
}

static int tear_down(void **state)
{
    temp_dir_remove(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),    cmocka_unit_test(test_equal),
        cmocka_unit_test(test_algorithms), cmocka_unit_test(test_base64),
        cmocka_unit_test(test_unreadable), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
