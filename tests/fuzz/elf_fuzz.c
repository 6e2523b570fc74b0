// A shared object, with whatever device code is in it: all that is found lies inside, and a refusal is one line that begins with
// the file.
#include <string.h>

#include "fuzz.h"
#include "package/cuda.h"
#include "package/elf_check.h"
#include "package/rocm.h"

static void look_at_code(const kni_elf *elf)
{
    kni_cuda_code cuda = {.n_targets = 0};
    kni_rocm_code rocm = {.n_targets = 0};
    kni_cuda_read_elf(elf, "f", &cuda, NULL);
    kni_rocm_read_elf(elf, "f", &rocm, NULL);
    FUZZ_CHECK(cuda.n_containers <= cuda.n_targets && rocm.n_bundles <= rocm.n_targets);
    kni_cuda_dispose(&cuda);
    kni_rocm_dispose(&rocm);
}

static void look_at(const kni_elf *elf)
{
    const uint8_t *begin = elf->file.data, *end = begin + elf->file.size;
    for (size_t i = 0; i < elf->n_needed; ++i)
        FUZZ_CHECK((const uint8_t *)elf->needed[i] + strlen(elf->needed[i]) < end);
    for (size_t i = 0; i < elf->n_functions; ++i) {
        FUZZ_CHECK(elf->functions[i][0] != '\0' && elf->functions[i][0] != '_');
        FUZZ_CHECK((const uint8_t *)elf->functions[i] > begin);
        FUZZ_CHECK(i > 8 ||
                   kni_elf_exports_function(elf, elf->functions[i] - strlen("__tvm_ffi_")));
    }
    for (size_t i = 1; i < elf->n_loads; ++i)
        FUZZ_CHECK(elf->loads[i].address >= elf->loads[i - 1].address);
    kni_elf_check_needs(elf, "f", NULL, NULL);
    kni_elf_check_runs(elf, "f", "x86_64", (kni_elf_version){2, 36, 0}, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kn_error err = KN_ERROR_INIT;
    kni_elf elf;
    if (kni_elf_read(data, size, "f", &elf, &err) == KN_OK) {
        look_at(&elf);
        look_at_code(&elf);
        kni_elf_dispose(&elf);
        return 0;
    }
    FUZZ_CHECK(err.status == KN_ERR_FORMAT || err.status == KN_ERR_INCOMPATIBLE);
    FUZZ_CHECK(strncmp(kn_error_text(&err), "f: ", 3) == 0 && !strchr(kn_error_text(&err), '\n'));
    kn_error_dispose(&err);
    return 0;
}
