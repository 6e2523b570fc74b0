#include "package/elf_check.h"

#include <string.h>

#include "base/str.h"

// With a '*' where the version stands.
static const char *const may_need[] = {
    // the C library's family, compiler run-time libraries
    "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1", "libgcc_s.so.1", "libstdc++.so.6", "libgomp.so.1",
    // the calling convention
    "libtvm_ffi.so",
    // CUDA
    "libcuda.so.1", "libcudart.so.*", "libnvrtc.so.*", "libnvJitLink.so.*", "libcublas.so.*",
    "libcublasLt.so.*",
    // ROCm
    "libamdhip64.so.*", "libhiprtc.so.*", "libhsa-runtime64.so.*", "librocblas.so.*",
    "libhipblas.so.*", "libhipblaslt.so.*"};

bool kni_elf_may_need(const char *library)
{
    for (size_t i = 0; i < KN_LEN(may_need); ++i) {
        const char *star = strchr(may_need[i], '*');
        if (!star) {
            if (strcmp(library, may_need[i]) == 0)
                return true;
            continue;
        }
        const size_t prefix = (size_t)(star - may_need[i]);
        const char *version = library + prefix;
        if (strncmp(library, may_need[i], prefix) == 0 && *version != '\0' &&
            strspn(version, "0123456789.") == strlen(version))
            return true;
    }
    return false;
}

kn_status kni_elf_check_runs(const kni_elf *elf, const char *name, const char *cpu,
                             kni_elf_version glibc, kn_error *err)
{
    if (strcmp(kni_machine_text(elf->machine), cpu) != 0)
        return kn_error_set(err, KN_ERR_INCOMPATIBLE,
                            "%s: code for %s (ELF machine %u), this machine is %s", name,
                            kni_machine_text(elf->machine), (unsigned)elf->machine, cpu);
    const kni_elf_version need = elf->glibc;
    if (glibc.major != 0 &&
        (need.major > glibc.major || (need.major == glibc.major && need.minor > glibc.minor)))
        return kn_error_set(err, KN_ERR_INCOMPATIBLE,
                            "%s: needs glibc %u.%u, this machine has %u.%u", name, need.major,
                            need.minor, glibc.major, glibc.minor);
    if (elf->refuses_dlopen)
        return kn_error_set(err, KN_ERR_INCOMPATIBLE,
                            "%s: a program (or marked as not to be opened); expected a library",
                            name);
    return KN_OK;
}

// One directory of a search path: $ORIGIN or below it.
static bool is_below_origin(kni_span dir)
{
    static const char *const origins[] = {"$ORIGIN", "${ORIGIN}"};
    for (size_t i = 0; i < KN_LEN(origins); ++i) {
        if (!kni_span_starts(dir, origins[i]))
            continue;
        const size_t used = strlen(origins[i]);
        kni_span rest = {dir.data + used, dir.size - used}, part;
        if (rest.size > 0 && rest.data[0] != '/')
            return false;
        while (kni_span_cut(&rest, '/', &part))
            if (kni_span_is(part, "..") || (part.size && memchr(part.data, '$', part.size)))
                return false;
        return true;
    }
    return false;
}

static kn_status check_search_path(const char *path, const char *tag, const char *name,
                                   kn_error *err)
{
    kni_span rest = kni_span_of(path), dir;
    while (kni_span_cut(&rest, ':', &dir))
        if (!is_below_origin(dir)) // an empty one means the working directory
            return kn_error_set(err, KN_ERR_UNTRUSTED,
                                "%s: %s is \"%s\"; a kernel may search $ORIGIN and below it alone",
                                name, tag, path);
    return KN_OK;
}

kn_status kni_elf_check_needs(const kni_elf *elf, const char *name, kn_error *err)
{
    kn_status st;
    if (elf->tvm_loader_symbol)
        return kn_error_set(err, KN_ERR_UNSUPPORTED,
                            "%s: needs the loader of TVM (symbol %s); a kernel is plain tvm-ffi "
                            "functions that dlopen and dlsym can serve",
                            name, elf->tvm_loader_symbol);
    const struct {
        const char *value, *tag;
    } refused[] = {{elf->audit, "DT_AUDIT"},
                   {elf->depaudit, "DT_DEPAUDIT"},
                   {elf->filter, "DT_FILTER"},
                   {elf->auxiliary, "DT_AUXILIARY"}};
    for (size_t i = 0; i < KN_LEN(refused); ++i)
        if (refused[i].value)
            return kn_error_set(err, KN_ERR_UNTRUSTED,
                                "%s: %s names \"%s\"; a kernel may not bring in code that way",
                                name, refused[i].tag, refused[i].value);
    for (size_t i = 0; i < elf->n_needed; ++i)
        if (!kni_elf_may_need(elf->needed[i]))
            return kn_error_set(err, KN_ERR_UNTRUSTED,
                                "%s: needs the library \"%s\"; a kernel may need those of C, C++, "
                                "OpenMP, tvm-ffi, CUDA and ROCm, by bare name",
                                name, elf->needed[i]);
    if (elf->rpath) {
        st = check_search_path(elf->rpath, "RPATH", name, err);
        if (st != KN_OK)
            return st;
    }
    if (elf->runpath) {
        st = check_search_path(elf->runpath, "RUNPATH", name, err);
        if (st != KN_OK)
            return st;
    }
    if (elf->has_executable_stack || elf->lacks_stack_header)
        return kn_error_set(err, KN_ERR_UNTRUSTED,
                            "%s: asks for an executable stack%s; link it with -z noexecstack", name,
                            elf->has_executable_stack ? "" : " (it has no PT_GNU_STACK)");
    if (elf->has_text_relocations || elf->has_writable_code)
        return kn_error_set(err, KN_ERR_UNTRUSTED,
                            "%s: has %s; code must be read-only: compile it with -fPIC", name,
                            elf->has_text_relocations ? "text relocations"
                                                      : "a segment both writable and executable");
    if (elf->needs_glibc_private)
        return kn_error_set(err, KN_ERR_UNTRUSTED,
                            "%s: uses private symbols of glibc (GLIBC_PRIVATE)", name);
    return KN_OK;
}
