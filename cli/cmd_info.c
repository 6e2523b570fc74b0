// kernels info: what a package holds, by its metadata.
#include <stdio.h>

#include <kernels/package.h>

#include "options.h"
#include "output.h"
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

// One variant, of which `variants` takes the record. Returns whether it could be read.
static bool show(const char *name, const char *path, json_t *variants)
{
    kn_package *package = NULL;
    kn_error err = KN_ERROR_INIT;
    const bool is_read = kn_package_open(path, &package, &err) == KN_OK;
    if (variants) {
        json_t *o = is_read ? package_json(package) : cli_json_object();
        cli_json_set(o, "variant", cli_json_text(name));
        cli_json_set(o, "error", cli_json_text(is_read ? NULL : kn_error_text(&err)));
        cli_json_add(variants, o);
    } else {
        fputs(cli_paint(CLI_BOLD), stdout);
        cli_text("%s", name);
        puts(cli_paint(CLI_PLAIN));
        if (is_read)
            print_package(package);
        else
            cli_line("  cannot be read: %s", kn_error_text(&err));
    }
    kn_package_close(package);
    kn_error_dispose(&err);
    return is_read;
}

int cli_cmd_info(int argc, char **argv)
{
    const char *dir = NULL;
    bool json = false;
    int status = CLI_YES;
    kn_listing *listing = NULL;
    kn_error err = KN_ERROR_INIT;
    const cli_option options[] = {{"json", NULL, "as JSON", &json, NULL, NULL}};
    const cli_usage usage = {
        "info", "DIR",
        "Says what each build variant of a package is, by its metadata.json. DIR is the package's "
        "directory, or\na variant's.\n\nExit status: 0 each variant could be read, 1 some could "
        "not, 2 "
        "wrong use or no package there.",
        options, KN_LEN(options)};
    if (!cli_parse(&usage, argc, argv, &dir, &status))
        return status;
    if (kn_listing_open(dir, &listing, &err) != KN_OK) {
        cli_fail_error("info", &err);
        return CLI_TROUBLE;
    }
    json_t *variants = json ? cli_json_array() : NULL;
    for (size_t i = 0; i < kn_listing_count(listing); ++i)
        if (!show(kn_listing_name(listing, i), kn_listing_path(listing, i), variants))
            status = CLI_NO;
    if (json) {
        json_t *root = cli_json_object();
        cli_json_set(root, "path", cli_json_text(dir));
        cli_json_set(root, "variants", variants);
        cli_json(root);
    }
    kn_listing_close(listing);
    return status;
}
