#include "base/alloc.h"
#include "hub/lock.h"
#include "support/cmocka.h"
#include "support/fail_alloc.h"
#include "support/temp_dir.h"

#define A "000000000000000000000000000000000000000a"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define ONES "1111111111111111111111111111111111111111111111111111111111111111"
#define TWOS "2222222222222222222222222222222222222222222222222222222222222222"

// What kernels 0.11.2 writes for these locks: json.dump(…, indent=2).
static const char hashed[] = "[\n"
                             "  {\n"
                             "    \"repo_id\": \"o/b\",\n"
                             "    \"sha\": \"" A "\",\n"
                             "    \"variants\": {\n"
                             "      \"torch28-cxx11-cu126-x86_64-linux\": {\n"
                             "        \"hash\": \"sha256-" ONES "\",\n"
                             "        \"hash_type\": \"git_lfs_concat\"\n"
                             "      },\n"
                             "      \"torch-\\u00e4\\ud83d\\ude00\": {\n"
                             "        \"hash\": \"sha256-" TWOS "\",\n"
                             "        \"hash_type\": \"git_lfs_concat\"\n"
                             "      }\n"
                             "    }\n"
                             "  },\n"
                             "  {\n"
                             "    \"repo_id\": \"o/a\",\n"
                             "    \"sha\": \"" B "\",\n"
                             "    \"variants\": {}\n"
                             "  }\n"
                             "]";

#define COMMITTED(id, wish)                                                                        \
    "  {\n    \"dependency\": {\n      \"repo-id\": \"" id "\",\n      " wish                      \
    "\n    },\n    \"lock\": {\n      \"commit\": \"" A "\"\n    }\n  }"
// What kernels 0.17.2 writes: KernelLocks.to_json().
// clang-format off
static const char committed[] = "[\n"
    COMMITTED("O/b", "\"version\": 2") ",\n"
    COMMITTED("o/b", "\"version\": 2") ",\n"
    COMMITTED("o/b", "\"version\": 10") ",\n"
    COMMITTED("o/b", "\"revision\": \"B\\\"\"") ",\n"
    COMMITTED("o/b", "\"revision\": \"a" "\xC3\xA4" "\"") "\n]";
// clang-format on

static kn_status parse(const char *text, kni_lock *out, kn_error *err)
{
    return kni_lock_parse(text, strlen(text), "k.lock", out, err);
}

static void check_text(const kni_lock *lock, const char *expected)
{
    char *text = kni_lock_text(lock);
    assert_non_null(text);
    assert_string_equal(text, expected);
    kni_free(text);
}

static void test_hashed(void **state)
{
    (void)state;
    kni_lock lock;
    assert_int_equal(parse(hashed, &lock, NULL), KN_OK);
    assert_true(lock.is_hashed);
    assert_int_equal(lock.count, 2);
    const kni_lock_entry *b = kni_lock_find(&lock, "o/b");
    assert_ptr_equal(b, &lock.entries[0]);
    assert_string_equal(b->commit, A);
    assert_int_equal(b->n_hashes, 2);
    assert_int_equal(b->version, -1);
    assert_null(b->revision);
    const kni_lock_hash *hash = kni_lock_find_hash(b, "torch-\xC3\xA4\xF0\x9F\x98\x80");
    assert_ptr_equal(hash, &b->hashes[1]);
    assert_string_equal(hash->sha256, TWOS);
    assert_null(kni_lock_find_hash(b, "torch"));
    assert_null(kni_lock_find(&lock, "o"));
    assert_int_equal(kni_lock_find(&lock, "o/a")->n_hashes, 0);
    check_text(&lock, hashed);
    kni_lock_dispose(&lock);
    assert_int_equal(lock.count, 0);
}

static void test_committed(void **state)
{
    (void)state;
    static const char shuffled[] =
        "[{\"lock\":{\"commit\":\"" A "\"},\"dependency\":{\"revision\":\"a\xC3\xA4\",\"repo-id\":"
        "\"o/b\"}},"
        "{\"dependency\":{\"repo-id\":\"o/b\",\"version\":10},\"lock\":{\"commit\":\"" A "\"}},"
        "{\"dependency\":{\"repo-id\":\"O/b\",\"version\":2,\"revision\":null},\"lock\":{"
        "\"commit\":\"" A "\"}},"
        "{\"dependency\":{\"repo-id\":\"o/b\",\"revision\":\"B\\\"\"},\"lock\":{\"commit\":\"" A
        "\"}},"
        "{\"dependency\":{\"repo-id\":\"o/b\",\"version\":2},\"lock\":{\"commit\":\"" A "\"}}]";
    kni_lock lock;
    assert_int_equal(parse(shuffled, &lock, NULL), KN_OK);
    assert_false(lock.is_hashed);
    assert_int_equal(lock.count, 5);
    const kni_lock_entry *b = kni_lock_find(&lock, "o/b");
    assert_ptr_equal(b, &lock.entries[0]);
    assert_string_equal(b->revision, "a\xC3\xA4");
    assert_int_equal(b->version, -1);
    assert_int_equal(kni_lock_find(&lock, "O/b")->version, 2);
    check_text(&lock, committed);
    kni_lock_dispose(&lock);
    assert_int_equal(parse(committed, &lock, NULL), KN_OK);
    assert_int_equal(kni_lock_find(&lock, "o/b")->version, 2);
    check_text(&lock, committed);
    kni_lock_dispose(&lock);
}

static void test_empty(void **state)
{
    (void)state;
    kni_lock lock;
    assert_int_equal(parse(" [ ] ", &lock, NULL), KN_OK);
    assert_int_equal(lock.count, 0);
    check_text(&lock, "[]");
    lock.is_hashed = false;
    check_text(&lock, "[]");
    kni_lock_dispose(&lock);
}

static void test_default_hash_type(void **state)
{
    (void)state;
    kni_lock lock;
    assert_int_equal(parse("[{\"repo_id\":\"o/n\",\"sha\":\"" A
                           "\",\"variants\":{\"torch\":{\"hash\":\"sha256-" ONES "\"}}}]",
                           &lock, NULL),
                     KN_OK);
    char *text = kni_lock_text(&lock);
    assert_non_null(strstr(text, "\"hash_type\": \"git_lfs_concat\""));
    kni_free(text);
    kni_lock_dispose(&lock);
}

#define HASHED(variants) "[{\"repo_id\":\"o/n\",\"sha\":\"" A "\",\"variants\":{" variants "}}]"
#define WISH(wish) "[{\"dependency\":{" wish "},\"lock\":{\"commit\":\"" A "\"}}]"
#define ONE_HASHED "{\"repo_id\":\"o/n\",\"sha\":\"" A "\",\"variants\":{}}"
#define ONE_WISH                                                                                   \
    "{\"dependency\":{\"repo-id\":\"o/n\",\"version\":1},\"lock\":{\"commit\":\"" A "\"}}"

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *error; // error: the beginning of the message
    } rows[] = {
        {"no JSON", "[", "k.lock:1: ends too early"},
        {"an object", "{}", "k.lock: expected an array of locked kernels, found an object"},
        {"no object in it", "[1]", "k.lock: [0]: expected an object, found an integer"},
        {"null in it", "[" ONE_HASHED ", null]", "k.lock: [1]: expected an object, found null"},
        {"neither form", "[{}]", "k.lock: [0].repo_id: is missing, expected a string"},
        {"unknown key", "[{\"repo_id\":\"o/n\",\"x\":1}]",
         "k.lock: [0].x: is not known: accepted are repo_id, sha, variants"},
        {"repository", "[{\"repo_id\":\"../n\",\"sha\":\"" A "\",\"variants\":{}}]",
         "k.lock: [0].repo_id: "},
        {"repository is a number", "[{\"repo_id\":1}]",
         "k.lock: [0].repo_id: expected a string, found an integer"},
        {"no commit", "[{\"repo_id\":\"o/n\",\"sha\":\"main\",\"variants\":{}}]",
         "k.lock: [0].sha: found \"main\": expected a commit, 40"},
        {"capitals", "[{\"repo_id\":\"o/n\",\"sha\":\"000000000000000000000000000000000000000A\"}]",
         "k.lock: [0].sha: found"},
        {"no variants", "[{\"repo_id\":\"o/n\",\"sha\":\"" A "\"}]",
         "k.lock: [0].variants: is missing, expected an object"},
        {"variant is a string", HASHED("\"v\":\"\""),
         "k.lock: [0].variants.v: expected an object, found a string"},
        {"variant above", HASHED("\"..\":{}"),
         "k.lock: [0].variants...: expected the name of a build variant"},
        {"variant with a slash", HASHED("\"a/b\":{}"), "k.lock: [0].variants.a/b: expected the"},
        {"variant with a mark", HASHED("\"a\xE2\x80\xAE\":{}"),
         "k.lock: [0].variants.a\uFFFD: expected the"},
        {"no hash", HASHED("\"v\":{}"), "k.lock: [0].variants.v.hash: is missing"},
        {"other key", HASHED("\"v\":{\"hash\":\"\",\"algorithm\":1}"),
         "k.lock: [0].variants.v.algorithm: is not known: accepted are hash, hash_type"},
        {"other type", HASHED("\"v\":{\"hash\":\"sha256-" ONES "\",\"hash_type\":\"md5\"}"),
         "k.lock: [0].variants.v.hash_type: found \"md5\": expected \"git_lfs_concat\""},
        {"hash without prefix", HASHED("\"v\":{\"hash\":\"" ONES "\"}"),
         "k.lock: [0].variants.v.hash: found"},
        {"short hash", HASHED("\"v\":{\"hash\":\"sha256-" A "\"}"),
         "k.lock: [0].variants.v.hash: found"},
        {"twice", "[" ONE_HASHED "," ONE_HASHED "]",
         "k.lock: [1]: o/n is locked already by [0]: expected it once"},
        {"both forms", "[" ONE_HASHED "," ONE_WISH "]",
         "k.lock: [1]: is an entry with a dependency, but [0] is not: expected one form"},
        {"both forms, the other way", "[" ONE_WISH "," ONE_HASHED "]",
         "k.lock: [1]: is an entry with hashes, but [0] is not: expected one form"},
        {"same wish twice", "[" ONE_WISH "," ONE_WISH "]", "k.lock: [1]: o/n is locked already"},
        {"no lock", "[{\"dependency\":{}}]", "k.lock: [0].lock: is missing, expected an object"},
        {"key beside dependency", "[{\"dependency\":{},\"x\":1}]",
         "k.lock: [0].x: is not known: accepted are dependency, lock"},
        {"no repository", WISH("\"version\":1"), "k.lock: [0].dependency.repo-id: is missing"},
        {"key in dependency", WISH("\"repo_id\":\"o/n\""),
         "k.lock: [0].dependency.repo_id: is not known: accepted are repo-id, version, revision"},
        {"neither", WISH("\"repo-id\":\"o/n\""),
         "k.lock: [0].dependency: has neither version nor revision: expected exactly one"},
        {"both", WISH("\"repo-id\":\"o/n\",\"version\":1,\"revision\":\"main\""),
         "k.lock: [0].dependency: has version and revision: expected exactly one"},
        {"negative", WISH("\"repo-id\":\"o/n\",\"version\":-1"),
         "k.lock: [0].dependency.version: found -1: expected a number from 0"},
        {"version is a string", WISH("\"repo-id\":\"o/n\",\"version\":\"1\""),
         "k.lock: [0].dependency.version: expected an integer, found a string"},
        {"revision", WISH("\"repo-id\":\"o/n\",\"revision\":\"a..b\""),
         "k.lock: [0].dependency.revision: found \"a..b\": expected a branch, tag or commit"},
        {"key in lock",
         "[{\"dependency\":{\"repo-id\":\"o/n\",\"version\":1},\"lock\":{\"sha\":1}}]",
         "k.lock: [0].lock.sha: is not known: accepted are commit"},
        {"64 digits",
         "[{\"dependency\":{\"repo-id\":\"o/n\",\"version\":1},\"lock\":{\"commit\":\"" ONES
         "\"}}]",
         "k.lock: [0].lock.commit: found"},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_lock lock;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].name);
        assert_int_equal(parse(rows[i].text, &lock, &err), KN_ERR_FORMAT);
        if (strncmp(kn_error_text(&err), rows[i].error, strlen(rows[i].error)) != 0)
            fail_msg("said: %s", kn_error_text(&err));
        assert_null(lock.entries);
        kn_error_dispose(&err);
    }
}

static void test_read(void **state)
{
    (void)state;
    char *dir = temp_dir_new();
    kni_lock lock;
    kn_error err = KN_ERROR_INIT;
    assert_int_equal(kni_lock_read(temp_dir_path(dir, "kernels.lock"), &lock, &err),
                     KN_ERR_NOT_FOUND);
    assert_non_null(strstr(kn_error_text(&err), "kernels.lock"));
    kn_error_dispose(&err);
    temp_dir_text(dir, "kernels.lock", "[1]");
    assert_int_equal(kni_lock_read(temp_dir_path(dir, "kernels.lock"), &lock, &err), KN_ERR_FORMAT);
    assert_non_null(strstr(kn_error_text(&err), "/kernels.lock: [0]: expected an object"));
    kn_error_dispose(&err);
    temp_dir_text(dir, "kernels.lock", hashed);
    assert_int_equal(kni_lock_read(temp_dir_path(dir, "kernels.lock"), &lock, NULL), KN_OK);
    assert_int_equal(lock.count, 2);
    kni_lock_dispose(&lock);
    temp_dir_remove(dir);
}

static kn_status all(void *user, kn_error *err)
{
    kni_lock lock;
    kni_lock_entry copy = {.version = -1};
    kn_status st = parse(user, &lock, err);
    if (st == KN_OK)
        st = kni_lock_entry_copy(&lock.entries[0], &copy, err);
    if (st == KN_OK) {
        assert_string_equal(copy.repo_id, lock.entries[0].repo_id);
        assert_string_equal(copy.commit, lock.entries[0].commit);
        assert_int_equal(copy.version, lock.entries[0].version);
        assert_int_equal(copy.n_hashes, lock.entries[0].n_hashes);
        for (size_t i = 0; i < copy.n_hashes; ++i) {
            assert_string_equal(copy.hashes[i].variant, lock.entries[0].hashes[i].variant);
            assert_string_equal(copy.hashes[i].sha256, lock.entries[0].hashes[i].sha256);
        }
        char *text = kni_lock_text(&lock);
        if (!text)
            st = kn_error_set(err, KN_ERR_NO_MEMORY, "no text");
        else
            assert_string_equal(text, user);
        kni_free(text);
    }
    kni_lock_entry_dispose(&copy);
    kni_lock_dispose(&lock);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    assert_true(fail_alloc_each(FAIL_OURS | FAIL_JANSSON, all, (void *)(uintptr_t)hashed) > 10);
    assert_true(fail_alloc_each(FAIL_OURS | FAIL_JANSSON, all, (void *)(uintptr_t)committed) > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hashed),  cmocka_unit_test(test_committed),
        cmocka_unit_test(test_empty),   cmocka_unit_test(test_default_hash_type),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_read),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
