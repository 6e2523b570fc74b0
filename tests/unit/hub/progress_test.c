#include "hub/progress.h"

#include <string.h>

#include "support/cmocka.h"

typedef struct listener {
    int count, done, cancel_at;
    kn_progress last;
} listener;

static int tell(void *user, const kn_progress *progress)
{
    listener *told = user;
    assert_int_equal(progress->struct_size, sizeof(kn_progress));
    assert_string_equal(progress->repo_id, "o/n");
    assert_string_equal(progress->variant, "v");
    ++told->count;
    told->done += (int)progress->is_done;
    told->last = *progress;
    return told->count == told->cancel_at;
}

static void test_rate(void **state)
{
    (void)state;
    listener told = {0};
    kni_meter meter;
    kni_meter_init(&meter, tell, &told, "o/n", "v");
    uint64_t now = 1000000;
    for (int i = 0; i < 200; ++i, now += 100) { // 1 MB/s, then 4
        meter.progress.bytes_done += i < 100 ? 100000 : 400000;
        assert_true(kni_meter_is_due(&meter, now));
        assert_true(kni_meter_tell(&meter, now));
        assert_false(kni_meter_is_due(&meter, now + 99));
        if (i == 99)
            assert_in_range(told.last.bytes_per_second, 990000, 1010000);
    }
    assert_in_range(told.last.bytes_per_second, 3990000, 4010000);
    meter.progress.bytes_done = 5; // a body that began again
    assert_true(kni_meter_tell(&meter, now));
    assert_int_equal(told.last.bytes_per_second, 0);
    for (int i = 0; i < 100; ++i, now += 100) // nothing arrives
        assert_true(kni_meter_tell(&meter, now));
    assert_int_equal(told.last.bytes_per_second, 0);
    kni_meter_end(&meter, now);
    assert_int_equal(told.done, 1);
    assert_int_equal(told.count, 302);
}

static void test_cancel(void **state)
{
    (void)state;
    listener told = {.cancel_at = 2};
    kni_meter meter;
    kni_meter_init(&meter, tell, &told, "o/n", "v");
    assert_true(kni_meter_tell(&meter, 100));
    assert_false(kni_meter_tell(&meter, 200));
    assert_false(kni_meter_is_due(&meter, 900)); // it is not asked again
    assert_false(kni_meter_tell(&meter, 900));
    assert_int_equal(told.count, 2);
    kni_meter_end(&meter, 1000);
    assert_int_equal(told.count, 3);
    assert_int_equal(told.last.is_done, 1);
}

static void test_silence(void **state)
{
    (void)state;
    listener told = {0};
    kni_meter meter;
    kni_meter_init(&meter, tell, &told, "o/n", "v");
    kni_meter_end(&meter, 1); // nothing was downloaded
    assert_int_equal(told.count, 0);
    meter.progress.files_total = 1; // too quick for a word before
    kni_meter_end(&meter, 2);
    assert_int_equal(told.count, 1);
    kni_meter_init(&meter, NULL, NULL, "o/n", "v");
    assert_false(kni_meter_is_due(&meter, 1000));
    assert_true(kni_meter_tell(&meter, 1000));
    kni_meter_end(&meter, 1001);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rate), cmocka_unit_test(test_cancel),
                                       cmocka_unit_test(test_silence)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
