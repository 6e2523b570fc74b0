// Bundles of ROCm code: each target formats to a text that parses to the same target.
#include <string.h>

#include "fuzz.h"
#include "package/rocm.h"

static void look_at(const kni_rocm_code *code)
{
    for (size_t i = 0; i < code->n_targets; ++i) {
        const kni_rocm_target *target = &code->targets[i];
        kni_rocm_target again;
        kni_buf text = KNI_BUF_ANY;
        FUZZ_CHECK(target->bundle < code->n_bundles);
        kni_rocm_target_text(target, &text);
        FUZZ_CHECK(kni_rocm_target_parse(text.data, text.size, &again));
        FUZZ_CHECK(strcmp(again.processor, target->processor) == 0);
        FUZZ_CHECK(again.xnack == target->xnack && again.sramecc == target->sramecc);
        FUZZ_CHECK(kni_rocm_target_runs(target, &again));
        const kni_code_fit fit = kni_rocm_code_runs(code, kni_buf_text(&text), NULL);
        FUZZ_CHECK(fit != KNI_CODE_NO && fit != KNI_CODE_NONE);
        kni_buf_dispose(&text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kn_error err = KN_ERROR_INIT;
    kni_rocm_code code = {.n_targets = 0};
    if (kni_rocm_read((kni_bytes){data, size}, "f", &code, &err) == KN_OK)
        look_at(&code);
    else
        FUZZ_CHECK(strncmp(kn_error_text(&err), "f: ", 3) == 0);
    kn_error_dispose(&err);
    kni_rocm_dispose(&code);
    return 0;
}
