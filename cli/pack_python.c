#include "pack_python.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "output.h"
#include "pack_layers_py.h"

static bool is_keyword(const char *name)
{
    static const char *const words[] = {
        "False", "None",     "True",  "and",    "as",   "assert", "async",  "await",    "break",
        "class", "continue", "def",   "del",    "elif", "else",   "except", "finally",  "for",
        "from",  "global",   "if",    "import", "in",   "is",     "lambda", "nonlocal", "not",
        "or",    "pass",     "raise", "return", "try",  "while",  "with",   "yield",
    };
    for (size_t i = 0; i < KN_LEN(words); ++i)
        if (strcmp(words[i], name) == 0)
            return true;
    return false;
}

// What Python can call it: ASCII letters, digits and underscores, none of its words, nothing that layers.py uses itself.
static bool is_python_name(const char *name)
{
    for (const char *at = name; *at; ++at)
        if (!isalnum((unsigned char)*at) && *at != '_')
            return false;
    return isalpha((unsigned char)name[0]) && !is_keyword(name) && strcmp(name, "torch") != 0 &&
           strcmp(name, "nn") != 0 && strcmp(name, "json") != 0 && strcmp(name, "layers") != 0;
}

static bool is_in_library(const kn_package *package, const char *name, size_t before)
{
    for (size_t i = 0; i < before; ++i) {
        kn_package_layer layer = KN_PACKAGE_LAYER_INIT;
        if (kn_package_layer_get(package, i, &layer, NULL) != KN_OK)
            continue;
        const char *backward = kn_layer_function(layer.layer, true);
        if (strcmp(kn_layer_function(layer.layer, false), name) == 0 ||
            (backward && strcmp(backward, name) == 0))
            return true;
    }
    return false;
}

static void put_function(FILE *out, const kn_package *package, size_t at, const char *name)
{
    if (name && is_python_name(name) && !is_in_library(package, name, at))
        fprintf(out, "%s = _library.get_function(\"%s\")\n", name, name);
}

static void put_init(FILE *out, const kn_package *package)
{
    fprintf(
        out,
        "\"\"\"%s, version %lld: made by `kernels pack`.\n\n"
        "The functions here are those of the library, which write into tensors that they are "
        "given; `layers` has the\n"
        "package's layers as PyTorch modules.\n\"\"\"\n\n"
        "import os\n\nimport tvm_ffi\n\n"
        "_library = tvm_ffi.load_module(os.path.join(os.path.dirname(os.path.abspath(__file__)), "
        "\"%s\"))\n\n",
        kn_package_name(package), (long long)kn_package_version(package),
        kn_package_library(package));
    for (size_t i = 0; i < kn_package_layer_count(package); ++i) {
        kn_package_layer layer = KN_PACKAGE_LAYER_INIT;
        if (kn_package_layer_get(package, i, &layer, NULL) != KN_OK)
            continue;
        const char *forward = kn_layer_function(layer.layer, false);
        const char *backward = kn_layer_function(layer.layer, true);
        put_function(out, package, i, forward);
        if (!backward || strcmp(backward, forward) != 0)
            put_function(out, package, i, backward);
    }
    fputs("\nfrom . import layers  # noqa: E402\n", out);
}

static void put_value(FILE *out, const kn_param *param)
{
    if (param->default_value.type == KN_VALUE_FLOAT)
        fprintf(out, "%.17g", param->default_value.as.number);
    else if (param->default_value.type == KN_VALUE_BOOL)
        fputs(param->default_value.as.integer ? "True" : "False", out);
    else if (param->default_value.type == KN_VALUE_INT)
        fprintf(out, "%lld", (long long)param->default_value.as.integer);
    else
        fputs("None", out);
}

// A parameter's name in Python: one that is a word of the language gets an underscore.
static void put_name(FILE *out, const char *name)
{
    fprintf(out, "%s%s", name, is_keyword(name) || strcmp(name, "self") == 0 ? "_" : "");
}

static kn_status put_class(FILE *out, const kn_package_layer *layer, kn_error *err)
{
    static const char *const types[] = {[KN_PARAM_TENSOR] = "torch.Tensor",
                                        [KN_PARAM_INT] = "int",
                                        [KN_PARAM_FLOAT] = "float",
                                        [KN_PARAM_BOOL] = "bool"};
    const size_t n_inputs = kn_layer_param_count(layer->layer, KN_PARAM_INPUT);
    const size_t n_members = kn_layer_param_count(layer->layer, KN_PARAM_MEMBER);
    kn_param param = {.struct_size = sizeof(param)};
    fprintf(out, "\n\nclass %s(nn.Module):\n", layer->name);
    for (size_t i = 0; i < n_members; ++i) {
        if (kn_layer_param(layer->layer, KN_PARAM_MEMBER, i, &param, err) != KN_OK)
            return err->status;
        if (!is_keyword(param.name))
            fprintf(out, "    %s: %s\n", param.name, types[param.kind]);
    }
    fprintf(out, "    can_torch_compile = %s\n    has_backward = %s\n\n    def forward(self",
            layer->can_torch_compile ? "True" : "False", layer->has_backward ? "True" : "False");
    // Defaults only where all that follow have one.
    size_t n_required = 0;
    for (size_t i = 0; i < n_inputs; ++i) {
        if (kn_layer_param(layer->layer, KN_PARAM_INPUT, i, &param, err) != KN_OK)
            return err->status;
        if (!param.has_default && !param.optional)
            n_required = i + 1;
    }
    for (size_t i = 0; i < n_inputs; ++i) {
        if (kn_layer_param(layer->layer, KN_PARAM_INPUT, i, &param, err) != KN_OK)
            return err->status;
        fputs(", ", out);
        put_name(out, param.name);
        if (i >= n_required) {
            fputs("=", out);
            put_value(out, &param);
        }
    }
    fprintf(out, "):\n        return _OPERATORS[\"%s\"](", layer->name);
    for (size_t i = 0; i < n_inputs; ++i) {
        if (kn_layer_param(layer->layer, KN_PARAM_INPUT, i, &param, err) != KN_OK)
            return err->status;
        fputs(i ? ", " : "", out);
        put_name(out, param.name);
    }
    for (size_t i = 0; i < n_members; ++i) {
        if (kn_layer_param(layer->layer, KN_PARAM_MEMBER, i, &param, err) != KN_OK)
            return err->status;
        fputs(i || n_inputs ? ", " : "", out);
        if (param.optional || param.has_default || is_keyword(param.name)) {
            fprintf(out, "getattr(self, \"%s\"", param.name);
            if (param.optional || param.has_default) {
                fputs(", ", out);
                put_value(out, &param);
            }
            fputs(")", out);
        } else {
            fprintf(out, "self.%s", param.name);
        }
    }
    fputs(")\n", out);
    return KN_OK;
}

// The program as a string of Python, which reads JSON's escapes as JSON does.
static kn_status put_program(FILE *out, const kn_package_layer *layer, kn_error *err)
{
    char *program = NULL;
    const kn_status st = kn_layer_json(layer->layer, &program, err);
    if (st != KN_OK)
        return st;
    json_t *parsed = json_loads(program, 0, NULL);
    char *compact = parsed ? json_dumps(parsed, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    json_t *text = compact ? json_string(compact) : NULL;
    char *literal = text ? json_dumps(text, JSON_ENCODE_ANY | JSON_ENSURE_ASCII) : NULL;
    if (!literal)
        cli_no_memory();
    fprintf(out, "    %s,\n", literal);
    free(literal);
    json_decref(text);
    free(compact);
    json_decref(parsed);
    kn_string_free(program);
    return KN_OK;
}

static kn_status put_layers(FILE *out, const kn_package *package, kn_error *err)
{
    kn_status st = KN_OK;
    fputs(cli_pack_layers_py, out);
    fputs("_PROGRAMS = [json.loads(_text) for _text in (\n", out);
    for (size_t i = 0; st == KN_OK && i < kn_package_layer_count(package); ++i) {
        kn_package_layer layer = KN_PACKAGE_LAYER_INIT;
        st = kn_package_layer_get(package, i, &layer, err);
        if (st == KN_OK && is_python_name(layer.name))
            st = put_program(out, &layer, err);
    }
    fprintf(out,
            ")]\n_OPERATORS = {_program[\"name\"]: _define(\"%s\", _program) for _program in "
            "_PROGRAMS}\n",
            kn_package_id(package));
    for (size_t i = 0; st == KN_OK && i < kn_package_layer_count(package); ++i) {
        kn_package_layer layer = KN_PACKAGE_LAYER_INIT;
        st = kn_package_layer_get(package, i, &layer, err);
        if (st == KN_OK && is_python_name(layer.name))
            st = put_class(out, &layer, err);
    }
    return st;
}

static kn_status write_text(const char *dir, const char *name, FILE *stream, char **text,
                            size_t *size, kn_error *err)
{
    if (fclose(stream) != 0)
        cli_no_memory();
    char *path = cli_join(dir, name);
    const kn_status st = cli_write_file(path, *text, *size, err);
    free(path);
    free(*text);
    return st;
}

kn_status cli_pack_python(const kn_package *package, const char *dir, kn_error *err)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        cli_no_memory();
    put_init(out, package);
    kn_status st = write_text(dir, "__init__.py", out, &text, &size, err);
    if (st != KN_OK)
        return st;
    out = open_memstream(&text, &size);
    if (!out)
        cli_no_memory();
    st = put_layers(out, package, err);
    const kn_status written = write_text(dir, "layers.py", out, &text, &size, err);
    return st == KN_OK ? written : st;
}
