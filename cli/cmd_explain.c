// kernels explain: which kernel would serve each layer of a mapping, and why.
#include <stdio.h>
#include <string.h>

#include <kernels/kernelize.h>

#include "devices.h"
#include "options.h"
#include "output.h"
#include "repo.h"
#include "verbs.h"

typedef struct explain {
    const char *file, *device, *mode, *use_fallback;
    cli_texts layers;
    bool no_resolve, json;
    cli_hub hub;
} explain;

static kn_status parse_fallback(const char *text, uint32_t *out, kn_error *err)
{
    static const struct {
        const char *name;
        uint32_t set;
    } sets[] = {{"yes", KN_FALLBACK_DEFAULT}, {"no", KN_FALLBACK_NONE}, {"all", KN_FALLBACK_ALL}};
    for (size_t i = 0; i < KN_LEN(sets); ++i)
        if (!text || strcmp(text, sets[i].name) == 0) {
            *out = sets[i].set;
            return KN_OK;
        }
    return kn_error_set(err, KN_ERR_INVALID, "--use-fallback '%s': accepted are yes, no and all",
                        text);
}

static kn_status make_plan(explain *e, kn_context **ctx, kn_plan **plan, kn_error *err)
{
    kn_kernelize_options opts = KN_KERNELIZE_OPTIONS_INIT;
    kn_mapping *mapping = NULL;
    kn_device_type types[2];
    opts.flags = KN_KERNELIZE_DRY_RUN | (e->no_resolve ? KN_KERNELIZE_NO_RESOLVE : 0);
    kn_status st = parse_fallback(e->use_fallback, &opts.fallback, err);
    for (size_t i = 0; st == KN_OK && i < e->layers.count; ++i)
        if (!e->layers.items[i][0])
            st = kn_error_set(err, KN_ERR_INVALID, "--layer '': expected the name of a layer");
    if (st == KN_OK) {
        st = kn_mode_parse(e->mode ? e->mode : "INFERENCE", &opts.mode, err);
        if (st == KN_OK)
            st = kn_mode_check_request(opts.mode, err);
        if (st != KN_OK)
            kn_error_prefix(err, "--mode '%s'", e->mode);
    }
    if (st == KN_OK)
        st = cli_hub_open(&e->hub, e->device, ctx, err);
    if (st == KN_OK)
        st = kn_mapping_read(e->file, &mapping, err);
    if (st == KN_OK) {
        // One device is meant; among several, the first that the mapping names.
        if (e->device && cli_device_types(e->device, types, KN_LEN(types)) == 1)
            opts.device = kn_device_type_name(types[0]);
        opts.mapping = mapping;
        st = kn_explain(*ctx, e->layers.items, e->layers.count, &opts, plan, err);
    }
    kn_mapping_unref(mapping);
    return st;
}

static void print_trace(const kn_trace *trace)
{
    for (size_t i = 0; i < kn_trace_count(trace); ++i) {
        const kn_trace_entry e = kn_trace_get(trace, i);
        printf("    %s%s%s ", cli_paint(e.accepted ? CLI_GOOD : CLI_BAD), e.accepted ? "+" : "-",
               cli_paint(CLI_PLAIN));
        cli_text("%-8s %s%s%s%s%s", e.stage, e.subject, e.reason[0] ? ": " : "", e.reason,
                 e.rule[0] && !e.accepted ? " (" : "", e.rule[0] && !e.accepted ? e.rule : "");
        cli_line("%s%s%s", e.rule[0] && !e.accepted ? ")" : "", e.admits[0] ? "; accepted: " : "",
                 e.admits);
    }
}

static void print_record(const kn_record *r, const kn_trace *trace)
{
    static const cli_color colors[] = {[KN_OUTCOME_KERNEL] = CLI_GOOD,
                                       [KN_OUTCOME_REFERENCE] = CLI_GOOD,
                                       [KN_OUTCOME_FALLBACK] = CLI_WARN,
                                       [KN_OUTCOME_ERROR] = CLI_BAD};
    char mode[KN_MODE_TEXT_SIZE], used[KN_MODE_TEXT_SIZE];
    const cli_color color = r->outcome <= KN_OUTCOME_ERROR ? colors[r->outcome] : CLI_BOLD;
    fputs(cli_paint(CLI_BOLD), stdout);
    cli_text("%s", r->layer);
    fputs(cli_paint(CLI_PLAIN), stdout);
    cli_text(" on %s", kn_device_type_name(r->device));
    if (r->capability >= 0)
        printf(", capability %lld", (long long)r->capability);
    printf(", %s: %s%s%s\n", kn_mode_text(r->mode, mode), cli_paint(color),
           kn_outcome_text(r->outcome), cli_paint(CLI_PLAIN));
    if (r->repository[0])
        cli_line("  repository: %s%s%s%s%s%s, layer %s, registered for %s", r->repository,
                 r->revision[0] ? " at " : "", r->revision, r->revision[0] ? " (" : "",
                 r->revision[0] ? kn_level_text(r->level) : "", r->revision[0] ? ")" : "",
                 r->layer_name, kn_mode_text(r->mode_used, used));
    if (r->variant[0])
        cli_line("  variant: %s", r->variant);
    if (r->reason[0])
        cli_line("  reason: %s", r->reason);
    if (r->admits[0])
        cli_line("  accepted: %s", r->admits);
    if (kn_trace_count(trace)) {
        puts("  steps:");
        print_trace(trace);
    }
}

static void print_plan(const kn_plan *plan)
{
    kn_record record = {.struct_size = sizeof(record)};
    if (kn_plan_count(plan) == 0)
        puts("the mapping names no layer");
    for (size_t i = 0; i < kn_plan_count(plan); ++i) {
        if (kn_plan_get(plan, i, &record, NULL) != KN_OK)
            continue;
        if (i)
            puts("");
        print_record(&record, kn_plan_trace(plan, i));
    }
}

static kn_status print_json(kn_plan *plan, kn_error *err)
{
    char *text = NULL;
    const kn_status st = kn_plan_json(plan, &text, err);
    if (st != KN_OK)
        return st;
    json_t *document = json_loads(text, 0, NULL);
    kn_string_free(text);
    cli_json(document);
    return KN_OK;
}

int cli_cmd_explain(int argc, char **argv)
{
    explain e = {.file = NULL};
    kn_error err = KN_ERROR_INIT;
    kn_context *ctx = NULL;
    kn_plan *plan = NULL;
    int status = CLI_YES;
    const cli_option options[] = {
        {"layer", "NAME", "only this layer; repeatable", NULL, NULL, &e.layers},
        {"device", "DEVICE", CLI_DEVICE_HELP, NULL, &e.device, NULL},
        {"mode", "MODE", "INFERENCE (default) or TRAINING, and with |TORCH_COMPILE", NULL, &e.mode,
         NULL},
        {"no-resolve", NULL, "stop at the repository's name: nothing of it is read", &e.no_resolve,
         NULL, NULL},
        {"use-fallback", "WHEN",
         "yes (default): all but what cannot be loaded; no: never; all: always", NULL,
         &e.use_fallback, NULL},
        CLI_HUB_OPTIONS(&e.hub),
        {"json", NULL, "as JSON", &e.json, NULL, NULL},
    };
    const cli_usage usage = {
        "explain", "MAPPING.toml",
        "Says for each layer of a mapping which kernel would serve it on this machine's first "
        "device "
        "that the\nmapping names (else the CPU), or on --device, and each step that led there.\n\n"
        "Exit status: 0 every layer gets a kernel (with --no-resolve: a repository), 1 some fall "
        "back to "
        "their own\nforward, 2 wrong use or a mapping that cannot be read, 3 some would be an "
        "error.",
        options, KN_LEN(options)};
    if (cli_parse(&usage, argc, argv, &e.file, &status)) {
        kn_status st = make_plan(&e, &ctx, &plan, &err);
        if (e.hub.is_open)
            cli_progress_clear(&e.hub.progress);
        if (st == KN_OK && e.json)
            st = print_json(plan, &err);
        else if (st == KN_OK)
            print_plan(plan);
        if (st != KN_OK) {
            cli_fail_error("explain", &err);
            status = CLI_TROUBLE;
        } else if (kn_plan_outcome_count(plan, KN_OUTCOME_ERROR)) {
            status = CLI_ERRORS;
        } else if (kn_plan_outcome_count(plan, KN_OUTCOME_FALLBACK)) {
            status = CLI_NO;
        }
    }
    kn_plan_free(plan);
    cli_texts_free(&e.layers);
    cli_hub_close(&e.hub, ctx);
    return status;
}
