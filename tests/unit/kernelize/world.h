// A package with layers of every ability, a context that remembers its log, and small models: what every test here begins with.
//
// Each own forward gives -x, the kernel 2x, so that one call tells who answers.
#ifndef KN_TEST_KERNELIZE_WORLD_H
#define KN_TEST_KERNELIZE_WORLD_H

#include "support/package_dir.h"

#include "kernels/kernels.h"

#define SIGNATURE "(x: f32 [..., d]) -> (y: like x)"

// What the package offers: abilities, members, faults, dtypes.
typedef struct world_layer_text {
    const char *name, *signature, *forward;
    bool backward, compile;
    const char *more;
} world_layer_text;

static const world_layer_text world_layers[] = {
    {"Plain", SIGNATURE, "scale(y, x, 2.0)", false, false, ""},
    {"Backward", SIGNATURE, "scale(y, x, 2.0)", true, false, ""},
    {"Compile", SIGNATURE, "scale(y, x, 2.0)", false, true, ""},
    {"Both", SIGNATURE, "scale(y, x, 2.0)", true, true, ""},
    {"Member", SIGNATURE, "scale(y, x, self.factor)", false, false,
     ", \"members\": \"factor: float\""},
    {"Raise", SIGNATURE, "fail(y, x)", false, false, ""},
    {"Silent", SIGNATURE, "fail_silently(y, x)", false, false, ""},
    {"Object", SIGNATURE, "make_object(y, x)", false, false, ""},
    {"Copy", "(x: f64|f32|f16|bf16|i32 [...]) -> (y: like x)", "copy(y, x)", false, false,
     ", \"tolerance\": {\"f64\": 1e-9, \"f32\": 1e-3, \"f16\": 1e-2, \"bf16\": 1e-1}"},
    {"CopyTwo", "(x: f32 [...]) -> (y: like x, z: like x)", "copy_two(y, z, x)", false, false, ""},
    {"TwoInputs", "(x: f32 [...], factor: float) -> (y: like x)", "scale(y, x, factor)", false,
     false, ""},
};

// Makes a package of those layers; more: another one, as metadata.json has it, with its comma before it.
static inline void world_package(package_dir *out, const char *more)
{
    kni_buf text = KNI_BUF_ANY;
    kni_buf_puts(&text, ", \"layers\": {");
    for (size_t i = 0; i < KN_LEN(world_layers); ++i) {
        const world_layer_text *l = &world_layers[i];
        kni_buf_printf(&text, "%s\"%s\": {\"signature\": \"%s\", \"forward\": \"%s\"%s%s%s}",
                       i ? ", " : "", l->name, l->signature, l->forward,
                       l->backward ? ", \"backward\": {\"signature\": \"(dy: f32 [..., d]) -> (dx: "
                                     "like x)\", \"call\": \"scale(dx, dy, 2.0)\"}"
                                   : "",
                       l->compile ? ", \"can_torch_compile\": true" : "", l->more);
    }
    kni_buf_printf(&text, "%s}", more);
    package_make(out, "good.so", kni_buf_text(&text));
    kni_buf_dispose(&text);
}

enum {
    WORLD_LINES_MAX = 64,
    WORLD_LINE_MAX = 512,
};

typedef struct world {
    package_dir dir;
    kn_context *ctx;
    kn_error err;
    bool quiet;     // the log is not kept
    size_t n_lines; // of the log
    kn_log_level levels[WORLD_LINES_MAX];
    char lines[WORLD_LINES_MAX][WORLD_LINE_MAX];
} world;

static inline void world_log(void *user, kn_log_level level, const char *text)
{
    world *w = user;
    if (w->quiet)
        return;
    assert_true(w->n_lines < WORLD_LINES_MAX);
    w->levels[w->n_lines] = level;
    snprintf(w->lines[w->n_lines++], WORLD_LINE_MAX, "%s", text);
}

// device: as kn_context_options has it.
static inline world *world_open(const char *device)
{
    world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    unsetenv("DISABLE_KERNEL_MAPPING");
    world_package(&w->dir, "");
    if (kn_context_open(KN_CONTEXT_OPTIONS(.device = device, .log = world_log, .log_user = w,
                                           .log_level = KN_LOG_INFO),
                        &w->ctx, &w->err) != KN_OK)
        fail_msg("%s", kn_error_text(&w->err));
    return w;
}

static inline void world_close(world *w)
{
    kn_context_close(w->ctx);
    kn_error_dispose(&w->err);
    package_remove(&w->dir);
    free(w);
}

// Asserts success, or prints why not.
static inline void world_ok(world *w, kn_status st)
{
    if (st != KN_OK || w->err.status != KN_OK)
        fail_msg("%s: %s", kn_status_text(st), kn_error_text(&w->err));
}

// Asserts a failure whose text holds every one of `parts` (separated by '|'), and forgets it.
static inline void world_fails(world *w, kn_status st, kn_status expected, const char *parts)
{
    char buffer[1024];
    if (st != expected || w->err.status != expected)
        fail_msg("\"%s\" (%s) where \"%s\" is expected", kn_status_text(st), kn_error_text(&w->err),
                 kn_status_text(expected));
    snprintf(buffer, sizeof(buffer), "%s", parts);
    for (char *part = strtok(buffer, "|"); part; part = strtok(NULL, "|"))
        if (!strstr(kn_error_text(&w->err), part))
            fail_msg("'%s' is not in '%s'", part, kn_error_text(&w->err));
    assert_null(strchr(kn_error_text(&w->err), '\n'));
    kn_error_dispose(&w->err);
}

// The own forward: y = -x, for one element of f32. It takes everything else too, and does nothing.
static inline kn_status world_negate(kn_module *self, const kn_value *v, int32_t n, void *user,
                                     kn_error *err)
{
    (void)self, (void)user, (void)err;
    for (int32_t i = 0; i < n; ++i)
        if (v[i].type != KN_VALUE_TENSOR || v[i].as.tensor->dtype.code != kDLFloat ||
            !v[i].as.tensor->data)
            return KN_OK;
    if (n >= 2)
        *(float *)v[n - 1].as.tensor->data = -*(float *)v[0].as.tensor->data;
    return KN_OK;
}

// Somebody else's forward: y = 7.
static inline kn_status world_seven(kn_module *self, const kn_value *v, int32_t n, void *user,
                                    kn_error *err)
{
    (void)self, (void)user, (void)err;
    *(float *)v[n - 1].as.tensor->data = 7;
    return KN_OK;
}

static inline kn_class *world_class(world *w, const char *name, const char *layer,
                                    const char *signature)
{
    kn_class *cls = NULL;
    world_ok(w, kn_class_new(KN_CLASS_OPTIONS(.name = name, .layer = layer, .forward = world_negate,
                                              .signature = signature),
                             &cls, &w->err));
    return cls;
}

// A module of a class; parent NULL: the root. The class may be unref'd at once.
static inline kn_module *world_module(world *w, kn_module *parent, const char *name, kn_class *cls)
{
    kn_module *module = NULL;
    world_ok(w, kn_module_new(parent, name, cls, &module, &w->err));
    return module;
}

// A module of a class of its own for a layer.
static inline kn_module *world_layer(world *w, kn_module *parent, const char *name,
                                     const char *layer)
{
    kn_class *cls = world_class(w, "test.Class", layer, SIGNATURE);
    kn_module *module = world_module(w, parent, name, cls);
    kn_class_unref(cls);
    return module;
}

// Gives a module a tensor member without data on a device.
static inline void world_place(world *w, kn_module *module, DLDeviceType type, int32_t index)
{
    int64_t shape[1] = {1};
    const DLTensor t = {
        .device = {type, index}, .ndim = 1, .dtype = {kDLFloat, 32, 1}, .shape = shape};
    world_ok(w, kn_module_set_tensor(module, "weight", &t, &w->err));
}

static inline kn_mapping *world_map(world *w, const kn_entry *entries, size_t n)
{
    kn_mapping *map = NULL;
    world_ok(w, kn_mapping_with(NULL, entries, n, &map, &w->err));
    return map;
}

// A mapping of one entry: the layer of this name to that of the package.
static inline kn_mapping *world_map_one(world *w, const char *layer, const char *layer_name,
                                        kn_mode mode)
{
    return world_map(w,
                     KN_ENTRY(.layer = layer, .device = "cpu", .mode = mode, .path = w->dir.root,
                              .layer_name = layer_name),
                     1);
}

typedef enum who { NOBODY, OWN, KERNEL, SOMEBODY } who;

// Calls a module with x = [1] of a dtype on a CPU and tells who answered.
static inline who world_call(kn_module *module, DLDataType dtype, int32_t device_id, kn_status *st,
                             kn_error *err)
{
    float in[2] = {1, 0}, out[2] = {0, 0};
    int64_t shape[1] = {1};
    DLTensor x = {
        .data = in, .device = {kDLCPU, device_id}, .ndim = 1, .dtype = dtype, .shape = shape};
    DLTensor y = x;
    y.data = out;
    *st = kn_call(module, KN_ARGS(kn_tensor(&x), kn_tensor(&y)), err);
    if (*st != KN_OK)
        return NOBODY;
    return out[0] == 2 ? KERNEL : out[0] == 7 ? SOMEBODY : OWN;
}

static inline who world_ask(kn_module *module)
{
    kn_status st;
    kn_error err = KN_ERROR_INIT;
    const who answer = world_call(module, (DLDataType){kDLFloat, 32, 1}, 0, &st, &err);
    if (st != KN_OK)
        print_message("%s\n", kn_error_text(&err));
    kn_error_dispose(&err);
    return answer;
}

static inline kn_record world_record(kn_plan *plan, size_t index)
{
    kn_record record = {.struct_size = sizeof(record)};
    assert_int_equal(kn_plan_get(plan, index, &record, NULL), KN_OK);
    return record;
}

// How many lines of a level hold `text`; NULL: any.
static inline size_t world_lines(const world *w, kn_log_level level, const char *text)
{
    size_t n = 0;
    for (size_t i = 0; i < w->n_lines; ++i)
        n += w->levels[i] == level && (!text || strstr(w->lines[i], text));
    return n;
}

#endif
