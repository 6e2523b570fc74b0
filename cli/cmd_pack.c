// kernels pack: a build variant from a shared object and layers.json.
#include <ctype.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tvm/ffi/c_api.h>
#include <unistd.h>

#include <kernels/package.h>

#include "files.h"
#include "options.h"
#include "output.h"
#include "pack_python.h"
#include "trial.h"
#include "verbs.h"

// What stands in variant names, with its version or without; in metadata.json; and to kn_machine_parse.
typedef struct backend {
    const char *prefix, *type, *device;
    size_t least_digits; // of the version; 0: there is none
} backend;
static const backend backends[] = {
    {"cpu", "cpu", "cpu", 0},          {"cu", "cuda", "cuda", 3},  {"rocm", "rocm", "rocm", 2},
    {"xpu", "xpu", "xpu", 5},          {"cann", "cann", "npu", 2}, {"metal", "metal", "mps", 0},
    {"neuron", "neuron", "neuron", 0}, {"tpu", "tpu", "tpu", 0},
};

typedef struct pack {
    // What was asked for.
    const char *name, *version, *layers, *library, *out, *backend, *card, *license;
    cli_texts features;
    const backend *kind; // of the backend that was asked for
    bool no_run, json;
    // What becomes of it.
    char *root;    // the temporary package, absolute
    char *variant; // its name
    char *dir;     // root/build/variant
    char *object;  // the library's name in it
    json_t *metadata;
    const char *not_run; // why the layers did not run; NULL: they did
    cli_trial_counts counts;
    kn_error *err;
} pack;

static const backend *find_backend(const char *text)
{
    for (size_t i = 0; i < KN_LEN(backends); ++i) {
        const backend *b = &backends[i];
        const size_t size = strlen(b->prefix);
        const char *digits = text + size;
        if (strncmp(text, b->prefix, size) == 0 && strspn(digits, "0123456789") == strlen(digits) &&
            strlen(digits) <= 8 && strlen(digits) >= b->least_digits &&
            (b->least_digits || !digits[0]))
            return b;
    }
    return NULL;
}

static kn_status check_options(pack *p)
{
    const size_t size = p->name ? strlen(p->name) : 0;
    const char *version = p->version;
    static const char letters[] = "-abcdefghijklmnopqrstuvwxyz0123456789";
    if (!p->name || !p->version || !p->layers || !p->library || !p->out)
        return kn_error_set(p->err, KN_ERR_INVALID,
                            "--name, --version, --layers, --library and --out are all needed, see "
                            "'kernels pack --help'");
    if (size < 2 || size > 100 || !islower((unsigned char)p->name[0]) || p->name[size - 1] == '-' ||
        strspn(p->name, letters) != size)
        return kn_error_set(p->err, KN_ERR_INVALID,
                            "--name '%s': accepted are 2 to 100 lower-case letters, digits and "
                            "'-', beginning with a letter and not ending with '-'",
                            p->name);
    if (!version[0] || strlen(version) > 9 || strspn(version, "0123456789") != strlen(version))
        return kn_error_set(p->err, KN_ERR_INVALID,
                            "--version '%s': accepted is a whole number below 1000000000", version);
    p->kind = find_backend(p->backend);
    if (!p->kind)
        return kn_error_set(p->err, KN_ERR_INVALID,
                            "--backend '%s': accepted are cpu, cu128 (CUDA 12.8), rocm63, "
                            "xpu20252, cann83, metal, neuron and tpu",
                            p->backend);
    return KN_OK;
}

static json_t *texts_json(const cli_texts *texts)
{
    json_t *array = cli_json_array();
    for (size_t i = 0; i < texts->count; ++i)
        cli_json_add(array, cli_json_text(texts->items[i]));
    return array;
}

static kn_status read_layers(const pack *p, json_t **out)
{
    json_error_t why;
    char *text = NULL;
    size_t size = 0;
    kn_status st = cli_read_file(p->layers, &text, &size, p->err);
    if (st != KN_OK)
        return st;
    *out = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
    free(text);
    if (!*out)
        return kn_error_set(p->err, KN_ERR_FORMAT, "%s: line %d, column %d: %s", p->layers,
                            why.line, why.column, why.text);
    if (json_is_object(*out) && json_object_size(*out) > 0)
        return KN_OK;
    json_decref(*out);
    *out = NULL;
    return kn_error_set(p->err, KN_ERR_FORMAT,
                        "%s: expected an object with one member for each layer", p->layers);
}

static kn_status write_metadata(const pack *p)
{
    // 15 digits: numbers as they were written.
    char *text = json_dumps(p->metadata, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    char *path = cli_join(p->dir, "metadata.json");
    if (!text)
        cli_no_memory();
    const kn_status st = cli_write_file(path, text, strlen(text), p->err);
    free(path);
    free(text);
    return st;
}

// A name that no other content has: of all that the variant is made from.
static kn_status make_id(const pack *p, char *out, size_t size)
{
    char *path = cli_join(p->dir, p->object), *library = NULL;
    char hex[CLI_SHA256_HEX_SIZE];
    size_t library_size = 0;
    const kn_status st = cli_read_file(path, &library, &library_size, p->err);
    if (st == KN_OK) {
        cli_sha256_hex(library, library_size, hex);
        char *metadata = json_dumps(p->metadata, JSON_COMPACT);
        if (!metadata)
            cli_no_memory();
        char *whole = cli_format("%s %s %s %s", kn_version(), p->variant, hex, metadata);
        cli_sha256_hex(whole, strlen(whole), hex);
        snprintf(out, size, "_%s_%.16s", p->name, hex);
        for (char *at = out; *at; ++at)
            *at = *at == '-' ? '_' : *at; // it is a module's name to Python
        free(whole);
        free(metadata);
    }
    free(library);
    free(path);
    return st;
}

static kn_status describe(pack *p)
{
    json_t *layers = NULL, *type = cli_json_object();
    char id[160];
    kn_status st = read_layers(p, &layers);
    cli_json_set(type, "type", cli_json_text(p->kind->type));
    cli_json_set(type, "archs", cli_json_array()); // until the library can be asked
    p->metadata = cli_json_object();
    cli_json_set(p->metadata, "name", cli_json_text(p->name));
    cli_json_set(p->metadata, "version", json_integer(atoi(p->version)));
    cli_json_set(p->metadata, "license", cli_json_text(p->license));
    cli_json_set(p->metadata, "python-depends", cli_json_array());
    cli_json_set(p->metadata, "backend", type);
    cli_json_set(p->metadata, "library", cli_json_text(p->object));
    cli_json_set(p->metadata, "cpu-features", texts_json(&p->features));
    if (st == KN_OK) {
        cli_json_set(p->metadata, "layers", layers);
        st = make_id(p, id, sizeof(id));
    }
    if (st == KN_OK)
        cli_json_set(p->metadata, "id", cli_json_text(id));
    return st;
}

// What is wrong with a layer was written in layers.json.
static kn_status open_package(const pack *p, kn_package **out)
{
    static const char place[] = "metadata.json: layers.";
    kn_error why = KN_ERROR_INIT;
    const kn_status st = kn_package_open(p->dir, out, &why);
    if (st == KN_OK)
        return st;
    const char *text = kn_error_text(&why), *at = strstr(text, place);
    if (at)
        kn_error_set(p->err, st, "%s: %s", p->layers, at + strlen(place));
    else
        kn_error_set(p->err, st, "%s", text);
    kn_error_dispose(&why);
    return st;
}

// The library is refused. What its name is while it is packed is of no interest to anybody.
static void refuse_library(const pack *p, kn_error *why)
{
    const char *text = kn_error_text(why);
    const size_t dir = strlen(p->dir), object = strlen(p->object);
    if (strncmp(text, p->dir, dir) == 0) {
        text += dir;
        if (text[0] == '/' && strncmp(text + 1, p->object, object) == 0)
            text += 1 + object;
        text += strspn(text, ": ");
    }
    kn_error_set(p->err, why->status, "%s is refused: %s", p->library, text);
}

// Of the code that is really in the library.
static kn_status add_archs(const pack *p, const kn_package *package)
{
    char *words = NULL;
    kn_error why = KN_ERROR_INIT;
    const kn_status st = kn_package_read_archs(package, &words, &why);
    if (st != KN_OK)
        refuse_library(p, &why);
    kn_error_dispose(&why);
    char *rest = NULL;
    json_t *archs = cli_json_array();
    for (char *word = st == KN_OK ? strtok_r(words, " ", &rest) : NULL; word;
         word = strtok_r(NULL, " ", &rest))
        cli_json_add(archs, cli_json_text(word));
    cli_json_set(json_object_get(p->metadata, "backend"), "archs", archs);
    kn_string_free(words);
    return st;
}

static kn_status add_digests(pack *p)
{
    const char *const files[] = {p->object, "__init__.py", "layers.py"};
    json_t *block = cli_json_object(), *digests = cli_json_object();
    kn_status st = KN_OK;
    for (size_t i = 0; st == KN_OK && i < KN_LEN(files); ++i) {
        char *path = cli_join(p->dir, files[i]), *data = NULL;
        char digest[CLI_SHA256_BASE64_SIZE];
        size_t size = 0;
        st = cli_read_file(path, &data, &size, p->err);
        if (st == KN_OK) {
            cli_sha256_base64(data, size, digest);
            cli_json_set(digests, files[i], cli_json_text(digest));
        }
        free(data);
        free(path);
    }
    cli_json_set(block, "algorithm", cli_json_text("sha256"));
    cli_json_set(block, "files", digests);
    cli_json_set(p->metadata, "digest", block);
    return st;
}

// The library, and metadata without digests; then what is made from them; then the digests.
static kn_status fill(pack *p)
{
    kn_package *package = NULL;
    char *object = cli_join(p->dir, p->object);
    kn_status st = cli_make_dir(p->dir, p->err);
    if (st == KN_OK)
        st = cli_copy_file(p->library, object, p->err);
    if (st == KN_OK)
        st = describe(p);
    if (st == KN_OK)
        st = write_metadata(p);
    if (st == KN_OK)
        st = open_package(p, &package);
    if (st == KN_OK)
        st = add_archs(p, package);
    if (st == KN_OK)
        st = cli_pack_python(package, p->dir, p->err);
    if (st == KN_OK)
        st = add_digests(p);
    if (st == KN_OK)
        st = write_metadata(p);
    kn_package_close(package);
    free(object);
    return st;
}

// Was it only this CPU that was refused, for a feature that the package declares?
static bool is_other_cpu(const kn_trace *trace)
{
    const size_t count = kn_trace_count(trace);
    const kn_trace_entry last = kn_trace_get(trace, count ? count - 1 : 0);
    return !last.accepted && strcmp(last.rule, "features") == 0;
}

// As a loader would. *runs: this machine can run it.
static kn_status check(const pack *p, bool *runs)
{
    kn_package *package = NULL;
    kn_machine *machine = NULL;
    kn_target target;
    kn_trace *trace = kn_trace_new();
    kn_error why = KN_ERROR_INIT;
    if (!trace)
        cli_no_memory();
    kn_status st = open_package(p, &package);
    kn_device_type type = KN_DEVICE_CPU;
    if (st == KN_OK)
        st = kn_device_type_parse(p->kind->device, &type, p->err);
    if (st == KN_OK) // a device of which nothing but its type is known contradicts no code
        st = type == KN_DEVICE_CPU ? kn_machine_probe(&machine, p->err)
                                   : kn_machine_parse(p->kind->device, &machine, p->err);
    if (st == KN_OK)
        st = kn_target_init(machine, type, 0, &target, p->err);
    if (st == KN_OK) {
        st = kn_package_check(package, &target, NULL, trace, &why);
        *runs = st == KN_OK;
        if (st == KN_ERR_INCOMPATIBLE && is_other_cpu(trace))
            st = KN_OK;
        if (st != KN_OK)
            refuse_library(p, &why);
    }
    kn_error_dispose(&why);
    kn_machine_unref(machine);
    kn_package_close(package);
    kn_trace_free(trace);
    return st;
}

// metadata.json says whether the layers ran.
static kn_status run_layers(pack *p)
{
    bool runs = false;
    json_t *trial = cli_json_object();
    kn_status st = check(p, &runs);
    p->not_run = p->no_run                             ? "--no-run was given"
                 : strcmp(p->kind->device, "cpu") != 0 ? "layers are run on the CPU alone"
                 : !runs ? "this machine's CPU lacks a feature that it needs"
                         : NULL;
    if (st == KN_OK && !p->not_run)
        st = cli_trial_package(p->root, &p->counts, p->err);
    cli_json_set(trial, "layers-ran", json_boolean(!p->not_run));
    cli_json_set(trial, "reason", cli_json_text(p->not_run));
    cli_json_set(p->metadata, "trial", trial);
    return st == KN_OK ? write_metadata(p) : st;
}

// The variant, then the CARD: each whole.
static kn_status put_in_place(const pack *p)
{
    char *build = cli_join(p->out, "build"), *to = cli_join(build, p->variant);
    char *card = cli_join(p->out, "CARD.md"), *new_card = cli_join(p->root, "CARD.md");
    kn_status st = cli_make_dir(build, p->err);
    if (st == KN_OK && p->card)
        st = cli_copy_file(p->card, new_card, p->err);
    if (st == KN_OK)
        st = cli_put_in_place(p->dir, to, p->err);
    if (st == KN_OK && p->card)
        st = cli_put_in_place(new_card, card, p->err);
    free(new_card);
    free(card);
    free(to);
    free(build);
    return st;
}

static kn_status make_root(pack *p)
{
    char *made = NULL;
    kn_status st = cli_make_dir(p->out, p->err);
    if (st == KN_OK)
        st = cli_make_temporary(p->out, &made, p->err);
    if (st == KN_OK) {
        p->root = realpath(made, NULL);
        if (!p->root)
            cli_no_memory();
        p->dir = cli_format("%s/build/%s", p->root, p->variant);
    }
    free(made);
    return st;
}

static void report(const pack *p)
{
    const size_t n_layers = json_object_size(json_object_get(p->metadata, "layers"));
    const char *plural = n_layers == 1 ? "" : "s";
    if (p->json) {
        json_t *root = cli_json_object(), *trial = cli_json_object();
        char *path = cli_format("%s/build/%s", p->out, p->variant);
        cli_json_set(root, "path", cli_json_text(path));
        cli_json_set(root, "variant", cli_json_text(p->variant));
        cli_json_set(root, "id", json_incref(json_object_get(p->metadata, "id")));
        cli_json_set(root, "layers", json_integer((json_int_t)n_layers));
        cli_json_set(trial, "layers_ran", json_boolean(!p->not_run));
        cli_json_set(trial, "reason", cli_json_text(p->not_run));
        cli_json_set(trial, "forward_calls", json_integer((json_int_t)p->counts.forward));
        cli_json_set(trial, "backward_calls", json_integer((json_int_t)p->counts.backward));
        cli_json_set(root, "trial", trial);
        cli_json(root);
        free(path);
    } else if (p->not_run) {
        cli_line("%s/build/%s: %zu layer%s, not run: %s", p->out, p->variant, n_layers, plural,
                 p->not_run);
    } else {
        cli_line("%s/build/%s: %zu layer%s, run forward %zu and backward %zu times", p->out,
                 p->variant, n_layers, plural, p->counts.forward, p->counts.backward);
    }
}

static kn_status make(pack *p)
{
    kn_machine *machine = NULL;
    kn_status st = kn_machine_probe(&machine, p->err);
    if (st != KN_OK)
        return st;
    p->variant = cli_format("tvm-ffi%d%d-%s-%s-%s", TVM_FFI_VERSION_MAJOR, TVM_FFI_VERSION_MINOR,
                            p->backend, kn_machine_cpu_arch(machine), kn_machine_os(machine));
    p->object = cli_format("%s.so", p->name);
    kn_machine_unref(machine);
    st = make_root(p);
    if (st == KN_OK)
        st = fill(p);
    if (st == KN_OK)
        st = run_layers(p);
    if (st == KN_OK)
        st = put_in_place(p);
    if (st == KN_OK)
        report(p);
    if (p->root)
        cli_remove_tree(p->root);
    json_decref(p->metadata);
    free(p->root);
    free(p->variant);
    free(p->dir);
    free(p->object);
    return st;
}

int cli_cmd_pack(int argc, char **argv)
{
    kn_error err = KN_ERROR_INIT;
    pack p = {.err = &err};
    const cli_option options[] = {
        {"name", "NAME", "the package's name (needed)", NULL, &p.name, NULL},
        {"version", "N", "the package's version, a whole number (needed)", NULL, &p.version, NULL},
        {"layers", "FILE", "layers.json: what the library's layers are (needed)", NULL, &p.layers,
         NULL},
        {"library", "FILE", "the shared object with their functions (needed)", NULL, &p.library,
         NULL},
        {"out", "DIR", "the package's directory; DIR/build/<variant> is made (needed)", NULL,
         &p.out, NULL},
        {"backend", "NAME", "what the library is for: cpu (default), cu128, rocm63, …", NULL,
         &p.backend, NULL},
        {"card", "FILE", "the package's CARD.md", NULL, &p.card, NULL},
        {"license", "TEXT", "an SPDX expression (default: NOASSERTION)", NULL, &p.license, NULL},
        {"cpu-feature", "NAME", "an instruction set that the code uses unasked; repeatable", NULL,
         NULL, &p.features},
        {"no-run", NULL, "do not run the layers; metadata.json will say so", &p.no_run, NULL, NULL},
        {"json", NULL, "say what was made as JSON", &p.json, NULL, NULL},
    };
    const cli_usage usage = {
        "pack", NULL,
        "Makes a build variant: library, metadata.json with digests, __init__.py, layers.py. Each "
        "layer "
        "is run\nonce for every combination of data types that its signature admits; what a loader "
        "would refuse, and a\nlayer that fails, is refused here, and what was there before "
        "stays.\n\n"
        "Exit status: 0 made, 1 refused, 2 wrong use.",
        options, KN_LEN(options)};
    int status = CLI_YES;
    if (cli_parse(&usage, argc, argv, NULL, &status)) {
        p.backend = p.backend ? p.backend : "cpu";
        p.license = p.license ? p.license : "NOASSERTION";
        if (check_options(&p) != KN_OK)
            status = CLI_TROUBLE;
        else if (make(&p) != KN_OK)
            status = CLI_NO;
        if (status != CLI_YES)
            cli_fail_error("pack", &err);
    }
    cli_texts_free(&p.features);
    return status;
}
