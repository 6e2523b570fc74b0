#include "mapping/mode.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"

#define F KN_MODE_FALLBACK
#define T KN_MODE_TRAINING
#define I KN_MODE_INFERENCE
#define C KN_MODE_TORCH_COMPILE

static const struct {
    const char *text;
    kn_mode mode;
} flags[] = {
#define ROW(name, value, text) {text, value},
    KN_MODE_LIST(ROW)
#undef ROW
};

static const struct {
    kn_mode chain[KN_MODE_CHAIN_MAX]; // the first is the request
    size_t count;
} chains[] = {
    {{I, I | C, T, T | C, F}, 5},
    {{I | C, T | C, F}, 3},
    {{T, T | C, F}, 3},
    {{T | C, F}, 2},
};

const kn_mode *kni_mode_chain(kn_mode mode, size_t *count)
{
    for (size_t i = 0; i < KN_LEN(chains); ++i)
        if (chains[i].chain[0] == mode) {
            *count = chains[i].count;
            return chains[i].chain;
        }
    *count = 0;
    return NULL;
}

size_t kn_mode_chain(kn_mode mode, kn_mode out[KN_MODE_CHAIN_MAX])
{
    size_t count = 0;
    const kn_mode *chain = kni_mode_chain(mode, &count);
    if (chain)
        memcpy(out, chain, count * sizeof(*out));
    return count;
}

const char *kn_mode_text(kn_mode mode, char out[KN_MODE_TEXT_SIZE])
{
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < KN_LEN(flags); ++i) {
        if (!(mode & flags[i].mode))
            continue;
        at += (size_t)snprintf(out + at, KN_MODE_TEXT_SIZE - at, "%s%s", at ? "|" : "",
                               flags[i].text);
        mode &= ~flags[i].mode;
    }
    if (mode || at == 0) // flags without a name; no flag at all
        snprintf(out + at, KN_MODE_TEXT_SIZE - at, mode ? "%s0x%x" : "%s%x", at ? "|" : "", mode);
    return out;
}

// No two flags that exclude each other, and none without a name.
static kn_status check_flags(kn_mode mode, const char *before, kn_error *err)
{
    char text[KN_MODE_TEXT_SIZE];
    kn_mode known = 0;
    for (size_t i = 0; i < KN_LEN(flags); ++i)
        known |= flags[i].mode;
    if ((mode & I) && (mode & T))
        return kn_error_set(err, KN_ERR_INVALID,
                            "%s%s: INFERENCE and TRAINING are mutually exclusive", before,
                            kn_mode_text(mode, text));
    if ((mode & F) && (mode & ~(kn_mode)F))
        return kn_error_set(err, KN_ERR_INVALID,
                            "%s%s: FALLBACK cannot be combined with other modes", before,
                            kn_mode_text(mode, text));
    if (mode & ~known)
        return kn_error_set(err, KN_ERR_INVALID,
                            "%s%s: accepted are the flags FALLBACK, TRAINING, INFERENCE and "
                            "TORCH_COMPILE",
                            before, kn_mode_text(mode, text));
    return KN_OK;
}

kn_status kn_mode_union(kn_mode a, kn_mode b, kn_mode *out, kn_error *err)
{
    const kn_status st = check_flags(a | b, "mode ", err);
    *out = st == KN_OK ? a | b : 0;
    return st;
}

kn_status kn_mode_parse(const char *text, kn_mode *out, kn_error *err)
{
    kn_mode mode = 0;
    kni_span rest = kni_span_of(text ? text : ""), part;
    *out = 0;
    while (kni_span_cut(&rest, '|', &part)) {
        size_t i = 0;
        part = kni_span_trim(part);
        while (i < KN_LEN(flags) && !kni_span_is(part, flags[i].text))
            ++i;
        if (i == KN_LEN(flags))
            return kn_error_set(err, KN_ERR_INVALID,
                                "unknown mode \"%.64s\": accepted are FALLBACK, or INFERENCE or "
                                "TRAINING, each with or without |TORCH_COMPILE",
                                text ? text : "");
        mode |= flags[i].mode;
    }
    return kn_mode_union(mode, 0, out, err);
}

kn_status kn_mode_check_request(kn_mode mode, kn_error *err)
{
    char text[KN_MODE_TEXT_SIZE];
    if (mode == F)
        return kn_error_set(err, KN_ERR_INVALID,
                            "mode FALLBACK can only be used to register kernel mappings: ask for "
                            "INFERENCE or TRAINING");
    if (!(mode & (I | T)))
        return kn_error_set(err, KN_ERR_INVALID,
                            "mode must contain INFERENCE or TRAINING: found %s",
                            kn_mode_text(mode, text));
    return check_flags(mode, "Unsupported mode: ", err);
}

kn_status kni_mode_check_registration(kn_mode mode, kn_error *err)
{
    char text[KN_MODE_TEXT_SIZE];
    const kn_status st = check_flags(mode, "mode ", err);
    if (st == KN_OK && !(mode & (F | I | T)))
        return kn_error_set(err, KN_ERR_INVALID,
                            "mode must contain INFERENCE or TRAINING, or be FALLBACK: found %s",
                            kn_mode_text(mode, text));
    return st;
}
