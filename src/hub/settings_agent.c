#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "hub/environ.h"
#include "hub/settings_parts.h"

#define AGENT_MAX 4096 // servers refuse headers of more than 8 KiB

#if defined(__x86_64__)
#define PLATFORM "x86_64-linux"
#elif defined(__aarch64__)
#define PLATFORM "aarch64-linux"
#else
#define PLATFORM "linux"
#endif

static bool holds(const kni_buf *agent, kni_span segment)
{
    kni_span rest = kni_span_of(kni_buf_text(agent)), part;
    while (kni_span_cut(&rest, ';', &part)) {
        part = kni_span_trim(part);
        if (part.size == segment.size && memcmp(part.data, segment.data, part.size) == 0)
            return true;
    }
    return false;
}

// Adds the segments of a text that are not empty and not there.
static void add(kni_buf *agent, const char *text)
{
    kni_span rest = kni_span_of(text), part;
    while (kni_span_cut(&rest, ';', &part)) {
        part = kni_span_trim(part);
        if (part.size == 0 || holds(agent, part))
            continue;
        kni_buf_puts(agent, agent->size ? "; " : "");
        kni_buf_append(agent, part.data, part.size);
    }
}

// Else the text could end the header and begin another.
static kn_status check(const char *what, const char *text, kn_error *err)
{
    for (const char *p = text; p && *p; ++p)
        if (*p < ' ' || *p > '~')
            return kn_error_set(err, KN_ERR_INVALID,
                                "%s is \"%.100s\": printable ASCII characters are accepted", what,
                                text);
    return KN_OK;
}

kn_status kni_settings_agent(kni_settings *out, const kn_hub_options *opts, kn_error *err)
{
    static const char origin_name[] = "HF_HUB_USER_AGENT_ORIGIN";
    const char *origin = kni_env(origin_name);
    kni_buf agent = KNI_BUF(AGENT_MAX), segment = KNI_BUF(AGENT_MAX);
    kn_status st = check("kn_hub_options.user_agent", opts->user_agent, err);

    if (st == KN_OK)
        st = check(origin_name, origin, err);
    if (st != KN_OK)
        goto done;
    add(&agent, opts->user_agent);
    add(&agent, "libkernels/" KN_VERSION_STRING "; c/11");
    if (!kni_env_is_true("HF_HUB_DISABLE_TELEMETRY") && !kni_env_is_true("DISABLE_TELEMETRY") &&
        !kni_env_is_true("DO_NOT_TRACK"))
        add(&agent, "platform/" PLATFORM "; file_type/kernel");
    if (origin) {
        kni_buf_puts(&segment, "origin/");
        kni_buf_puts(&segment, origin);
        add(&agent, kni_buf_text(&segment));
    }
    if (agent.too_long || segment.too_long) {
        st = kn_error_set(err, KN_ERR_INVALID,
                          "kn_hub_options.user_agent and %s: too long, at most %d bytes are "
                          "accepted",
                          origin_name, AGENT_MAX);
        goto done;
    }
    agent.failed |= segment.failed;
    out->user_agent = kni_buf_take(&agent);
    if (!out->user_agent)
        st = kni_no_memory(err);
done:
    kni_buf_dispose(&agent);
    kni_buf_dispose(&segment);
    return st;
}

kn_status kni_settings_agent_with(const kni_settings *settings, const char *before, char **out,
                                  kn_error *err)
{
    static const char name[] = "kn_kernel_options.user_agent";
    kni_buf agent = KNI_BUF(AGENT_MAX);
    *out = NULL;
    kn_status st = check(name, before, err);
    if (st != KN_OK)
        return st;
    add(&agent, before);
    add(&agent, settings->user_agent);
    if (agent.too_long)
        st = kn_error_set(err, KN_ERR_INVALID,
                          "%s: too long, at most %d bytes are accepted with the hub's own", name,
                          AGENT_MAX);
    else if (!(*out = kni_buf_take(&agent)))
        st = kni_no_memory(err);
    kni_buf_dispose(&agent);
    return st;
}
