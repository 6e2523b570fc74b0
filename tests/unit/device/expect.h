// What every test of devices begins with.
#ifndef TEST_DEVICE_EXPECT_H
#define TEST_DEVICE_EXPECT_H

#include "kernels/device.h"
#include "support/cmocka.h"

// A text that contains another; shows both when it does not.
static inline void expect_contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" does not contain \"%s\"", text, part);
}

static inline kn_machine *expect_machine(const char *text)
{
    kn_machine *machine = NULL;
    kn_error err = KN_ERROR_INIT;
    if (kn_machine_parse(text, &machine, &err) != KN_OK)
        fail_msg("%s: %s", text, kn_error_text(&err));
    return machine;
}

static inline kn_device_info expect_device(kn_machine *machine, kn_device_type type, int32_t index)
{
    kn_device_info info = KN_DEVICE_INFO_INIT;
    kn_error err = KN_ERROR_INIT;
    if (kn_machine_device(machine, type, index, &info, &err) != KN_OK)
        fail_msg("%s", kn_error_text(&err));
    return info;
}

#endif
