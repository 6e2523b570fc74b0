// kernels check: would each build variant of a package run here, and are its files what metadata.json says?
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kernels/package.h>

#include "devices.h"
#include "options.h"
#include "output.h"
#include "verbs.h"

enum { TYPES_MAX = 16, DEVICES_MAX = 64 };

typedef struct devices {
    kn_machine *machine;
    kn_target targets[DEVICES_MAX];
    size_t count;
} devices;

typedef enum digests { DIGESTS_NONE, DIGESTS_RIGHT, DIGESTS_WRONG, DIGESTS_UNKNOWN } digests;
static const char *const digests_text[] = {"none", "right", "wrong", "unknown"};

typedef struct verdict {
    bool runs;
    digests digests;
    char device[32];  // that it runs on, or was refused for
    kn_error refusal; // empty when it runs
    kn_trace *trace;
} verdict;

// The devices that were named, or all that the machine has.
static kn_status find_devices(kn_context *ctx, const char *named, devices *out, kn_error *err)
{
    kn_device_type types[TYPES_MAX];
    static const kn_device_type all[] = {
#define TYPE(name, value, text) name,
        KN_DEVICE_TYPE_LIST(TYPE)
#undef TYPE
    };
    const size_t n = named ? cli_device_types(named, types, TYPES_MAX) : KN_LEN(all);
    kn_tvm_ffi library = KN_TVM_FFI_INIT;
    const bool has_library = kn_context_tvm_ffi(ctx, &library, NULL) == KN_OK;
    out->machine = kn_context_machine(ctx);
    for (size_t t = 0; t < n; ++t) {
        const kn_device_type type = named ? types[t] : all[t];
        bool is_again = false;
        for (size_t before = 0; named && before < t; ++before)
            is_again |= types[before] == type;
        const size_t count = is_again ? 0 : kn_machine_device_count(out->machine, type);
        for (size_t i = 0; i < count && out->count < DEVICES_MAX; ++i) {
            const kn_status st =
                kn_target_init(out->machine, type, (int32_t)i, &out->targets[out->count], err);
            if (st != KN_OK)
                return st;
            out->targets[out->count].tvm_ffi_major = has_library ? library.major : -1;
            out->targets[out->count].tvm_ffi_minor = library.minor;
            ++out->count;
        }
    }
    return KN_OK;
}

// Did the last rule refuse a file, rather than the code?
static bool is_about_files(const kn_trace *trace)
{
    for (size_t i = 0; i < kn_trace_count(trace); ++i) {
        const kn_trace_entry e = kn_trace_get(trace, i);
        if (strcmp(e.stage, "digest") == 0 && !e.accepted)
            return true;
    }
    return false;
}

// On one device. False: refused, with the reason in v.
static bool judge(const char *name, const kn_package *package, const kn_target *target, verdict *v)
{
    size_t order = 0, n_fit = 0;
    kn_package_verdict answer = KN_PACKAGE_VERDICT_INIT;
    kn_error_dispose(&v->refusal);
    kn_trace_free(v->trace);
    v->trace = kn_trace_new();
    if (!v->trace)
        cli_no_memory();
    snprintf(v->device, sizeof(v->device), "%s:%d", kn_device_type_name(target->device.type),
             target->device.index);
    if (kn_package_choose(&name, 1, target, &order, &n_fit, v->trace, &v->refusal) != KN_OK)
        return false;
    const kn_trace_entry by_name = kn_trace_get(v->trace, 0);
    if (n_fit == 0)
        kn_error_set(&v->refusal, KN_ERR_INCOMPATIBLE, "%s", by_name.reason);
    const kn_status st =
        kn_package_check(package, target, &answer, v->trace, n_fit ? &v->refusal : NULL);
    v->digests = !kn_package_has_digests(package) ? DIGESTS_NONE
                 : answer.digests_checked         ? DIGESTS_RIGHT
                 : is_about_files(v->trace)       ? DIGESTS_WRONG
                                                  : DIGESTS_UNKNOWN;
    v->runs = n_fit == 1 && st == KN_OK;
    return v->runs;
}

// Does the variant's name fit the device's kind? Its refusal tells more than that of another kind.
static bool is_closer(const kn_trace *trace)
{
    const kn_trace_entry first = kn_trace_get(trace, 0);
    return first.accepted || (first.rule[0] && strcmp(first.rule, "backend") != 0);
}

static void judge_all(const char *name, const char *path, const devices *d, verdict *v)
{
    kn_package *package = NULL;
    *v = (verdict){.digests = DIGESTS_UNKNOWN, .refusal = KN_ERROR_INIT};
    if (kn_package_open(path, &package, &v->refusal) != KN_OK)
        return;
    if (d->count == 0)
        kn_error_set(&v->refusal, KN_ERR_NOT_FOUND, "there is no device");
    for (size_t i = 0; i < d->count; ++i)
        if (judge(name, package, &d->targets[i], v) || is_closer(v->trace))
            break;
    kn_package_close(package);
}

static void print_verdict(const char *name, const verdict *v)
{
    const cli_color digest_color = v->digests == DIGESTS_WRONG ? CLI_BAD : CLI_PLAIN;
    fputs(cli_paint(v->runs ? CLI_GOOD : CLI_BAD), stdout);
    fputs(v->runs ? "runs    " : "refused ", stdout);
    fputs(cli_paint(CLI_PLAIN), stdout);
    cli_text("%s", name);
    if (v->runs)
        cli_text(" on %s", v->device);
    printf(", digests: %s%s%s\n", cli_paint(digest_color), digests_text[v->digests],
           cli_paint(CLI_PLAIN));
    if (!v->runs)
        cli_line("        %s", kn_error_text(&v->refusal));
}

static json_t *verdict_json(const char *name, const verdict *v)
{
    json_t *o = cli_json_object();
    cli_json_set(o, "variant", cli_json_text(name));
    cli_json_set(o, "runs", json_boolean(v->runs));
    cli_json_set(o, "device", cli_json_text(v->device));
    cli_json_set(o, "digests", cli_json_text(digests_text[v->digests]));
    cli_json_set(o, "reason", cli_json_text(v->runs ? NULL : kn_error_text(&v->refusal)));
    cli_json_set(o, "trace", cli_json_trace(v->trace));
    return o;
}

// The variants, each on its best device. Returns whether one runs and its digests are not wrong.
static bool check_all(const kn_listing *listing, const devices *d, json_t *variants)
{
    bool is_usable = false;
    for (size_t i = 0; i < kn_listing_count(listing); ++i) {
        const char *name = kn_listing_name(listing, i);
        verdict v;
        judge_all(name, kn_listing_path(listing, i), d, &v);
        is_usable |= v.runs; // a variant with a wrong digest does not run
        if (variants)
            cli_json_add(variants, verdict_json(name, &v));
        else
            print_verdict(name, &v);
        kn_error_dispose(&v.refusal);
        kn_trace_free(v.trace);
    }
    return is_usable;
}

int cli_cmd_check(int argc, char **argv)
{
    const char *dir = NULL, *device = NULL;
    bool json = false;
    int status = CLI_YES;
    kn_context *ctx = NULL;
    kn_listing *listing = NULL;
    kn_error err = KN_ERROR_INIT;
    const cli_option options[] = {{"device", "DEVICE", CLI_DEVICE_HELP, NULL, &device, NULL},
                                  {"json", NULL, "as JSON", &json, NULL, NULL}};
    const cli_usage usage = {"check", "DIR",
                             "Says for each build variant of a package whether it would run on "
                             "this machine (or on --device), "
                             "judged\nby its name, its metadata and the code in it, and whether "
                             "its files have the digests "
                             "that metadata.json\nlists. Nothing of the package is run.\n\n"
                             "Exit status: 0 a variant runs, and its digests (where it lists any) "
                             "are right, 1 none does, 2 "
                             "wrong use\nor no package there.",
                             options, KN_LEN(options)};
    if (!cli_parse(&usage, argc, argv, &dir, &status))
        return status;
    devices *d = cli_alloc(sizeof(*d));
    kn_status st = cli_open_context(device, &ctx, &err);
    if (st == KN_OK)
        st = kn_listing_open(dir, &listing, &err);
    if (st == KN_OK)
        st = find_devices(ctx, device, d, &err);
    if (st == KN_OK) {
        json_t *variants = json ? cli_json_array() : NULL;
        const bool is_usable = check_all(listing, d, variants);
        status = is_usable ? CLI_YES : CLI_NO;
        if (json) {
            json_t *root = cli_json_object();
            cli_json_set(root, "path", cli_json_text(dir));
            cli_json_set(root, "usable", json_boolean(is_usable));
            cli_json_set(root, "variants", variants);
            cli_json(root);
        }
    } else {
        cli_fail_error("check", &err);
        status = CLI_TROUBLE;
    }
    kn_listing_close(listing);
    kn_context_close(ctx);
    free(d);
    return status;
}
