// Packages with Python in them: which of them the host imports itself, and how they are called.
#include <string.h>

#include "base/alloc.h"
#include "package/package.h"
#include "package/variant.h"

#define MODULE "__init__.py"

// "/path/relu/build/torch-cpu" and "/path/relu/torch-cpu": "relu".
static kni_span name_of_directory(const char *dir)
{
    kni_span rest = kni_span_of(dir), part, last = {NULL, 0}, before = last, first = last;
    while (kni_span_cut(&rest, '/', &part)) {
        first = before;
        before = last;
        last = part;
    }
    return kni_span_is(before, "build") ? first : before;
}

// By metadata.json, else by where it is.
static kni_span name_of(const kn_package *package)
{
    if (package->metadata.name && package->metadata.name[0])
        return kni_span_of(package->metadata.name);
    return package->origin ? kni_span_of(strchr(package->origin->repo.id, '/') + 1)
                           : name_of_directory(package->dir);
}

// Python's name of a package has '_' where its own has '-'.
static bool is_called(const char *directory, size_t size, kni_span name)
{
    for (size_t i = 0; i < size && size == name.size; ++i)
        if (directory[i] != (name.data[i] == '-' ? '_' : name.data[i]))
            return false;
    return size == name.size;
}

const char *kni_module_find(const kn_package *package, const kni_names *files)
{
    const char *nested = "";
    size_t n_nested = 0;
    bool is_own = false;
    for (size_t i = 0; i < files->count; ++i) {
        const char *name = files->names[i], *slash = strchr(name, '/');
        if (strcmp(name, MODULE) == 0)
            return name;
        if (!slash || strcmp(slash + 1, MODULE) != 0 || is_own)
            continue;
        is_own = is_called(name, (size_t)(slash - name), name_of(package));
        nested = name;
        ++n_nested;
    }
    return is_own || n_nested == 1 ? nested : "";
}

char *kni_module_name(const kn_package *package)
{
    const char *slash = strchr(package->module, '/');
    const kni_span name =
        slash ? (kni_span){package->module, (size_t)(slash - package->module)} : name_of(package);
    char *text = kni_strndup(name.size ? name.data : "", name.size);
    for (char *p = text; p && *p; ++p)
        *p = *p == '_' ? '-' : *p;
    return text;
}

bool kni_package_is_hosted(const kn_package *package, const kn_target *target)
{
    kni_variant variant;
    if (target->torch_major == 0 ||
        kni_variant_parse(kni_span_of(package->variant), &variant, NULL) != KN_OK)
        return false;
    if (variant.framework != KNI_FRAMEWORK_TVM_FFI)
        return true;
    return package->metadata.n_layers == 0 && package->module[0];
}
