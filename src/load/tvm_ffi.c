#include "load/tvm_ffi.h"

#include <dlfcn.h>
#include <glob.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/fs.h"

#define TVM_FFI_SONAME "libtvm_ffi.so"

// The library's constructor sets the handler of SIGSEGV, for backtraces; the process's signals are not its to take. Handlers
// are process-wide, so one thread at a time opens and restores.
static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;

static void *open_with_signals_restored(const char *path)
{
    struct sigaction before[NSIG], after;
    bool known[NSIG] = {false};
    for (int number = 1; number < NSIG; ++number)
        known[number] = sigaction(number, NULL, &before[number]) == 0;
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    for (int number = 1; number < NSIG; ++number)
        if (known[number] && sigaction(number, NULL, &after) == 0 &&
            (after.sa_handler != before[number].sa_handler ||
             after.sa_flags != before[number].sa_flags))
            sigaction(number, &before[number], NULL);
    return handle;
}

// Is the loaded object the file at `path`?
static bool is_file(void *handle, const char *path)
{
    struct link_map *map = NULL;
    struct stat loaded, named;
    return dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && stat(map->l_name, &loaded) == 0 &&
           stat(path, &named) == 0 && loaded.st_dev == named.st_dev &&
           loaded.st_ino == named.st_ino;
}

// The file of this library, or of the program that it is linked into, real; NULL when it cannot be told.
static kn_status own_file(char **out, kn_error *err)
{
    static const char here = 0;
    Dl_info info;
    struct link_map *map = NULL;
    kn_error why = KN_ERROR_INIT;
    *out = NULL;
    if (dladdr1(&here, &info, (void **)&map, RTLD_DL_LINKMAP) == 0 || !map)
        return KN_OK;
    const kn_status st = kni_path_real(map->l_name[0] ? map->l_name : "/proc/self/exe", out, &why);
    kn_error_dispose(&why);
    return st == KN_ERR_NO_MEMORY ? kni_no_memory(err) : KN_OK;
}

// The first file below `dir` that matches the pattern; *out is NULL where there is none.
static kn_status first_match(const char *dir, const char *pattern, char **out, kn_error *err)
{
    char *path = kni_path_join(dir, pattern);
    if (!path)
        return kni_no_memory(err);
    // What is to be matched in the directory's own name, nobody means as a pattern.
    if (!strchr(pattern, '*') || strpbrk(dir, "*?[\\")) {
        if (kni_file_exists(path))
            *out = path;
        else
            kni_free(path);
        return KN_OK;
    }
    glob_t found;
    kn_status st = KN_OK;
    const int failed = glob(path, 0, NULL, &found);
    kni_free(path);
    if (failed == GLOB_NOSPACE)
        return kni_no_memory(err);
    if (!failed && found.gl_pathc > 0 && !(*out = kni_strdup(found.gl_pathv[0])))
        st = kni_no_memory(err);
    globfree(&found);
    return st;
}

// The copy that is installed with this library: beside it, or in lib/ beside a program's bin/; of a program that pip installed, in the
// Python package apache-tvm-ffi of the same prefix or directory. NULL: there is none, and the dynamic linker is asked. (Its own
// $ORIGIN would do, but a sanitizer's dlopen is not called from here.)
static kn_status own_copy(char **out, kn_error *err)
{
    static const char *const places[] = {TVM_FFI_SONAME, "../lib/" TVM_FFI_SONAME,
                                         "../lib/python3*/*-packages/tvm_ffi/lib/" TVM_FFI_SONAME,
                                         "../tvm_ffi/lib/" TVM_FFI_SONAME};
    char *file = NULL, *dir = NULL;
    *out = NULL;
    kn_status st = own_file(&file, err);
    if (st == KN_OK && file) {
        dir = kni_path_dirname(file);
        st = dir ? KN_OK : kni_no_memory(err);
    }
    for (size_t i = 0; st == KN_OK && dir && !*out && i < KN_LEN(places); ++i)
        st = first_match(dir, places[i], out, err);
    kni_free(dir);
    kni_free(file);
    return st;
}

static kn_status open_library(const char *path, void **handle, bool *was_loaded, kn_error *err)
{
    char *own = NULL;
    kn_status st = path ? KN_OK : own_copy(&own, err);
    if (st != KN_OK)
        return st;
    const char *wanted = path ? path : own ? own : TVM_FFI_SONAME;
    pthread_mutex_lock(&opening);
    *handle = dlopen(TVM_FFI_SONAME, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
    *was_loaded = *handle != NULL;
    if (!*handle)
        *handle = open_with_signals_restored(wanted);
    const char *why = *handle ? NULL : dlerror();
    pthread_mutex_unlock(&opening);
    if (!*handle)
        st = kn_error_set(err, KN_ERR_LOAD,
                          "libtvm_ffi cannot be opened: %s (it belongs beside libkernels.so; or "
                          "give its path in the context's options)",
                          why ? why : "no reason given");
    // Two copies in one process would each hold a raised error of their own.
    else if (*was_loaded && path && !is_file(*handle, path))
        st = kn_error_set(err, KN_ERR_LOAD,
                          "%s: another copy of libtvm_ffi is loaded in this process already: "
                          "leave the path out to use it",
                          path);
    kni_free(own);
    return st;
}

static kn_status find_symbol(void *handle, const char *name, void *out, kn_error *err)
{
    void *symbol = dlsym(handle, name);
    if (!symbol)
        return kn_error_set(err, KN_ERR_LOAD, "libtvm_ffi has no symbol %s: expected version %d.%d",
                            name, TVM_FFI_VERSION_MAJOR, TVM_FFI_VERSION_MINOR);
    memcpy(out, &symbol, sizeof(symbol)); // a function pointer, as POSIX allows
    return KN_OK;
}

kn_status kni_tvm_ffi_open(const char *path, kni_tvm_ffi *out, kn_error *err)
{
    kni_tvm_ffi api = {.path = ""};
    void (*get_version)(TVMFFIVersion *) = NULL;
    void *handle = NULL;
    kn_status st = open_library(path, &handle, &api.was_loaded, err);
    if (st == KN_OK)
        st = find_symbol(handle, "TVMFFIGetVersion", &get_version, err);
    if (st == KN_OK)
        st = find_symbol(handle, "TVMFFIObjectDecRef", &api.object_dec_ref, err);
    if (st == KN_OK)
        st = find_symbol(handle, "TVMFFIErrorMoveFromRaised", &api.error_move_from_raised, err);
    if (st != KN_OK || !get_version)
        return st; // what was opened stays: threads may run in it
    get_version(&api.version);
    struct link_map *map = NULL;
    api.path = dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map->l_name ? map->l_name : "";
    // The C ABI that the layouts here were compiled against.
    if (api.version.major != TVM_FFI_VERSION_MAJOR || api.version.minor < TVM_FFI_VERSION_MINOR)
        return kn_error_set(err, KN_ERR_LOAD,
                            "libtvm_ffi has version %u.%u.%u: expected %d.%d or a newer minor",
                            api.version.major, api.version.minor, api.version.patch,
                            TVM_FFI_VERSION_MAJOR, TVM_FFI_VERSION_MINOR);
    *out = api;
    return KN_OK;
}
