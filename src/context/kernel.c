#include "context/kernel.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/fs.h"

enum {
    FUNCTION_NAME_MAX = 200, // bytes
};

// The library by its real absolute path, whatever links lead to it.
static kn_status open_library(const kn_package *package, const kni_checked_file *checked,
                              kni_library *out, kn_error *err)
{
    char *real = NULL;
    char *path = kni_path_join(package->dir, package->library);
    kn_status st = path ? kni_path_real(path, &real, err) : kni_no_memory(err);
    if (st == KN_OK)
        st = kni_library_open(real, checked, out, err);
    kni_free(real);
    kni_free(path);
    return st;
}

static kn_kernel *new_kernel(kni_kernel_origin from)
{
    kn_kernel *kernel = kni_calloc(1, sizeof(*kernel));
    if (!kernel)
        return NULL;
    pthread_mutex_init(&kernel->lock, NULL); // the default kind cannot fail on Linux
    kernel->repo_id = kni_strdup(from.repo_id);
    kernel->revision = kni_strdup(from.revision);
    if (kernel->repo_id && kernel->revision)
        return kernel;
    kni_kernel_free(kernel);
    return NULL;
}

static void take(kn_kernel *kernel, kn_package *package, kni_checked *checked)
{
    kernel->package = package;
    kernel->is_hosted = checked->is_hosted;
    kernel->sums = checked->sums;
    kernel->notes = checked->notes;
    checked->sums = (kni_file_sums){.sha256 = NULL};
    checked->notes = (kni_names){NULL, 0, 0};
}

kn_status kni_kernel_load(kn_package *package, kni_checked *checked, const kni_tvm_ffi *tvm_ffi,
                          kni_kernel_origin from, kn_kernel **out, kn_error *err)
{
    *out = NULL;
    if (checked->library.fd < 0)
        return kn_error_set(err, KN_ERR_LOAD,
                            "%s: holds no native code, and this host loads nothing else",
                            package->dir);
    kn_kernel *kernel = new_kernel(from);
    if (!kernel)
        return kni_no_memory(err);
    kernel->tvm_ffi = tvm_ffi;
    const kn_status st = open_library(package, &checked->library, &kernel->library, err);
    if (st != KN_OK) {
        kni_kernel_free(kernel);
        return st;
    }
    take(kernel, package, checked);
    *out = kernel;
    return KN_OK;
}

kn_status kni_kernel_hold(kn_package *package, kni_checked *checked, bool is_planned,
                          kni_kernel_origin from, kn_kernel **out, kn_error *err)
{
    *out = new_kernel(from);
    if (!*out)
        return kni_no_memory(err);
    (*out)->is_planned = is_planned;
    take(*out, package, checked);
    return KN_OK;
}

bool kni_kernel_is_planned(const kn_kernel *kernel)
{
    return kernel->is_planned;
}

bool kn_kernel_is_hosted(const kn_kernel *kernel)
{
    return kernel->is_hosted;
}

void kni_kernel_raise_level(kn_kernel *kernel, kn_level level)
{
    int is = atomic_load(&kernel->level);
    while (is < (int)level && !atomic_compare_exchange_weak(&kernel->level, &is, (int)level)) {
    }
}

kn_level kn_kernel_level(const kn_kernel *kernel)
{
    return (kn_level)atomic_load(&((kn_kernel *)(uintptr_t)kernel)->level);
}

void kni_kernel_free(kn_kernel *kernel)
{
    if (!kernel)
        return;
    for (size_t i = 0; i < kernel->n_functions; ++i) {
        kni_free(kernel->functions[i]->name);
        kni_free(kernel->functions[i]);
    }
    kni_free(kernel->functions);
    kni_file_sums_dispose(&kernel->sums);
    kni_names_free(&kernel->notes);
    kn_package_close(kernel->package);
    kni_free(kernel->repo_id);
    kni_free(kernel->revision);
    pthread_mutex_destroy(&kernel->lock);
    kni_free(kernel);
}

const kn_package *kn_kernel_package(const kn_kernel *kernel)
{
    return kernel->package;
}

const char *kn_kernel_repo_id(const kn_kernel *kernel)
{
    return kernel->repo_id;
}

const char *kn_kernel_revision(const kn_kernel *kernel)
{
    return kernel->revision;
}

static const kn_function *find_function(const kn_kernel *kernel, const char *name)
{
    for (size_t i = 0; i < kernel->n_functions; ++i)
        if (strcmp(kernel->functions[i]->name, name) == 0)
            return kernel->functions[i];
    return NULL;
}

// Keeps a function for the kernel's life. NULL without memory.
static const kn_function *add_function(kn_kernel *kernel, const char *name, void *symbol)
{
    void *array = kernel->functions;
    if (!kni_grow(&array, &kernel->functions_capacity, kernel->n_functions + 1,
                  sizeof(kn_function *)))
        return NULL;
    kernel->functions = array;
    kn_function *function = kni_calloc(1, sizeof(*function));
    if (!function)
        return NULL;
    function->name = kni_strdup(name);
    if (!function->name) {
        kni_free(function);
        return NULL;
    }
    function->tvm_ffi = kernel->tvm_ffi;
    memcpy(&function->call, &symbol, sizeof(symbol)); // a function pointer, as POSIX allows
    kernel->functions[kernel->n_functions++] = function;
    return function;
}

kn_status kn_kernel_function(const kn_kernel *kernel, const char *name, const kn_function **out,
                             kn_error *err)
{
    char symbol_name[sizeof(KNI_FUNCTION_PREFIX) + FUNCTION_NAME_MAX];
    if (!out)
        return kn_error_set(err, KN_ERR_INVALID, "kn_kernel_function: out is NULL");
    *out = NULL;
    if (!kernel || !name)
        return kn_error_set(err, KN_ERR_INVALID, "kn_kernel_function: an argument is NULL");
    const size_t size = strlen(name);
    if (size == 0 || size > FUNCTION_NAME_MAX)
        return kn_error_set(err, KN_ERR_NOT_FOUND,
                            "%s: no function of %zu characters: expected 1 to %d",
                            kernel->package->dir, size, FUNCTION_NAME_MAX);
    if (kernel->is_hosted)
        return kn_error_set(err, KN_ERR_UNSUPPORTED,
                            "%s: is a package that the host imports: it has no functions to call "
                            "from C",
                            kernel->package->dir);
    if (kni_kernel_is_planned(kernel))
        return kn_error_set(err, KN_ERR_LOAD,
                            "%s: is planned for a device that is not here: its code is not loaded",
                            kernel->package->dir);
    memcpy(symbol_name, KNI_FUNCTION_PREFIX, sizeof(KNI_FUNCTION_PREFIX));
    memcpy(symbol_name + sizeof(KNI_FUNCTION_PREFIX) - 1, name, size + 1);

    kn_kernel *own = (kn_kernel *)(uintptr_t)kernel; // what it is to its users does not change
    void *symbol = NULL;
    pthread_mutex_lock(&own->lock);
    *out = find_function(own, name);
    if (!*out) {
        symbol = kni_library_symbol(&own->library, symbol_name);
        *out = symbol ? add_function(own, name, symbol) : NULL;
    }
    pthread_mutex_unlock(&own->lock);
    if (*out)
        return KN_OK;
    if (symbol)
        return kni_no_memory(err);
    return kn_error_set(err, KN_ERR_NOT_FOUND, "%s: %s has no function '%s' (no symbol %s)",
                        kernel->package->dir, kernel->package->library, name, symbol_name);
}

kn_status kn_function_call(const kn_function *function, const kn_value *args, int32_t n_args,
                           kn_value *result, kn_error *err)
{
    if (result)
        *result = kn_none();
    if (!function || n_args < 0 || (!args && n_args > 0))
        return kn_error_set(err, KN_ERR_INVALID, "kn_function_call: an argument is missing");
    TVMFFIAny returned = {.type_index = kTVMFFINone};
    const int code = function->call(NULL, (const TVMFFIAny *)(const void *)args, n_args, &returned);
    return kni_function_finish(function, code, &returned, result, err);
}
