// A plan into a file and out of it: its JSON with what was asked, and the kernels as a mapping of their own.
#include "kernelize/plan_file.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/json.h"
#include "kernelize/pin.h"
#include "kernelize/plan_json.h"

// A path and thirty bytes a module, and some thousand a decision: what kni_plan_limits admits ends before this.
#define FILE_SIZE_MAX ((size_t)512 << 20)

static json_t *names_json(const kni_filter *names)
{
    if (!names->count)
        return json_null();
    json_t *array = json_array();
    for (size_t i = 0; array && i < names->count; ++i)
        if (json_array_append_new(array, json_string(names->items[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    return array;
}

static json_t *fallback_json(uint32_t fallback)
{
    json_t *array = json_array();
    bool whole = array != NULL;
#define MEMBER(name, value, text)                                                                  \
    if (fallback & (value))                                                                        \
        whole = whole && json_array_append_new(array, json_string(text)) == 0;
    KN_FALLBACK_LIST(MEMBER)
#undef MEMBER
    if (whole)
        return array;
    json_decref(array);
    return NULL;
}

static json_t *request_json(const kn_plan *plan)
{
    const kni_asked *asked = &plan->asked;
    char mode[KN_MODE_TEXT_SIZE];
    json_t *o = json_object();
    if (o && json_object_set_new(o, "mode", json_string(kn_mode_text(plan->mode, mode))) == 0 &&
        json_object_set_new(o, "fallback", fallback_json(asked->fallback)) == 0 &&
        json_object_set_new(o, "device",
                            asked->device ? json_string(asked->device) : json_null()) == 0 &&
        json_object_set_new(o, "layers", names_json(&asked->layers)) == 0 &&
        json_object_set_new(o, "paths", names_json(&asked->paths)) == 0)
        return o;
    json_decref(o);
    return NULL;
}

// What could not be read again is not written. text NULL: not made yet.
static kn_status check_size(const kn_plan *plan, const char *text, kn_error *err)
{
    const size_t size = text ? strlen(text) : 0;
    if (size <= FILE_SIZE_MAX && plan->n_records <= KNI_PLAN_MODULES_MAX &&
        (!text || kni_json_check(text, size, "plan", &kni_plan_limits, NULL) == KN_OK))
        return KN_OK;
    return kn_error_set(err, KN_ERR_UNSUPPORTED,
                        "plan: %zu modules with %zu decisions are too many for a file: at most %d "
                        "modules are accepted, and fewer with many decisions",
                        plan->n_records, plan->n_decisions, KNI_PLAN_MODULES_MAX);
}

kn_status kni_plan_file_text(kn_plan *plan, char **out, kn_error *err)
{
    kn_mapping *mapping = NULL;
    char *toml = NULL;
    json_t *root = NULL;
    *out = NULL;
    kn_status st = plan ? check_size(plan, NULL, err) : KN_OK;
    if (st == KN_OK)
        st = kn_plan_mapping(plan, &mapping, err);
    if (st == KN_OK)
        st = kn_mapping_text(mapping, &toml, err);
    if (st != KN_OK)
        goto done;
    root = kni_plan_value(plan, true);
    if (root && json_object_set_new(root, "request", request_json(plan)) == 0 &&
        json_object_set_new(root, "mapping", json_string(toml)) == 0)
        *out = kni_json_text(root);
    st = *out ? check_size(plan, *out, err) : kni_no_memory(err);
    if (st != KN_OK) {
        kn_string_free(*out);
        *out = NULL;
    }
done:
    json_decref(root);
    kn_string_free(toml);
    kn_mapping_unref(mapping);
    return st;
}

kn_status kn_plan_write(kn_plan *plan, const char *path, kn_error *err)
{
    char *text = NULL;
    if (!path)
        return kn_error_set(err, KN_ERR_INVALID, "plan: the path of a file is required");
    kn_status st = kni_plan_file_text(plan, &text, err);
    if (st == KN_OK)
        st = kni_file_write(path, text, strlen(text), err);
    kn_string_free(text);
    return st;
}

kn_status kn_plan_read(const char *path, kn_plan **out, kn_error *err)
{
    kni_buf text = KNI_BUF(FILE_SIZE_MAX);
    if (!out)
        return kn_error_set(err, KN_ERR_INVALID, "plan: room for the plan is required");
    *out = NULL;
    if (!path)
        return kn_error_set(err, KN_ERR_INVALID, "plan: the path of a file is required");
    kn_status st = kni_file_read(&text, path, err);
    if (st == KN_OK)
        st = kni_plan_parse(kni_buf_text(&text), text.size, path, out, err);
    kni_buf_dispose(&text);
    return st;
}
