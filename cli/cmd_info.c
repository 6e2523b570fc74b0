// kernels info: what a package or a repository holds, by its metadata.
#include <stdio.h>

#include <kernels/package.h>

#include "output.h"
#include "repo.h"
#include "verbs.h"

static const struct {
    kn_param_list list;
    const char *name;
} lists[] = {
    {KN_PARAM_INPUT, "inputs"}, {KN_PARAM_MEMBER, "members"}, {KN_PARAM_OUTPUT, "outputs"}};

typedef const char *(*item_fn)(const kn_package *package, size_t index);

static json_t *items_json(const kn_package *package, size_t count, item_fn item)
{
    json_t *array = cli_json_array();
    for (size_t i = 0; i < count; ++i)
        cli_json_add(array, cli_json_text(item(package, i)));
    return array;
}

static const char *param_type(const kn_param *param)
{
    static const char *const scalars[] = {[KN_PARAM_TENSOR] = "",
                                          [KN_PARAM_INT] = "int",
                                          [KN_PARAM_FLOAT] = "float",
                                          [KN_PARAM_BOOL] = "bool"};
    return param->text && param->text[0] ? param->text : scalars[param->kind];
}

static json_t *layer_json(const kn_package_layer *layer)
{
    json_t *o = cli_json_object();
    cli_json_set(o, "name", cli_json_text(layer->name));
    for (size_t l = 0; l < KN_LEN(lists); ++l) {
        json_t *params = cli_json_array();
        for (size_t i = 0; i < kn_layer_param_count(layer->layer, lists[l].list); ++i) {
            kn_param param = {.struct_size = sizeof(param)};
            json_t *p = cli_json_object();
            if (kn_layer_param(layer->layer, lists[l].list, i, &param, NULL) == KN_OK) {
                cli_json_set(p, "name", cli_json_text(param.name));
                cli_json_set(p, "type", cli_json_text(param_type(&param)));
                cli_json_set(p, "optional", json_boolean(param.optional || param.has_default));
            }
            cli_json_add(params, p);
        }
        cli_json_set(o, lists[l].name, params);
    }
    cli_json_set(o, "function", cli_json_text(kn_layer_function(layer->layer, false)));
    cli_json_set(o, "has_backward", json_boolean(layer->has_backward));
    cli_json_set(o, "can_torch_compile", json_boolean(layer->can_torch_compile));
    cli_json_set(o, "autocast", cli_json_text(layer->autocast));
    return o;
}

static json_t *package_json(const kn_package *package)
{
    json_t *o = cli_json_object(), *layers = cli_json_array();
    const int64_t version = kn_package_version(package);
    cli_json_set(o, "name", cli_json_text(kn_package_name(package)));
    cli_json_set(o, "id", cli_json_text(kn_package_id(package)));
    cli_json_set(o, "version", version < 0 ? json_null() : json_integer(version));
    cli_json_set(o, "license", cli_json_text(kn_package_license(package)));
    cli_json_set(o, "backend", cli_json_text(kn_package_backend(package)));
    cli_json_set(o, "archs", items_json(package, kn_package_arch_count(package), kn_package_arch));
    cli_json_set(o, "python_depends",
                 items_json(package, kn_package_depend_count(package), kn_package_depend));
    cli_json_set(o, "cpu_features",
                 items_json(package, kn_package_feature_count(package), kn_package_feature));
    cli_json_set(o, "library", cli_json_text(kn_package_library(package)));
    cli_json_set(o, "has_digests", json_boolean(kn_package_has_digests(package)));
    for (size_t i = 0; i < kn_package_layer_count(package); ++i) {
        kn_package_layer layer = KN_PACKAGE_LAYER_INIT;
        if (kn_package_layer_get(package, i, &layer, NULL) == KN_OK)
            cli_json_add(layers, layer_json(&layer));
    }
    cli_json_set(o, "layers", layers);
    return o;
}

static void print_items(const char *what, const kn_package *package, size_t count, item_fn item)
{
    if (!count)
        return;
    printf("  %-13s", what);
    for (size_t i = 0; i < count; ++i)
        cli_text("%s%s", i ? ", " : "", item(package, i));
    puts("");
}

static void print_layer(const kn_package_layer *layer)
{
    const char *separator = "(";
    cli_text("    %s", layer->name);
    for (size_t i = 0; i < kn_layer_param_count(layer->layer, KN_PARAM_INPUT); ++i) {
        kn_param param = {.struct_size = sizeof(param)};
        if (kn_layer_param(layer->layer, KN_PARAM_INPUT, i, &param, NULL) == KN_OK)
            cli_text("%s%s: %s", separator, param.name, param_type(&param));
        separator = ", ";
    }
    printf("%s)%s%s\n", separator[0] == '(' ? "(" : "",
           layer->has_backward ? ", backward" : ", no backward",
           layer->can_torch_compile ? ", torch.compile" : "");
}

static void print_package(const kn_package *package)
{
    cli_line("  name         %s%s", kn_package_name(package),
             kn_package_name(package)[0] ? "" : "not given");
    if (kn_package_version(package) >= 0)
        cli_line("  version      %lld", (long long)kn_package_version(package));
    if (kn_package_id(package)[0])
        cli_line("  id           %s", kn_package_id(package));
    if (kn_package_license(package)[0])
        cli_line("  license      %s", kn_package_license(package));
    if (kn_package_backend(package)[0])
        cli_line("  backend      %s", kn_package_backend(package));
    print_items("archs", package, kn_package_arch_count(package), kn_package_arch);
    print_items("cpu features", package, kn_package_feature_count(package), kn_package_feature);
    print_items("python", package, kn_package_depend_count(package), kn_package_depend);
    if (kn_package_library(package)[0])
        cli_line("  library      %s", kn_package_library(package));
    cli_line("  digests      %s", kn_package_has_digests(package) ? "yes" : "none");
    printf("  layers       %zu\n", kn_package_layer_count(package));
    for (size_t i = 0; i < kn_package_layer_count(package); ++i) {
        kn_package_layer layer = KN_PACKAGE_LAYER_INIT;
        if (kn_package_layer_get(package, i, &layer, NULL) == KN_OK)
            print_layer(&layer);
    }
}

typedef struct info {
    const char *operand;
    cli_hub hub;
    cli_wish wish;
    bool json;
    kn_context *ctx;
    json_t *variants; // NULL: text
    bool is_whole;    // each variant could be read
    kn_error err;
} info;

// One variant. of, index: NULL and nothing for one of a directory. package: NULL where `why` says why it cannot be read.
static void show(info *in, const char *name, const kn_variants *of, size_t index,
                 const kn_package *package, kn_error *why)
{
    char size[CLI_SIZE_TEXT];
    const uint64_t bytes = of ? kn_variants_size_bytes(of, index) : 0;
    const bool is_cached = of && kn_variants_is_cached(of, index);
    in->is_whole &= package != NULL;
    if (in->variants) {
        json_t *o = package ? package_json(package) : cli_json_object();
        cli_json_set(o, "variant", cli_json_text(name));
        cli_json_set(o, "error", cli_json_text(package ? NULL : kn_error_text(why)));
        if (of) {
            cli_json_set(o, "size_bytes", bytes ? json_integer((json_int_t)bytes) : json_null());
            cli_json_set(o, "cached", json_boolean(is_cached));
        }
        cli_json_add(in->variants, o);
    } else {
        fputs(cli_paint(CLI_BOLD), stdout);
        cli_text("%s", name);
        puts(cli_paint(CLI_PLAIN));
        if (bytes || is_cached)
            cli_line("  files        %s%s%s", bytes ? cli_size(bytes, size) : "",
                     bytes && is_cached ? ", " : "", is_cached ? "in the cache" : "");
        if (package)
            print_package(package);
        else
            cli_line("  cannot be read: %s", kn_error_text(why));
    }
}

static kn_status show_dir(info *in)
{
    kn_listing *listing = NULL;
    const kn_status st = kn_listing_open(in->operand, &listing, &in->err);
    for (size_t i = 0; st == KN_OK && i < kn_listing_count(listing); ++i) {
        kn_package *package = NULL;
        kn_error why = KN_ERROR_INIT;
        kn_package_open(kn_listing_path(listing, i), &package, &why);
        show(in, kn_listing_name(listing, i), NULL, 0, package, &why);
        kn_package_close(package);
        kn_error_dispose(&why);
    }
    kn_listing_close(listing);
    return st;
}

static kn_status show_variant(info *in, const kn_revision *revision, const kn_variants *variants,
                              size_t index)
{
    const char *name = kn_variants_name(variants, index);
    kn_package *package = NULL;
    kn_error why = KN_ERROR_INIT;
    char *text = NULL;
    size_t size = 0;
    kn_status st =
        kn_hub_fetch_metadata(kn_context_hub(in->ctx), revision, name, &text, &size, &why);
    if (st == KN_OK)
        st = kn_package_parse(text, size, kn_revision_repo_id(revision), name, &package, &why);
    if (st == KN_ERR_NETWORK || st == KN_ERR_CANCELLED || st == KN_ERR_NO_MEMORY) {
        kn_error_set(&in->err, st, "%s", kn_error_text(&why)); // nor is anything known of the next
    } else {
        show(in, name, variants, index, package, &why);
        st = KN_OK;
    }
    kn_package_close(package);
    kn_string_free(text);
    kn_error_dispose(&why);
    return st;
}

// Reading what somebody says of a kernel takes no trust, using it does: consent is asked for there, and its lack said here.
static kn_status resolve(info *in, kn_revision **revision, kn_error *refusal)
{
    kn_hub_wish wish = cli_hub_wish(&in->wish, in->operand);
    const kn_status st = kn_hub_resolve(kn_context_hub(in->ctx), &wish, revision, NULL, refusal);
    if (st != KN_ERR_UNTRUSTED)
        return st == KN_OK ? st : kn_error_set(&in->err, st, "%s", kn_error_text(refusal));
    wish.trust_remote_code = 1;
    return kn_hub_resolve(kn_context_hub(in->ctx), &wish, revision, NULL, &in->err);
}

static void print_repo(const kn_revision *revision, const kn_error *refusal)
{
    cli_print_revision(revision);
    cli_line("  type         %s", kn_revision_repo_type(revision));
    cli_line("  level        %s", kn_level_text(kn_revision_level(revision)));
    if (refusal->status == KN_OK)
        cli_line("  publisher    %s", kn_revision_publisher(revision));
    else
        cli_line("  refused      %s", kn_error_text(refusal));
    if (kn_revision_moved_to(revision)[0])
        cli_line("  moved to     %s", kn_revision_moved_to(revision));
}

static json_t *repo_json(const kn_revision *revision, const kn_error *refusal)
{
    json_t *o = cli_json_revision(revision);
    const bool is_refused = refusal->status != KN_OK;
    if (is_refused)
        cli_json_set(o, "publisher", json_null());
    if (revision)
        cli_json_set(o, "refused", cli_json_text(is_refused ? kn_error_text(refusal) : NULL));
    return o;
}

static kn_status show_repo(info *in, const kn_revision *revision)
{
    kn_hub *hub = kn_context_hub(in->ctx);
    kn_variants *variants = NULL;
    kn_status st = kn_hub_is_offline(hub) ? kn_hub_list(hub, revision, &variants, &in->err)
                                          : kn_hub_list_all(hub, revision, &variants, &in->err);
    for (size_t i = 0; st == KN_OK && i < kn_variants_count(variants); ++i)
        st = show_variant(in, revision, variants, i);
    kn_variants_free(variants);
    return st;
}

static int run(info *in)
{
    kn_revision *revision = NULL;
    kn_error refusal = KN_ERROR_INIT;
    const bool is_repo = cli_is_repo(in->operand);
    int status = CLI_TROUBLE;
    kn_status st = cli_refuse_wish(is_repo, in->operand, &in->wish, &in->err);
    if (st == KN_OK && is_repo) {
        st = cli_hub_open(&in->hub, NULL, &in->ctx, &in->err);
        if (st == KN_OK)
            st = resolve(in, &revision, &refusal);
        if (st == KN_OK && !in->variants)
            print_repo(revision, &refusal);
        if (st == KN_OK)
            st = show_repo(in, revision);
        status = cli_status_of(st);
    } else if (st == KN_OK) {
        st = show_dir(in);
    }
    if (st != KN_OK) {
        cli_fail_error("info", &in->err);
    } else {
        status = in->is_whole ? CLI_YES : CLI_NO;
        if (in->variants) {
            json_t *root = cli_json_object();
            cli_json_set(root, "path", cli_json_text(is_repo ? NULL : in->operand));
            cli_json_set(root, "repository", repo_json(revision, &refusal));
            cli_json_set(root, "variants", json_incref(in->variants));
            cli_json(root);
        }
    }
    kn_error_dispose(&refusal);
    kn_revision_free(revision);
    return status;
}

int cli_cmd_info(int argc, char **argv)
{
    info in = {.is_whole = true};
    int status = CLI_YES;
    const cli_option options[] = {CLI_REVISION_OPTIONS(&in.wish),
                                  CLI_TRUST_OPTION(&in.wish),
                                  CLI_HUB_OPTIONS(&in.hub),
                                  {"json", NULL, "as JSON", &in.json, NULL, NULL}};
    const cli_usage usage = {
        "info", "DIR|REPO",
        "Says what each build variant of a package is, by its metadata.json. DIR is the package's "
        "directory, or\na variant's; REPO is a repository, of which nothing else is "
        "downloaded.\n\nExit status: 0 each variant could be read, 1 some could not, or there is "
        "no such repository, 2 wrong use,\nno package there, or no answer.",
        options, KN_LEN(options)};
    if (!cli_parse(&usage, argc, argv, &in.operand, &status))
        return status;
    in.variants = in.json ? cli_json_array() : NULL;
    status = run(&in);
    json_decref(in.variants);
    cli_hub_close(&in.hub, in.ctx);
    return status;
}
