#include "mapping/entry.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/str.h"
#include "mapping/mode.h"
#include "mapping/reference.h"
#include "mapping/trie.h"

#define TYPE_TEXT(name, value, text) text ", "
#define TYPES KN_DEVICE_TYPE_LIST(TYPE_TEXT) "and metal, which is mps"

// What every text of an entry must be. NULL passes.
static kn_status check_text(const char *key, const char *text, size_t max, kn_error *err)
{
    if (!text)
        return KN_OK;
    const size_t size = strlen(text);
    if (size == 0)
        return kn_error_set(err, KN_ERR_INVALID, "%s: is empty", key);
    if (size > max)
        return kn_error_set(err, KN_ERR_INVALID,
                            "%s: \"%.32s…\" has %zu bytes: accepted are at most %zu", key, text,
                            size, max);
    if (!kni_text_is_clean(text, size))
        return kn_error_set(err, KN_ERR_INVALID,
                            "%s: \"%.64s\" has a control character, an invisible mark or bytes "
                            "that are not UTF-8",
                            key, text);
    return KN_OK;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// One part of a repository's id by the rules of the hub.
static bool is_repo_name(kni_span name)
{
    if (name.size == 0 || name.size > KNI_REPO_NAME_MAX || !is_word(name.data[0]) ||
        !is_word(name.data[name.size - 1]))
        return false;
    for (size_t i = 0; i < name.size; ++i) {
        const char c = name.data[i];
        if (!is_word(c) && c != '-' && c != '.')
            return false;
        if ((c == '-' || c == '.') && name.data[i + 1] == c) // the last is a word character
            return false;
    }
    return true;
}

static kn_status check_repo_id(const char *text, kn_error *err)
{
    kni_span name = kni_span_of(text), owner;
    if (!kni_span_cut(&name, '/', &owner) || !name.data || !is_repo_name(owner) ||
        !is_repo_name(name) || kni_span_ends(name, ".git"))
        return kn_error_set(err, KN_ERR_INVALID,
                            "repo_id: found \"%.200s\": accepted is owner/name, each of at most %d "
                            "letters, digits, '_', and '-' or '.' inside, no \"--\", \"..\" or "
                            "\".git\" at the end",
                            text, KNI_REPO_NAME_MAX);
    return KN_OK;
}

// Digits alone are a version branch, anything else a specifier.
static kn_status check_version(const char *text, kni_reference_parts *parts, kn_error *err)
{
    const kn_status st = check_text("version", text, KNI_VERSION_MAX, err);
    if (st != KN_OK || text[strspn(text, "0123456789")] != '\0') {
        parts->version = text;
        return st;
    }
    if ((text[0] == '0' && text[1] != '\0') ||
        !kni_span_to_int(kni_span_of(text), INT64_MAX, &parts->version_branch))
        return kn_error_set(err, KN_ERR_INVALID,
                            "version: found \"%.64s\": digits alone name a version branch, 0 to "
                            "%" PRId64 " without leading zeros",
                            text, INT64_MAX);
    return KN_OK;
}

static kn_status check_absolute(const char *key, const char *path, kn_error *err)
{
    const kn_status st = check_text(key, path, KNI_PATH_MAX, err);
    if (st == KN_OK && path && !kni_path_is_absolute(path))
        return kn_error_set(err, KN_ERR_INVALID,
                            "%s: found \"%.200s\": accepted is an absolute path, since there is "
                            "no file it could be relative to",
                            key, path);
    return st;
}

static kn_status check_range(kn_range given, kn_device_type device, kn_range *out, kn_error *err)
{
    *out = (kn_range){.min = 0, .max = KN_CAPABILITY_MAX};
    if (!given.given)
        return KN_OK;
    if (device != KN_DEVICE_CPU && device != KN_DEVICE_CUDA && device != KN_DEVICE_ROCM)
        return kn_error_set(err, KN_ERR_INVALID,
                            "capability: device %s has none: accepted with cpu, cuda and rocm",
                            kn_device_type_name(device));
    if (given.min < 0 || given.max < 0)
        return kn_error_set(err, KN_ERR_INVALID,
                            "capability: found %" PRId64 " to %" PRId64
                            ": accepted are numbers from 0, major*10+minor",
                            given.min, given.max);
    if (given.min > given.max)
        return kn_error_set(err, KN_ERR_INVALID,
                            "capability: %" PRId64 " to %" PRId64
                            " is empty: the least must be <= the greatest",
                            given.min, given.max);
    out->min = given.min;
    out->max = given.max;
    out->given = given.min > 0 || given.max < KN_CAPABILITY_MAX;
    return KN_OK;
}

static kn_status check_layer(const kn_entry *e, const char **key, kn_error *err)
{
    *key = "layer";
    if (!e->layer)
        return kn_error_set(err, KN_ERR_INVALID, "layer: is missing: the name of a layer");
    kn_status st = check_text("layer", e->layer, KNI_LAYER_NAME_MAX, err);
    if (st == KN_OK) {
        *key = "layer_name";
        st = check_text("layer_name", e->layer_name, KNI_LAYER_NAME_MAX, err);
    }
    return st;
}

static kn_status check_device(const kn_entry *e, kni_registration *out, const char **key,
                              kn_error *err)
{
    *key = "device";
    if (!e->device)
        return kn_error_set(err, KN_ERR_INVALID, "device: is missing: accepted are " TYPES);
    if (kn_device_type_parse(e->device, &out->device, NULL) != KN_OK)
        return kn_error_set(err, KN_ERR_INVALID,
                            "device: Unknown device type: %.64s: accepted are " TYPES, e->device);
    *key = "capability";
    kn_status st = check_range(e->capability, out->device, &out->range, err);
    if (st == KN_OK) {
        *key = "mode";
        out->mode = e->mode ? e->mode : KN_MODE_FALLBACK;
        st = kni_mode_check_registration(out->mode, err);
    }
    return st;
}

// The keys of one kind of reference beside those of another.
static kn_status check_combination(const kn_entry *e, const char **key, kn_error *err)
{
    const struct {
        const char *key, *value;
    } pins[] = {{"revision", e->revision}, {"version", e->version}, {"lock", e->lock}};
    const char *first = NULL;
    // What it is given with, where that takes no pins.
    const char *unpinned = e->path ? "path" : e->repo_id ? NULL : "an object alone";
    *key = "path";
    if (e->repo_id ? e->path != NULL : !e->path && !e->object.data)
        return kn_error_set(err, KN_ERR_INVALID, "repo_id, path: %s: exactly one is accepted",
                            e->path ? "both are given" : "neither is given");
    *key = "object";
    if (e->object.data && (!e->object.retain || !e->object.release))
        return kn_error_set(err, KN_ERR_INVALID,
                            "object: %s is missing: required with data are retain and release",
                            e->object.retain ? "release" : "retain");
    *key = "label";
    if (!e->repo_id && !e->path && !e->label)
        return kn_error_set(err, KN_ERR_INVALID,
                            "label: is missing: what an object without repo_id and path is called "
                            "in messages");
    for (size_t i = 0; i < KN_LEN(pins); ++i) {
        if (!pins[i].value)
            continue;
        *key = pins[i].key;
        if (unpinned)
            return kn_error_set(err, KN_ERR_INVALID,
                                "%s: is given with %s: accepted with repo_id alone", *key,
                                unpinned);
        if (first)
            return kn_error_set(err, KN_ERR_INVALID,
                                "%s: is given with %s: accepted is at most one of revision, "
                                "version and lock",
                                *key, first);
        first = *key;
    }
    *key = "sums";
    if (e->sums && (unpinned || e->lock))
        return kn_error_set(err, KN_ERR_INVALID,
                            "sums: is given with %s: accepted with repo_id and without lock, which "
                            "has its own",
                            unpinned ? unpinned : "lock");
    *key = "user_agent";
    if (e->user_agent && unpinned)
        return kn_error_set(err, KN_ERR_INVALID,
                            "user_agent: is given with %s: accepted with repo_id alone", unpinned);
    *key = "trust_remote_code";
    if (e->trust_remote_code > 1)
        return kn_error_set(err, KN_ERR_INVALID,
                            "trust_remote_code: found %" PRIu32 ": accepted are 0 and 1",
                            e->trust_remote_code);
    return KN_OK;
}

static kn_status check_reference(const kn_entry *e, kni_reference_parts *parts, const char **key,
                                 kn_error *err)
{
    kn_status st = check_combination(e, key, err);
    if (st == KN_OK && e->repo_id) {
        *key = "repo_id";
        st = check_repo_id(e->repo_id, err);
    }
    if (st == KN_OK) {
        *key = "path";
        st = check_absolute("path", e->path, err);
    }
    if (st == KN_OK) {
        *key = "revision";
        st = check_text("revision", e->revision, KNI_REVISION_MAX, err);
    }
    if (st == KN_OK && e->version) {
        *key = "version";
        st = check_version(e->version, parts, err);
    }
    if (st == KN_OK) {
        *key = "lock";
        st = check_absolute("lock", e->lock, err);
    }
    if (st == KN_OK) {
        *key = "sums";
        st = check_absolute("sums", e->sums, err);
    }
    if (st == KN_OK) {
        *key = "label";
        st = check_text("label", e->label, KNI_PATH_MAX, err);
    }
    if (st == KN_OK) { // what a hub takes is checked when it is asked
        *key = "user_agent";
        st = check_text("user_agent", e->user_agent, KNI_USER_AGENT_MAX, err);
    }
    return st;
}

kn_status kni_entry_check(const kn_entry *e, const char *path_written, kni_registration *out,
                          const char **key, kn_error *err)
{
    kni_reference_parts parts = {
        .kind = e->path      ? KN_REFERENCE_PATH
                : e->lock    ? KN_REFERENCE_LOCKED
                : e->repo_id ? KN_REFERENCE_HUB
                             : KN_REFERENCE_HOST,
        .trust_remote_code = e->trust_remote_code != 0,
        .repo_id = e->repo_id,
        .path = e->path,
        .path_written = path_written ? path_written : e->path,
        .revision = e->revision,
        .version_branch = -1,
        .layer_name = e->layer_name ? e->layer_name : e->layer,
        .lock = e->lock,
        .sums = e->sums,
        .object = e->object,
        .label = e->repo_id || e->path ? NULL : e->label,
        .user_agent = e->user_agent,
    };
    *out = (kni_registration){.layer = e->layer};
    kn_status st = check_layer(e, key, err);
    if (st == KN_OK)
        st = check_device(e, out, key, err);
    if (st == KN_OK)
        st = check_reference(e, &parts, key, err);
    if (st != KN_OK)
        return st;
    out->layer_size = strlen(e->layer);
    out->hash = kni_trie_hash(e->layer, out->layer_size);
    out->reference = kni_reference_new(&parts);
    return out->reference ? KN_OK : kni_no_memory(err);
}
