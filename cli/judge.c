#include "judge.h"

#include <stdio.h>
#include <string.h>

#include "devices.h"
#include "output.h"

enum { TYPES_MAX = 16 };

kn_status cli_devices_find(kn_context *ctx, const char *named, cli_devices *out, kn_error *err)
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
        for (size_t i = 0; i < count && out->count < CLI_DEVICES_MAX; ++i) {
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

const char *cli_digests_text(cli_digests digests)
{
    static const char *const texts[] = {"none", "right", "wrong", "unknown"};
    return texts[digests];
}

void cli_verdict_dispose(cli_verdict *verdict)
{
    kn_error_dispose(&verdict->refusal);
    kn_error_dispose(&verdict->finding);
    kn_trace_free(verdict->trace);
    verdict->trace = NULL;
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

// By name, on one device. False: refused, with the reason in v.
static bool judge_name(const char *name, const kn_target *target, cli_verdict *v)
{
    size_t order = 0, n_fit = 0;
    cli_verdict_dispose(v);
    v->trace = kn_trace_new();
    if (!v->trace)
        cli_no_memory();
    snprintf(v->device, sizeof(v->device), "%s:%d", kn_device_type_name(target->device.type),
             target->device.index);
    if (kn_package_choose(&name, 1, target, &order, &n_fit, v->trace, &v->refusal) != KN_OK)
        return false;
    if (n_fit == 0) {
        const kn_trace_entry by_name = kn_trace_get(v->trace, 0);
        kn_error_set(&v->refusal, KN_ERR_INCOMPATIBLE, "%s", by_name.reason);
    }
    return n_fit == 1;
}

static bool judge(const char *name, const kn_package *package, const kn_target *target,
                  cli_verdict *v)
{
    kn_package_verdict answer = KN_PACKAGE_VERDICT_INIT;
    const bool fits = judge_name(name, target, v);
    const kn_status st = kn_package_check(package, target, &answer, v->trace, &v->finding);
    if (st != KN_OK)
        kn_error_set(&v->refusal, st, "%s", kn_error_text(&v->finding));
    v->digests = !kn_package_has_digests(package) ? CLI_DIGESTS_NONE
                 : answer.digests_checked         ? CLI_DIGESTS_RIGHT
                 : is_about_files(v->trace)       ? CLI_DIGESTS_WRONG
                                                  : CLI_DIGESTS_UNKNOWN;
    v->runs = fits && st == KN_OK;
    return v->runs;
}

static bool judge_metadata(const char *name, const kn_package *package, const kn_target *target,
                           cli_verdict *v)
{
    v->runs =
        judge_name(name, target, v) &&
        (!package || kn_package_check_metadata(package, target, v->trace, &v->refusal) == KN_OK);
    return v->runs;
}

// Does the variant's name fit the device's kind? Its refusal tells more than that of another kind.
static bool is_closer(const kn_trace *trace)
{
    const kn_trace_entry first = kn_trace_get(trace, 0);
    return first.accepted || (first.rule[0] && strcmp(first.rule, "backend") != 0);
}

static void judge_all(const char *name, const kn_package *package, const cli_devices *devices,
                      bool (*judge_one)(const char *name, const kn_package *package,
                                        const kn_target *target, cli_verdict *v),
                      cli_verdict *v)
{
    if (devices->count == 0)
        kn_error_set(&v->refusal, KN_ERR_NOT_FOUND, "there is no device");
    for (size_t i = 0; i < devices->count; ++i)
        if (judge_one(name, package, &devices->targets[i], v) || is_closer(v->trace))
            break;
}

void cli_judge(const char *name, const char *dir, const cli_devices *devices, cli_verdict *out)
{
    kn_package *package = NULL;
    *out = (cli_verdict){.digests = CLI_DIGESTS_UNKNOWN};
    const kn_status st = kn_package_open(dir, &package, &out->finding);
    if (st == KN_OK)
        judge_all(name, package, devices, judge, out);
    else
        kn_error_set(&out->refusal, st, "%s", kn_error_text(&out->finding));
    kn_package_close(package);
}

void cli_judge_metadata(const char *name, const kn_package *package, const cli_devices *devices,
                        cli_verdict *out)
{
    *out = (cli_verdict){.digests = CLI_DIGESTS_UNKNOWN};
    judge_all(name, package, devices, judge_metadata, out);
}

void cli_print_verdict(const char *name, const cli_verdict *v)
{
    const cli_color digest_color = v->digests == CLI_DIGESTS_WRONG ? CLI_BAD : CLI_PLAIN;
    fputs(cli_paint(v->runs ? CLI_GOOD : CLI_BAD), stdout);
    fputs(v->runs ? "runs    " : "refused ", stdout);
    fputs(cli_paint(CLI_PLAIN), stdout);
    cli_text("%s", name);
    if (v->runs)
        cli_text(" on %s", v->device);
    printf(", digests: %s%s%s\n", cli_paint(digest_color), cli_digests_text(v->digests),
           cli_paint(CLI_PLAIN));
    if (!v->runs)
        cli_line("        %s", kn_error_text(&v->refusal));
}

json_t *cli_json_verdict(const char *name, const cli_verdict *v)
{
    json_t *o = cli_json_object();
    cli_json_set(o, "variant", cli_json_text(name));
    cli_json_set(o, "runs", json_boolean(v->runs));
    cli_json_set(o, "device", cli_json_text(v->device));
    cli_json_set(o, "digests", cli_json_text(cli_digests_text(v->digests)));
    cli_json_set(o, "reason", cli_json_text(v->runs ? NULL : kn_error_text(&v->refusal)));
    cli_json_set(o, "trace", cli_json_trace(v->trace));
    return o;
}
