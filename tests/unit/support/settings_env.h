// Settings from an environment of a test's own, and nothing else of this one.
#ifndef SUPPORT_SETTINGS_ENV_H
#define SUPPORT_SETTINGS_ENV_H

#include "base/str.h"
#include "hub/settings.h"
#include "support/cmocka.h"

#define ENV_MAX 6

static inline void set_env(const char *const env[]) // "NAME=value", …, NULL
{
    clearenv();
    for (size_t i = 0; i < ENV_MAX && env[i]; ++i) {
        char name[64];
        const size_t size = strcspn(env[i], "=");
        assert_true(size < sizeof(name));
        memcpy(name, env[i], size);
        name[size] = '\0';
        assert_int_equal(setenv(name, env[i] + size + 1, 1), 0);
    }
}

static inline void open_settings(kni_settings *out, const kn_hub_options *opts)
{
    kn_error err = KN_ERROR_INIT;
    if (kni_settings_init(out, opts, &err) != KN_OK)
        fail_msg("said: %s", kn_error_text(&err));
}

static inline void is_text(const char *found, const char *expected) // either may be NULL
{
    if (!kni_string_equal(found, expected))
        fail_msg("'%s', expected '%s'", found ? found : "NULL", expected ? expected : "NULL");
}

#endif
