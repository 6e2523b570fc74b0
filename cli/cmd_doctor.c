// kernels doctor: what this machine is and can run.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kernels/context.h>

#include "devices.h"
#include "options.h"
#include "output.h"
#include "verbs.h"

static const kn_device_type types[] = {
#define TYPE(name, value, text) name,
    KN_DEVICE_TYPE_LIST(TYPE)
#undef TYPE
};

static const char *const variables[] = {
    "KERNELS_DEVICE",
    "LOCAL_KERNELS",
    "DISABLE_KERNEL_MAPPING",
    "KERNELS_CACHE",
    "KERNELS_SITE_CACHES",
    "KERNELS_TRUSTED_ENDPOINTS",
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    "HF_HOME",
    "HF_HUB_CACHE",
    "NO_COLOR",
};

// The library that kernels are called through.
typedef struct tvm_ffi {
    kn_tvm_ffi info;
    kn_error refusal; // empty: it is there and fits
} tvm_ffi;

static void print_device(const kn_device_info *info)
{
    char *capability = cli_capability(info);
    cli_text("  %-8s %d: %s%s%s", kn_device_type_name(info->type), info->index, info->name,
             info->name[0] && info->arch[0] ? ", " : "", info->arch);
    cli_text(", capability %s", capability);
    if (info->backend_major >= 0)
        cli_text(", driver for %s %d.%d", kn_device_type_name(info->type), info->backend_major,
                 info->backend_minor);
    puts(info->overridden ? " (described, not found)" : "");
    free(capability);
}

static void print_machine(kn_machine *machine)
{
    int32_t major = -1, minor = -1;
    kn_machine_glibc(machine, &major, &minor);
    cli_line("libkernels   %s", kn_version());
    cli_line("system       %s, %s", kn_machine_os(machine), kn_machine_cpu_arch(machine));
    if (major >= 0)
        printf("C library    glibc %d.%d\n", major, minor);
    else
        puts("C library    not glibc");
    fputs("CPU features", stdout);
    for (size_t i = 0; i < kn_machine_feature_count(machine); ++i)
        cli_text(" %s", kn_machine_feature_name(machine, i));
    puts("\ndevices");
    for (size_t t = 0; t < KN_LEN(types); ++t) {
        const size_t count = kn_machine_device_count(machine, types[t]);
        for (size_t i = 0; i < count; ++i) {
            kn_device_info info = KN_DEVICE_INFO_INIT;
            if (kn_machine_device(machine, types[t], (int32_t)i, &info, NULL) == KN_OK)
                print_device(&info);
        }
        if (count == 0)
            cli_line("  %-8s none: %s", kn_device_type_name(types[t]),
                     kn_machine_reason(machine, types[t]));
    }
}

static json_t *device_json(const kn_device_info *info)
{
    json_t *o = cli_json_object();
    char *backend = info->backend_major < 0
                        ? NULL
                        : cli_format("%d.%d", info->backend_major, info->backend_minor);
    cli_json_set(o, "type", cli_json_text(kn_device_type_name(info->type)));
    cli_json_set(o, "index", json_integer(info->index));
    cli_json_set(o, "name", cli_json_text(info->name));
    cli_json_set(o, "arch", cli_json_text(info->arch));
    cli_json_set(o, "capability",
                 info->capability < 0 ? json_null() : json_integer(info->capability));
    cli_json_set(o, "backend_version", cli_json_text(backend));
    cli_json_set(o, "overridden", json_boolean(info->overridden));
    free(backend);
    return o;
}

static json_t *machine_json(kn_machine *machine)
{
    int32_t major = -1, minor = -1;
    kn_machine_glibc(machine, &major, &minor);
    char *glibc = major < 0 ? NULL : cli_format("%d.%d", major, minor);
    json_t *o = cli_json_object(), *features = cli_json_array(), *devices = cli_json_array();
    json_t *absent = cli_json_object();
    cli_json_set(o, "version", cli_json_text(kn_version()));
    cli_json_set(o, "os", cli_json_text(kn_machine_os(machine)));
    cli_json_set(o, "cpu", cli_json_text(kn_machine_cpu_arch(machine)));
    cli_json_set(o, "glibc", cli_json_text(glibc));
    for (size_t i = 0; i < kn_machine_feature_count(machine); ++i)
        cli_json_add(features, cli_json_text(kn_machine_feature_name(machine, i)));
    cli_json_set(o, "cpu_features", features);
    for (size_t t = 0; t < KN_LEN(types); ++t) {
        const size_t count = kn_machine_device_count(machine, types[t]);
        for (size_t i = 0; i < count; ++i) {
            kn_device_info info = KN_DEVICE_INFO_INIT;
            if (kn_machine_device(machine, types[t], (int32_t)i, &info, NULL) == KN_OK)
                cli_json_add(devices, device_json(&info));
        }
        if (count == 0)
            cli_json_set(absent, kn_device_type_name(types[t]),
                         cli_json_text(kn_machine_reason(machine, types[t])));
    }
    cli_json_set(o, "devices", devices);
    cli_json_set(o, "absent", absent);
    free(glibc);
    return o;
}

// What the hub's client is opened with. Nothing of it is asked.
typedef struct hub_info {
    const kn_hub *hub;
    const char *token_source; // NULL: none
    kn_error token_refusal;
    char curl[64]; // its version; "": libcurl is not there
} hub_info;

// As the library does at its first request; neither way opens a socket.
static void find_curl(char *out, size_t size)
{
    static const char *const names[] = {"libcurl.so.4", "libcurl-gnutls.so.4", "libcurl-nss.so.4"};
    void *library = NULL, *symbol = NULL;
    const char *(*version)(void) = NULL;
    for (size_t i = 0; i < KN_LEN(names) && !library; ++i)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (library)
        symbol = dlsym(library, "curl_version");
    memcpy(&version, &symbol, sizeof(symbol));
    const char *text = version ? version() : "";
    snprintf(out, size, "%.*s", (int)strcspn(text, " "), text);
}

static void find_hub(kn_context *ctx, hub_info *out)
{
    *out = (hub_info){.hub = kn_context_hub(ctx)};
    kn_hub_token_source(out->hub, &out->token_source, &out->token_refusal);
    find_curl(out->curl, sizeof(out->curl));
}

static const char *or_none(const char *text)
{
    return text[0] ? text : "none: this user has no home directory";
}

static void print_hub(const hub_info *found)
{
    const bool is_refused = found->token_refusal.status != KN_OK;
    cli_line("hub          %s, %s%s", kn_hub_endpoint(found->hub),
             kn_hub_endpoint_is_trusted(found->hub) ? "trusted to vouch for publishers"
                                                    : "not trusted to vouch for publishers",
             kn_hub_is_offline(found->hub) ? ", offline" : "");
    cli_line("  cache      %s", or_none(kn_hub_cache_dir(found->hub)));
    cli_line("  records    %s", or_none(kn_hub_state_dir(found->hub)));
    cli_line("  token      %s%s", found->token_source ? "from " : "",
             is_refused            ? kn_error_text(&found->token_refusal)
             : found->token_source ? found->token_source
                                   : "none");
    cli_line("  libcurl    %s", found->curl[0] ? found->curl
                                               : "not found: nothing can be downloaded; install "
                                                 "libcurl4 (or libcurl)");
}

static json_t *hub_json(const hub_info *found)
{
    const bool is_refused = found->token_refusal.status != KN_OK;
    json_t *o = cli_json_object();
    cli_json_set(o, "endpoint", cli_json_text(kn_hub_endpoint(found->hub)));
    cli_json_set(o, "trusted", json_boolean(kn_hub_endpoint_is_trusted(found->hub)));
    cli_json_set(o, "offline", json_boolean(kn_hub_is_offline(found->hub)));
    cli_json_set(o, "cache", cli_json_text(kn_hub_cache_dir(found->hub)));
    cli_json_set(o, "records", cli_json_text(kn_hub_state_dir(found->hub)));
    cli_json_set(o, "token", cli_json_text(found->token_source));
    cli_json_set(o, "token_error",
                 cli_json_text(is_refused ? kn_error_text(&found->token_refusal) : NULL));
    cli_json_set(o, "libcurl", cli_json_text(found->curl));
    return o;
}

static char *version_text(const tvm_ffi *found)
{
    return cli_format("%d.%d.%d", found->info.major, found->info.minor, found->info.patch);
}

static void print_rest(const tvm_ffi *found, const hub_info *hub)
{
    const bool is_there = found->refusal.status == KN_OK;
    char *version = version_text(found);
    printf("libtvm_ffi   %s%s%s", cli_paint(is_there ? CLI_GOOD : CLI_BAD),
           is_there ? version : "no kernel can be loaded", cli_paint(CLI_PLAIN));
    cli_line("%s%s", is_there ? ", " : ": ",
             is_there ? found->info.path : kn_error_text(&found->refusal));
    print_hub(hub);
    puts("environment");
    for (size_t i = 0; i < KN_LEN(variables); ++i) {
        const char *value = getenv(variables[i]);
        cli_line("  %s %s%s", variables[i], value ? "= " : "is not set", value ? value : "");
    }
    free(version);
}

static void add_rest(json_t *o, const tvm_ffi *found, const hub_info *hub)
{
    const bool is_there = found->refusal.status == KN_OK;
    json_t *library = cli_json_object(), *environment = cli_json_object();
    char *version = version_text(found);
    cli_json_set(library, "usable", json_boolean(is_there));
    cli_json_set(library, "path", cli_json_text(found->info.path));
    cli_json_set(library, "version", cli_json_text(is_there ? version : NULL));
    cli_json_set(library, "reason",
                 cli_json_text(is_there ? NULL : kn_error_text(&found->refusal)));
    cli_json_set(o, "tvm_ffi", library);
    cli_json_set(o, "hub", hub_json(hub));
    for (size_t i = 0; i < KN_LEN(variables); ++i)
        cli_json_set(environment, variables[i], cli_json_text(getenv(variables[i])));
    cli_json_set(o, "environment", environment);
    free(version);
}

int cli_cmd_doctor(int argc, char **argv)
{
    bool json = false;
    int status = CLI_YES;
    kn_context *ctx = NULL;
    kn_error err = KN_ERROR_INIT;
    const cli_option options[] = {{"json", NULL, "as JSON", &json, NULL, NULL}};
    const cli_usage usage = {
        "doctor", NULL,
        "Says what this machine is and can run: CPU, drivers and devices (or why there are none), "
        "libtvm_ffi, the\nC library, how a hub would be reached, and the environment variables "
        "that count. No socket is opened.\n\n"
        "Exit status: 0 kernels can be loaded here, 1 not, 2 wrong use or an unusable variable.",
        options, KN_LEN(options)};
    if (!cli_parse(&usage, argc, argv, NULL, &status))
        return status;
    if (kn_context_open(NULL, &ctx, &err) != KN_OK) {
        cli_fail_error("doctor", &err);
        return CLI_TROUBLE;
    }
    hub_info hub;
    find_hub(ctx, &hub);
    tvm_ffi found = {KN_TVM_FFI_INIT, KN_ERROR_INIT};
    if (kn_context_tvm_ffi(ctx, &found.info, &found.refusal) != KN_OK)
        status = CLI_NO;
    if (json) {
        json_t *o = machine_json(kn_context_machine(ctx));
        add_rest(o, &found, &hub);
        cli_json(o);
    } else {
        print_machine(kn_context_machine(ctx));
        print_rest(&found, &hub);
    }
    kn_error_dispose(&hub.token_refusal);
    kn_error_dispose(&found.refusal);
    kn_context_close(ctx);
    return status;
}
