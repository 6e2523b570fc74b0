// Fat binaries and cubins: each target has an architecture and a container that was counted, and what all of it runs on agrees
// with what its targets run on.
#include <string.h>

#include "fuzz.h"
#include "package/cuda.h"

static void look_at(const kni_cuda_code *code)
{
    static const kni_cuda_device devices[] = {{80, 0}, {90, 12080}, {103, 13000}};
    for (size_t d = 0; d < KN_LEN(devices); ++d) {
        kni_buf reason = KNI_BUF_ANY;
        bool any = false;
        for (size_t i = 0; i < code->n_targets; ++i) {
            FUZZ_CHECK(code->targets[i].arch > 0 && code->targets[i].kind <= KNI_CUDA_OTHER);
            FUZZ_CHECK(code->targets[i].container < code->n_containers);
            any = any || kni_cuda_target_runs(&code->targets[i], devices[d]);
        }
        const kni_code_fit fit = kni_cuda_code_runs(code, devices[d], &reason);
        FUZZ_CHECK((fit == KNI_CODE_NONE) == (code->n_targets == 0));
        FUZZ_CHECK(any == (fit == KNI_CODE_FITS || fit == KNI_CODE_PARTLY));
        FUZZ_CHECK(reason.size > 0);
        kni_buf_dispose(&reason);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kn_error err = KN_ERROR_INIT;
    kni_cuda_code code = {.n_targets = 0};
    if (kni_cuda_read((kni_bytes){data, size}, "f", &code, &err) == KN_OK)
        look_at(&code);
    else
        FUZZ_CHECK(strncmp(kn_error_text(&err), "f: ", 3) == 0);
    kn_error_dispose(&err);
    kni_cuda_dispose(&code);
    return 0;
}
