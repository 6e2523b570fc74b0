/* The packaged objects, as a loader sees them: what they export and need, and that their layers name what is there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <elf.h>
#include <jansson.h>
#include <kernels/layer.h>

static const char *const families[] = {"activation", "normalization", "rotary"};

static unsigned char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    unsigned char *data = NULL;
    if (!file)
        fail_msg("cannot open %s", path);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    const long length = ftell(file);
    assert_true(length > 0);
    rewind(file);
    data = malloc((size_t)length);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, (size_t)length, file), length);
    fclose(file);
    *size = (size_t)length;
    return data;
}

static bool may_need(const char *name)
{
    static const char *const allowed[] = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "libgomp.so.1",
                                          "libtvm_ffi.so"};
    for (size_t i = 0; i < KN_LEN(allowed); ++i)
        if (strcmp(name, allowed[i]) == 0)
            return true;
    return false;
}

static void check_symbols(const Elf64_Sym *symbols, size_t n, const char *names)
{
    size_t n_functions = 0;
    for (size_t i = 1; i < n; ++i) {
        const char *name = names + symbols[i].st_name;
        if (ELF64_ST_BIND(symbols[i].st_info) == STB_GNU_UNIQUE)
            fail_msg("%s is a unique symbol: two packages would share it", name);
        if (symbols[i].st_shndx == SHN_UNDEF)
            continue;
        if (strncmp(name, "__tvm_ffi_", 10) != 0)
            fail_msg("%s leaves the object", name);
        ++n_functions;
    }
    assert_true(n_functions > 0);
}

static void check_dynamic(const Elf64_Dyn *entry, const Elf64_Dyn *end, const char *names)
{
    bool needs_tvm_ffi = false;
    for (; entry < end && entry->d_tag != DT_NULL; ++entry) {
        if (entry->d_tag == DT_RPATH || entry->d_tag == DT_RUNPATH)
            fail_msg("the object has a search path: %s", names + entry->d_un.d_val);
        if (entry->d_tag != DT_NEEDED)
            continue;
        const char *name = names + entry->d_un.d_val;
        if (!may_need(name))
            fail_msg("the object needs %s", name);
        needs_tvm_ffi = needs_tvm_ffi || strcmp(name, "libtvm_ffi.so") == 0;
    }
    assert_true(needs_tvm_ffi);
}

/* The build's own objects: well formed, so offsets are not checked here. */
static void test_exports_and_needs(void **state)
{
    (void)state;
    for (size_t f = 0; f < KN_LEN(families); ++f) {
        char path[512];
        size_t size, n_checked = 0;
        print_message("  %s\n", families[f]);
        (void)snprintf(path, sizeof(path), "%s/%s.so", KN_TEST_PACKAGES_BUILD, families[f]);
        unsigned char *data = read_file(path, &size);
        Elf64_Ehdr header;
        memcpy(&header, data, sizeof(header));
        assert_memory_equal(header.e_ident, ELFMAG, SELFMAG);
        Elf64_Shdr *sections = calloc(header.e_shnum, sizeof(*sections));
        assert_non_null(sections);
        memcpy(sections, data + header.e_shoff, header.e_shnum * sizeof(*sections));
        for (size_t i = 0; i < header.e_shnum; ++i) {
            const Elf64_Shdr *s = &sections[i];
            if (s->sh_type != SHT_DYNSYM && s->sh_type != SHT_DYNAMIC)
                continue;
            void *content = malloc(s->sh_size); // aligned, unlike the file
            const char *names = (const char *)data + sections[s->sh_link].sh_offset;
            assert_non_null(content);
            memcpy(content, data + s->sh_offset, s->sh_size);
            if (s->sh_type == SHT_DYNSYM)
                check_symbols(content, s->sh_size / sizeof(Elf64_Sym), names);
            else
                check_dynamic(content, (const Elf64_Dyn *)content + s->sh_size / sizeof(Elf64_Dyn),
                              names);
            free(content);
            ++n_checked;
        }
        assert_int_equal(n_checked, 2);
        free(sections);
        free(data);
    }
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* Every layer parses, and the functions of its calls are in the object. */
static void test_layers(void **state)
{
    (void)state;
    for (size_t f = 0; f < KN_LEN(families); ++f) {
        char path[512];
        json_error_t where;
        const char *name;
        json_t *spec;
        (void)snprintf(path, sizeof(path), "%s/%s/layers.json", KN_TEST_PACKAGES_SOURCE,
                       families[f]);
        json_t *layers = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
        if (!layers)
            fail_msg("%s:%d: %s", path, where.line, where.text);
        (void)snprintf(path, sizeof(path), "%s/%s.so", KN_TEST_PACKAGES_BUILD, families[f]);
        void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!object)
            fail_msg("%s", dlerror());
        json_object_foreach(layers, name, spec)
        {
            const json_t *backward = json_object_get(spec, "backward");
            kn_error err = KN_ERROR_INIT;
            kn_layer *layer = NULL;
            print_message("  %s\n", name);
            if (kn_layer_parse(KN_LAYER_SPEC(.name = name, .signature = text_of(spec, "signature"),
                                             .members = text_of(spec, "members"),
                                             .forward = text_of(spec, "forward"),
                                             .backward_signature = text_of(backward, "signature"),
                                             .backward = text_of(backward, "call")),
                               &layer, &err) != KN_OK)
                fail_msg("%s", kn_error_text(&err));
            for (int back = 0; back <= kn_layer_has_backward(layer); ++back) {
                char symbol[200];
                (void)snprintf(symbol, sizeof(symbol), "__tvm_ffi_%s",
                               kn_layer_function(layer, back));
                if (!dlsym(object, symbol))
                    fail_msg("%s is not in %s", symbol, path);
            }
            kn_layer_unref(layer);
        }
        json_decref(layers);
        dlclose(object);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exports_and_needs),
        cmocka_unit_test(test_layers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
