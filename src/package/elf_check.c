#include "package/elf_check.h"

#include <stdarg.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
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

// Beside those, in a process that has PyTorch: its own libraries, and those of the vendors that it brings or loads. Not libpython: an
// extension takes Python's symbols from the interpreter that imports it, and where that is linked statically a libpython is a second one.
static const char *const hosted_may_need[] = {
    "libtorch.so", "libtorch_cpu.so", "libtorch_cuda.so", "libtorch_cuda_linalg.so",
    "libtorch_hip.so", "libtorch_xpu.so", "libtorch_python.so", "libtorch_global_deps.so",
    "libc10.so", "libc10_cuda.so", "libc10_hip.so", "libc10_xpu.so", "libshm.so",
    // CUDA
    "libcudadevrt.so.*", "libcudnn.so.*", "libcufft.so.*", "libcurand.so.*", "libcusolver.so.*",
    "libcusparse.so.*", "libcusparseLt.so.*", "libcufile.so.*", "libcupti.so.*", "libnccl.so.*",
    "libnvToolsExt.so.*", "libnvrtc-builtins.so.*", "libnvshmem_host.so.*", "libnvidia-ml.so.*",
    // ROCm
    "libMIOpen.so.*", "librccl.so.*", "librocfft.so.*", "librocrand.so.*", "librocsolver.so.*",
    "librocsparse.so.*", "libhipfft.so.*", "libhiprand.so.*", "libhipsolver.so.*",
    "libhipsparse.so.*", "libhipsparselt.so.*", "libroctx64.so.*", "libroctracer64.so.*",
    "librocm-core.so.*", "libamd_comgr.so.*",
    // oneAPI
    "libsycl.so.*", "libze_loader.so.*", "libOpenCL.so.*", "libur_loader.so.*",
    "libpi_level_zero.so", "libiomp5.so", "libimf.so", "libintlc.so.*", "libirng.so", "libsvml.so",
    "libccl.so.*", "libmkl_core.so.*", "libmkl_intel_lp64.so.*", "libmkl_gnu_thread.so.*",
    "libmkl_intel_thread.so.*", "libmkl_sycl_blas.so.*", "libmkl_sycl_lapack.so.*",
    "libmkl_sycl_dft.so.*", "libmkl_sycl_rng.so.*", "libdnnl.so.*",
    // Ascend
    "libascendcl.so", "libtorch_npu.so"};

static bool is_on(const char *const *list, size_t n, const char *library)
{
    for (size_t i = 0; i < n; ++i) {
        const char *star = strchr(list[i], '*');
        if (!star) {
            if (strcmp(library, list[i]) == 0)
                return true;
            continue;
        }
        const size_t prefix = (size_t)(star - list[i]);
        const char *version = library + prefix;
        if (strncmp(library, list[i], prefix) == 0 && *version != '\0' &&
            strspn(version, "0123456789.") == strlen(version))
            return true;
    }
    return false;
}

bool kni_elf_may_need(const char *library, bool hosted)
{
    return is_on(may_need, KN_LEN(may_need), library) ||
           (hosted && is_on(hosted_may_need, KN_LEN(hosted_may_need), library));
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

// One directory of a search path: $ORIGIN or below it; of a file `depth` directories below the package's, also what is above it there.
static bool is_below_origin(kni_span dir, size_t depth)
{
    static const char *const origins[] = {"$ORIGIN", "${ORIGIN}"};
    for (size_t i = 0; i < KN_LEN(origins); ++i) {
        if (!kni_span_starts(dir, origins[i]))
            continue;
        const size_t used = strlen(origins[i]);
        kni_span rest = {dir.data + used, dir.size - used}, part;
        if (rest.size > 0 && rest.data[0] != '/')
            return false;
        while (kni_span_cut(&rest, '/', &part)) {
            if (part.size && memchr(part.data, '$', part.size))
                return false;
            if (!kni_span_is(part, "..")) {
                depth += part.size && !kni_span_is(part, ".");
                continue;
            }
            if (depth == 0)
                return false;
            --depth;
        }
        return true;
    }
    return false;
}

KN_PRINTF(3, 4)
static kn_status add_note(kni_names *notes, kn_error *err, const char *format, ...)
{
    kni_buf text = KNI_BUF_ANY;
    va_list args;
    va_start(args, format);
    kni_buf_vprintf(&text, format, args);
    va_end(args);
    char *note = kni_buf_take(&text);
    kni_buf_dispose(&text);
    return kni_names_push(notes, note) ? KN_OK : kni_no_memory(err);
}

static kn_status check_search_path(const char *path, const char *tag, const char *name,
                                   kni_names *notes, kn_error *err)
{
    kni_span rest = kni_span_of(path), dir;
    size_t depth = 0;
    for (const char *p = name; notes && *p; ++p)
        depth += *p == '/';
    while (kni_span_cut(&rest, ':', &dir)) {
        if (is_below_origin(dir, depth)) // an empty one means the working directory
            continue;
        if (notes)
            return add_note(notes, err, "%s: %s is \"%s\", which leads out of the package", name,
                            tag, path);
        return kn_error_set(err, KN_ERR_UNTRUSTED,
                            "%s: %s is \"%s\"; a kernel may search $ORIGIN and below it alone",
                            name, tag, path);
    }
    return KN_OK;
}

static kn_status check_needed(const kni_elf *elf, const char *name, kni_names *notes, kn_error *err)
{
    kn_status st = KN_OK;
    for (size_t i = 0; st == KN_OK && i < elf->n_needed; ++i) {
        const char *library = elf->needed[i];
        if (kni_elf_may_need(library, notes))
            continue;
        if (notes && !strchr(library, '/'))
            st = add_note(notes, err, "%s: needs the library \"%s\", which is not on the list",
                          name, library);
        else
            st = kn_error_set(err, KN_ERR_UNTRUSTED,
                              "%s: needs the library \"%s\"; a kernel may need those of C, C++, "
                              "OpenMP, tvm-ffi, CUDA and ROCm, by bare name",
                              name, library);
    }
    return st;
}

kn_status kni_elf_check_needs(const kni_elf *elf, const char *name, kni_names *notes, kn_error *err)
{
    kn_status st;
    if (elf->tvm_loader_symbol && !notes)
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
    st = check_needed(elf, name, notes, err);
    if (st == KN_OK && elf->rpath)
        st = check_search_path(elf->rpath, "RPATH", name, notes, err);
    if (st == KN_OK && elf->runpath)
        st = check_search_path(elf->runpath, "RUNPATH", name, notes, err);
    if (st != KN_OK)
        return st;
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
