// What was asked once: by one thread and by many, good answers and bad ones.
#include "hub/memo.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/alloc.h"
#include "support/cmocka.h"

typedef struct maker {
    atomic_int n_made;
    kn_status status;
    unsigned wait_us;
} maker;

static kn_status make(void *user, void **answer, kn_error *err)
{
    maker *m = user;
    atomic_fetch_add(&m->n_made, 1);
    if (m->wait_us)
        usleep(m->wait_us);
    if (m->status != KN_OK)
        return kn_error_set(err, m->status, "made badly");
    *answer = kni_strdup("made");
    return *answer ? KN_OK : KN_ERR_NO_MEMORY;
}

static void test_once(void **state)
{
    (void)state;
    static const struct {
        kn_status status;
        int n_made; // by three askers
    } rows[] = {
        {KN_OK, 1},
        {KN_ERR_NOT_FOUND, 1},
        {KN_ERR_NETWORK, 1},
        {KN_ERR_CANCELLED, 3},
        {KN_ERR_NO_MEMORY, 3},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kni_memo *memo = kni_memo_new();
        maker m = {.status = rows[i].status};
        for (int n = 0; n < 3; ++n) {
            const void *answer = NULL;
            kn_error err = KN_ERROR_INIT;
            assert_int_equal(kni_memo_get(memo, "key", make, NULL, &m, kni_free, &answer, &err),
                             rows[i].status);
            if (rows[i].status == KN_OK)
                assert_string_equal(answer, "made");
            else
                assert_null(answer);
            assert_int_equal(err.status, rows[i].status);
            kn_error_dispose(&err);
        }
        assert_int_equal(m.n_made, rows[i].n_made);
        kni_memo_free(memo);
    }
}

typedef struct asker {
    kni_memo *memo;
    maker *m;
    const void *answer;
} asker;

static void *ask(void *data)
{
    asker *a = data;
    kni_memo_get(a->memo, "key", make, NULL, a->m, kni_free, &a->answer, NULL);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    kni_memo *memo = kni_memo_new();
    maker m = {.wait_us = 20000};
    asker askers[8];
    pthread_t threads[KN_LEN(askers)];
    for (size_t i = 0; i < KN_LEN(askers); ++i) {
        askers[i] = (asker){memo, &m, NULL};
        assert_int_equal(pthread_create(&threads[i], NULL, ask, &askers[i]), 0);
    }
    for (size_t i = 0; i < KN_LEN(askers); ++i)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < KN_LEN(askers); ++i) {
        assert_non_null(askers[i].answer);
        assert_ptr_equal(askers[i].answer, askers[0].answer);
    }
    assert_int_equal(m.n_made, 1);
    assert_true(kni_memo_first(memo, "said"));
    assert_false(kni_memo_first(memo, "said"));
    kni_memo_free(memo);
}

static void test_forget(void **state)
{
    (void)state;
    kni_memo *memo = kni_memo_new();
    maker good = {.status = KN_OK}, bad = {.status = KN_ERR_NETWORK};
    const void *first = NULL, *second = NULL, *none = NULL;
    assert_true(kni_memo_first(memo, "said"));
    assert_int_equal(kni_memo_get(memo, "key", make, NULL, &good, kni_free, &first, NULL), KN_OK);
    assert_int_equal(kni_memo_get(memo, "bad", make, NULL, &bad, kni_free, &none, NULL),
                     KN_ERR_NETWORK);
    kni_memo_forget(memo);
    assert_string_equal(first, "made"); // borrowed still
    assert_int_equal(kni_memo_get(memo, "key", make, NULL, &good, kni_free, &second, NULL), KN_OK);
    assert_ptr_not_equal(first, second);
    assert_int_equal(good.n_made, 2);
    bad.status = KN_OK;
    assert_int_equal(kni_memo_get(memo, "bad", make, NULL, &bad, kni_free, &none, NULL), KN_OK);
    assert_false(kni_memo_first(memo, "said"));

    // Forgotten while it is made: who asked has it, who asks later makes it anew.
    maker slow = {.wait_us = 50000};
    asker one = {memo, &slow, NULL}, other = {memo, &slow, NULL};
    pthread_t thread, later;
    kni_memo_forget(memo);
    assert_int_equal(pthread_create(&thread, NULL, ask, &one), 0);
    while (atomic_load(&slow.n_made) == 0)
        sched_yield();
    kni_memo_forget(memo);
    kni_memo_get(memo, "key", make, NULL, &good, kni_free, &second, NULL);
    assert_int_equal(pthread_create(&later, NULL, ask, &other), 0);
    pthread_join(thread, NULL);
    pthread_join(later, NULL);
    assert_string_equal(one.answer, "made");
    assert_ptr_equal(other.answer, second);
    kni_memo_free(memo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_once), cmocka_unit_test(test_threads),
                                       cmocka_unit_test(test_forget)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
