#include "hub/environ.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/str.h"

#define USER_RECORD_MAX ((size_t)1 << 20) // of one line of the system's user list

const char *kni_env(const char *name)
{
    const char *value = secure_getenv(name);
    return value && *value ? value : NULL;
}

bool kni_env_is_true(const char *name)
{
    static const char *const yes[] = {"1", "on", "yes", "true"};
    const char *value = kni_env(name);
    for (size_t i = 0; value && i < KN_LEN(yes); ++i)
        if (strcasecmp(value, yes[i]) == 0)
            return true;
    return false;
}

kn_status kni_env_seconds(const char *name, uint32_t *ms, kn_error *err)
{
    const char *value = kni_env(name);
    int64_t seconds;
    if (!value)
        return KN_OK;
    if (!kni_span_to_int(kni_span_trim(kni_span_of(value)), UINT32_MAX / 1000, &seconds))
        return kn_error_set(err, KN_ERR_INVALID,
                            "%s is \"%.100s\": accepted is a whole number of seconds, at most %u",
                            name, value, UINT32_MAX / 1000);
    if (seconds)
        *ms = (uint32_t)seconds * 1000;
    return KN_OK;
}

// The home directory of a user by name; NULL: of this process's user. *out NULL: the system knows none.
static kn_status home_of(const char *user, char **out, kn_error *err)
{
    *out = NULL;
    for (size_t size = 1024; size <= USER_RECORD_MAX; size *= 4) {
        struct passwd record, *found = NULL;
        char *room = kni_alloc(size);
        if (!room)
            return kni_no_memory(err);
        const int number = user ? getpwnam_r(user, &record, room, size, &found)
                                : getpwuid_r(getuid(), &record, room, size, &found);
        const bool usable = number == 0 && found && kni_path_is_absolute(record.pw_dir);
        if (usable)
            *out = kni_strdup(record.pw_dir);
        kni_free(room);
        if (usable)
            return *out ? KN_OK : kni_no_memory(err);
        if (number != ERANGE)
            break; // an error of the list is no home directory either: most programs need none
    }
    return KN_OK;
}

kn_status kni_home_dir(char **out, kn_error *err)
{
    const char *home = kni_env("HOME");
    if (!home || !kni_path_is_absolute(home))
        return home_of(NULL, out, err);
    *out = kni_strdup(home);
    return *out ? KN_OK : kni_no_memory(err);
}

// Replaces ~ or ~user at the beginning of *text.
static kn_status expand_home(const char *name, const char *value, kni_buf *out, kn_error *err)
{
    const size_t size = strcspn(value, "/");
    char *user = NULL, *home = NULL;
    kn_status st = KN_OK;

    if (value[0] != '~') {
        kni_buf_puts(out, value);
        return KN_OK;
    }
    if (size == 1) {
        st = kni_home_dir(&home, err);
    } else {
        user = kni_strndup(value + 1, size - 1);
        st = user ? home_of(user, &home, err) : kni_no_memory(err);
    }
    if (st == KN_OK && home) {
        size_t n = strlen(home);
        while (n > 0 && home[n - 1] == '/' && value[size])
            --n; // "/" and "/x" are "/x"
        kni_buf_append(out, home, n);
        kni_buf_puts(out, value + size);
    } else if (st == KN_OK) {
        st = kn_error_set(err, KN_ERR_INVALID,
                          "%s is \"%.300s\": there is no such home directory; give an absolute "
                          "path, or set HOME",
                          name, value);
    }
    kni_free(user);
    kni_free(home);
    return st;
}

static bool is_name(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

// The name in "$NAME" or "${NAME}"; *next is behind it. Empty: none begins here.
static kni_span variable_at(const char *text, const char **next)
{
    const char *p = text + 1;
    if (*p == '{') {
        const char *end = strchr(++p, '}');
        *next = end ? end + 1 : p;
        return (kni_span){p, end ? (size_t)(end - p) : 0};
    }
    while (is_name(*p))
        ++p;
    *next = p;
    return (kni_span){text + 1, (size_t)(p - text - 1)};
}

static void expand_variables(const char *text, kni_buf *out)
{
    while (*text) {
        const char *next = text + 1, *value = NULL;
        char name[256];
        if (*text == '$') {
            const kni_span variable = variable_at(text, &next);
            if (variable.size && variable.size < sizeof(name)) {
                memcpy(name, variable.data, variable.size);
                name[variable.size] = '\0';
                value = secure_getenv(name); // set and empty counts
            }
        }
        if (value)
            kni_buf_puts(out, value);
        else
            kni_buf_append(out, text, (size_t)(next - text));
        text = next;
    }
}

static kn_status make_absolute(const char *name, kni_buf *path, char **out, kn_error *err)
{
    if (path->failed)
        return kni_no_memory(err);
    if (!kni_text_is_clean(kni_buf_text(path), path->size))
        return kn_error_set(err, KN_ERR_INVALID,
                            "%s is \"%.300s\": control characters, and bytes that are not UTF-8, "
                            "are not accepted",
                            name, kni_buf_text(path));
    if (kni_path_is_absolute(kni_buf_text(path))) {
        *out = kni_buf_take(path);
        return *out ? KN_OK : kni_no_memory(err);
    }
    char *here = getcwd(NULL, 0);
    if (!here)
        return kn_error_set(err, KN_ERR_INVALID,
                            "%s is \"%.300s\": there is no working directory that it could be "
                            "relative to; give an absolute path",
                            name, kni_buf_text(path));
    *out = kni_path_join(here, kni_buf_text(path));
    free(here); // libc's
    return *out ? KN_OK : kni_no_memory(err);
}

kn_status kni_env_path(const char *name, const char *value, unsigned expand, char **out,
                       kn_error *err)
{
    kni_buf first = KNI_BUF_ANY, second = KNI_BUF_ANY;
    kn_status st = KN_OK;

    *out = NULL;
    if (expand & KNI_EXPAND_HOME)
        st = expand_home(name, value, &first, err);
    else
        kni_buf_puts(&first, value);
    if (st != KN_OK)
        goto done;
    if (expand & KNI_EXPAND_VARIABLES) {
        expand_variables(kni_buf_text(&first), &second);
        second.failed |= first.failed;
    }
    st = make_absolute(name, expand & KNI_EXPAND_VARIABLES ? &second : &first, out, err);
done:
    kni_buf_dispose(&first);
    kni_buf_dispose(&second);
    return st;
}
