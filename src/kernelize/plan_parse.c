// The text of a plan's file, read as a stranger's.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/json.h"
#include "base/str.h"
#include "kernelize/pin.h"
#include "kernelize/plan_file.h"

enum {
    TEXT_SIZE_MAX = 1 << 16,    // of one string, but for the mapping
    MAPPING_SIZE_MAX = 4 << 20, // as of a mapping file
    NAMES_MAX = 1 << 16,        // of a filter
};

const kni_json_limits kni_plan_limits = {
    .values = KNI_JSON_VALUES_MAX + 4 * (size_t)KNI_PLAN_MODULES_MAX,
    .containers = KNI_JSON_CONTAINERS_MAX + (size_t)KNI_PLAN_MODULES_MAX,
};

static const char *dot(kni_json_at at)
{
    return at.path[0] ? "." : "";
}

// A text that is as short and as clean as what kn_plan_write writes. NULL stays in *out where none is there.
static kn_status read_text(kni_json_at at, const char *key, bool required, size_t max,
                           const char **out, kn_error *err)
{
    *out = NULL;
    const kn_status st = kni_json_string(at, key, required, out, err);
    if (st != KN_OK || !*out)
        return st;
    const size_t size = strlen(*out);
    if (size > max)
        return kn_error_set(err, KN_ERR_FORMAT, "%s: %s%s%s: has %zu bytes: accepted are %zu",
                            at.name, at.path, dot(at), key, size, max);
    return KN_OK;
}

static kn_status read_clean(kni_json_at at, const char *key, bool required, const char **out,
                            kn_error *err)
{
    const kn_status st = read_text(at, key, required, TEXT_SIZE_MAX, out, err);
    if (st == KN_OK && *out && !kni_text_is_clean(*out, strlen(*out)))
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: %s%s%s: has a control character, an invisible mark or bytes that "
                            "are not UTF-8",
                            at.name, at.path, dot(at), key);
    return st;
}

static kn_status not_accepted(kni_json_at at, const char *key, const char *came,
                              const char *accepted, kn_error *err)
{
    return kn_error_set(err, KN_ERR_FORMAT, "%s: %s%s%s: found \"%.64s\": accepted are %s", at.name,
                        at.path, dot(at), key, came, accepted);
}

// NULL: 0. request: what kernelize may be asked for; else what may be registered.
static kn_status read_mode(kni_json_at at, const char *key, bool request, kn_mode *out,
                           kn_error *err)
{
    const char *text = NULL;
    kn_error why = KN_ERROR_INIT;
    *out = 0;
    kn_status st = read_clean(at, key, request, &text, err);
    if (st != KN_OK || !text)
        return st;
    st = kn_mode_parse(text, out, &why);
    if (st == KN_OK && request)
        st = kn_mode_check_request(*out, &why);
    if (st == KN_OK)
        return KN_OK;
    if (st != KN_ERR_NO_MEMORY)
        kn_error_set(err, KN_ERR_FORMAT, "%s: %s%s%s: %s", at.name, at.path, dot(at), key,
                     kn_error_text(&why));
    kn_error_dispose(&why);
    return st == KN_ERR_NO_MEMORY ? kni_no_memory(err) : KN_ERR_FORMAT;
}

static uint32_t rule_of(const char *text)
{
#define RULE(name, value, text_)                                                                   \
    if (strcmp(text, text_) == 0)                                                                  \
        return name;
    KN_FALLBACK_LIST(RULE)
#undef RULE
    return 0;
}

#define RULES "NO_LAYER, NO_DEVICE, NO_COMPATIBLE_PROPERTIES, NO_COMPATIBLE_MODE and CANNOT_LOAD"

// --- one decision ---

// One that kernelize leaves behind it.
static kn_status read_outcome(kni_json_at at, kn_outcome *out, kn_error *err)
{
    static const kn_outcome accepted[] = {KN_OUTCOME_KERNEL, KN_OUTCOME_FALLBACK, KN_OUTCOME_LEFT};
    const char *text = NULL;
    const kn_status st = read_clean(at, "outcome", true, &text, err);
    for (size_t i = 0; st == KN_OK && i < KN_LEN(accepted); ++i)
        if (strcmp(text, kn_outcome_text(accepted[i])) == 0) {
            *out = accepted[i];
            return KN_OK;
        }
    return st == KN_OK ? not_accepted(at, "outcome", text, "kernel, fallback and left alone", err)
                       : st;
}

static kn_status read_level(kni_json_at at, kn_level *out, kn_error *err)
{
    static const kn_level levels[] = {KN_LEVEL_NONE, KN_LEVEL_TRANSPORT, KN_LEVEL_PINNED};
    const char *text = NULL;
    const kn_status st = read_clean(at, "level", false, &text, err);
    for (size_t i = 0; st == KN_OK && text && i < KN_LEN(levels); ++i)
        if (strcmp(text, kn_level_text(levels[i])) == 0) {
            *out = levels[i];
            return KN_OK;
        }
    return st == KN_OK && text ? not_accepted(at, "level", text, "none, transport and pinned", err)
                               : st;
}

static kn_status read_rule(kni_json_at at, uint32_t *out, kn_error *err)
{
    const char *text = NULL;
    const kn_status st = read_clean(at, "rule", false, &text, err);
    if (st != KN_OK || !text)
        return st;
    *out = rule_of(text);
    return *out ? KN_OK : not_accepted(at, "rule", text, RULES, err);
}

static kn_status read_number(kni_json_at at, const char *key, int64_t max, int64_t *out,
                             kn_error *err)
{
    int64_t number = *out;
    const kn_status st = kni_json_int(at, key, false, &number, err);
    if (st != KN_OK || number == *out)
        return st;
    if (number < 0 || number > max)
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: %s%s%s: found %" PRId64 ": accepted are 0 to %" PRId64, at.name,
                            at.path, dot(at), key, number, max);
    *out = number;
    return KN_OK;
}

static kn_status read_device(kni_json_at at, kni_decision *d, kn_error *err)
{
    const char *text = NULL;
    int64_t index = 0;
    kn_status st = read_clean(at, "device", d->outcome == KN_OUTCOME_KERNEL, &text, err);
    if (st == KN_OK && text && kn_device_type_parse(text, &d->device, NULL) != KN_OK)
        return not_accepted(at, "device", text, "null and the types of devices", err);
    if (st == KN_OK && text)
        st = read_number(at, "device_index", INT32_MAX, &index, err);
    d->device_index = (int32_t)index;
    if (st == KN_OK)
        st = read_number(at, "capability", KN_CAPABILITY_MAX, &d->capability, err);
    return st;
}

static kn_status read_texts(kni_json_at at, kni_decision *d, kn_error *err)
{
    const struct {
        const char *key;
        char **field;
        bool of_kernel; // a kernel has it
    } texts[] = {
        {"class", &d->class_name, false},     {"layer", &d->layer, true},
        {"repository", &d->repository, true}, {"revision", &d->revision, false},
        {"variant", &d->variant, false},      {"layer_name", &d->layer_name, true},
        {"reason", &d->reason, false},        {"admits", &d->admits, false},
    };
    for (size_t i = 0; i < KN_LEN(texts); ++i) {
        const char *text = NULL;
        const bool required = texts[i].of_kernel && d->outcome == KN_OUTCOME_KERNEL;
        const kn_status st = read_clean(at, texts[i].key, required, &text, err);
        if (st != KN_OK)
            return st;
        if (required && !*text)
            return not_accepted(at, texts[i].key, text, "names, for a kernel", err);
        if (text && !kni_set(texts[i].field, text))
            return kni_no_memory(err);
    }
    return KN_OK;
}

static kn_status read_decision(kn_plan *plan, kni_json_at at, kn_error *err)
{
    kni_decision *d = kni_plan_add_decision(plan);
    if (!d)
        return kni_no_memory(err);
    kn_status st = read_outcome(at, &d->outcome, err);
    if (st == KN_OK)
        st = read_device(at, d, err);
    if (st == KN_OK)
        st = read_mode(at, "mode_used", false, &d->mode_used, err);
    if (st == KN_OK)
        st = read_texts(at, d, err);
    if (st == KN_OK)
        st = read_level(at, &d->level, err);
    if (st == KN_OK)
        st = read_rule(at, &d->rule, err);
    d->kernel.strict = d->outcome == KN_OUTCOME_KERNEL && plan->asked.fallback == 0;
    return st;
}

static kn_status read_decisions(kn_plan *plan, kni_json_at root, kn_error *err)
{
    const json_t *decisions = NULL;
    kn_status st = kni_json_array(root, "decisions", true, &decisions, err);
    for (size_t i = 0; st == KN_OK && i < json_array_size(decisions); ++i) {
        char path[40];
        snprintf(path, sizeof(path), "decisions[%zu]", i);
        const kni_json_at at = {root.name, path, json_array_get(decisions, i)};
        if (!json_is_object(at.object))
            st = kn_error_set(err, KN_ERR_FORMAT, "%s: %s: expected an object, found %s", root.name,
                              path, kni_json_type_text(at.object));
        else
            st = read_decision(plan, at, err);
    }
    return st;
}

// --- the modules ---

// [path, index of its decision, changed]
static kn_status read_module(kn_plan *plan, const char *name, size_t index, const json_t *module,
                             kn_error *err)
{
    const json_t *path = json_array_get(module, 0), *decision = json_array_get(module, 1),
                 *changed = json_array_get(module, 2);
    if (json_array_size(module) != 3 || !json_is_string(path) || !json_is_integer(decision) ||
        !json_is_boolean(changed))
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: modules[%zu]: expected an array of a path, the index of a "
                            "decision and a boolean",
                            name, index);
    const char *text = json_string_value(path);
    const size_t size = json_string_length(path);
    if (size > TEXT_SIZE_MAX)
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: modules[%zu][0]: has %zu bytes: accepted are %d", name, index,
                            size, TEXT_SIZE_MAX);
    if (!kni_text_is_clean(text, size))
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: modules[%zu][0]: has a control character, an invisible mark or "
                            "bytes that are not UTF-8",
                            name, index);
    const json_int_t of = json_integer_value(decision);
    if (of < 0 || (uint64_t)of >= plan->n_decisions)
        return kn_error_set(err, KN_ERR_FORMAT,
                            "%s: modules[%zu][1]: found %" JSON_INTEGER_FORMAT
                            ": there are %zu decisions",
                            name, index, of, plan->n_decisions);
    const size_t start = plan->paths.size;
    kni_buf_append(&plan->paths, text, size + 1);
    if (plan->paths.failed)
        return kni_no_memory(err);
    const kn_status st = kni_plan_add_record(plan, start, (uint32_t)of, err);
    if (st == KN_OK)
        plan->records[plan->n_records - 1].changed = json_is_true(changed);
    return st;
}

static kn_status read_modules(kn_plan *plan, kni_json_at root, kn_error *err)
{
    const json_t *modules = NULL;
    kn_status st = kni_json_array(root, "modules", true, &modules, err);
    const size_t n = json_array_size(modules);
    if (st == KN_OK && n > KNI_PLAN_MODULES_MAX)
        return kn_error_set(err, KN_ERR_FORMAT, "%s: modules: has %zu elements: accepted are %d",
                            root.name, n, KNI_PLAN_MODULES_MAX);
    for (size_t i = 0; st == KN_OK && i < n; ++i)
        st = read_module(plan, root.name, i, json_array_get(modules, i), err);
    return st;
}

// --- what was asked ---

// The texts of an array, borrowed from it, into *out (the caller's array). NULL or absent: none.
static kn_status read_names(kni_json_at at, const char *key, bool required, const char ***out,
                            size_t *n_out, kn_error *err)
{
    const json_t *array = NULL;
    *out = NULL;
    *n_out = 0;
    const kn_status st = kni_json_array(at, key, required, &array, err);
    if (st != KN_OK || !array)
        return st;
    const size_t n = json_array_size(array);
    if (n > NAMES_MAX)
        return kn_error_set(err, KN_ERR_FORMAT, "%s: %s.%s: has %zu elements: accepted are %d",
                            at.name, at.path, key, n, NAMES_MAX);
    const char **names = kni_calloc(n + 1, sizeof(*names));
    if (!names)
        return kni_no_memory(err);
    for (size_t i = 0; i < n; ++i) {
        const json_t *item = json_array_get(array, i);
        names[i] = json_string_value(item);
        const size_t size = names[i] ? strlen(names[i]) : 0;
        if (!names[i] || size > TEXT_SIZE_MAX || !kni_text_is_clean(names[i], size)) {
            kni_free(names);
            return kn_error_set(err, KN_ERR_FORMAT,
                                "%s: %s.%s[%zu]: expected a string of at most %d bytes without "
                                "control characters, found %s",
                                at.name, at.path, key, i, TEXT_SIZE_MAX,
                                json_is_string(item) ? "another" : kni_json_type_text(item));
        }
    }
    *out = names;
    *n_out = n;
    return KN_OK;
}

static kn_status read_fallback(kni_json_at at, uint32_t *out, kn_error *err)
{
    const char **names = NULL;
    size_t n = 0;
    kn_status st = read_names(at, "fallback", true, &names, &n, err);
    *out = 0;
    for (size_t i = 0; st == KN_OK && i < n; ++i) {
        const uint32_t rule = rule_of(names[i]);
        *out |= rule;
        if (!rule)
            st = not_accepted(at, "fallback", names[i], RULES, err);
    }
    kni_free(names);
    return st;
}

static kn_status read_filter(kni_json_at at, const char *key, kni_filter *out, kn_error *err)
{
    const char **names = NULL;
    size_t n = 0;
    kn_status st = read_names(at, key, false, &names, &n, err);
    if (st == KN_OK && !kni_filter_set(out, names, n))
        st = kni_no_memory(err);
    kni_free(names);
    return st;
}

static kn_status read_request(kn_plan *plan, kni_json_at root, kn_error *err)
{
    static const char *const keys[] = {"mode", "fallback", "device", "layers", "paths"};
    const json_t *object = NULL;
    const char *device = NULL;
    kni_asked *asked = &plan->asked;
    kn_status st = kni_json_object(root, "request", true, &object, err);
    const kni_json_at at = {root.name, "request", object};
    if (st == KN_OK) // what is not understood might change what is done
        st = kni_json_only(at, keys, KN_LEN(keys), err);
    if (st == KN_OK)
        st = read_mode(at, "mode", true, &plan->mode, err);
    if (st == KN_OK)
        st = read_fallback(at, &asked->fallback, err);
    if (st == KN_OK)
        st = read_clean(at, "device", false, &device, err);
    if (st == KN_OK && device && !(asked->device = kni_strdup(device)))
        st = kni_no_memory(err);
    if (st == KN_OK)
        st = read_filter(at, "layers", &asked->layers, err);
    if (st == KN_OK)
        st = read_filter(at, "paths", &asked->paths, err);
    asked->is_there = asked->is_read = true;
    return st;
}

static kn_status read_mapping(kn_plan *plan, kni_json_at root, kn_error *err)
{
    const char *text = NULL;
    kni_buf name = KNI_BUF_ANY;
    kn_status st = read_text(root, "mapping", true, MAPPING_SIZE_MAX, &text, err);
    if (st != KN_OK)
        return st;
    kni_buf_printf(&name, "%s: mapping", root.name);
    st = name.failed
             ? kni_no_memory(err)
             : kn_mapping_parse(text, strlen(text), kni_buf_text(&name), NULL, &plan->mapping, err);
    kni_buf_dispose(&name);
    return st;
}

kn_status kni_plan_parse(const char *text, size_t size, const char *name, kn_plan **out,
                         kn_error *err)
{
    json_t *json = NULL;
    kn_plan *plan = NULL;
    *out = NULL;
    kn_status st = kni_json_parse_within(text, size, name, &kni_plan_limits, &json, err);
    if (st != KN_OK)
        return st;
    const kni_json_at root = {name, "", json};
    if (!json_is_object(json))
        st = kn_error_set(err, KN_ERR_FORMAT, "%s: expected an object, found %s", name,
                          kni_json_type_text(json));
    if (st == KN_OK && !(plan = kni_plan_new(0)))
        st = kni_no_memory(err);
    if (st == KN_OK)
        st = read_request(plan, root, err);
    if (st == KN_OK)
        st = read_mapping(plan, root, err);
    if (st == KN_OK)
        st = read_decisions(plan, root, err);
    if (st == KN_OK)
        st = read_modules(plan, root, err);
    json_decref(json);
    if (st == KN_OK)
        *out = plan;
    else
        kn_plan_free(plan);
    return st;
}
