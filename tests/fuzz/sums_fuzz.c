// A *.lock.sums: any bytes give sums or one line of error; what was read is written, and reads as the same text.
#include <string.h>

#include "base/alloc.h"
#include "base/fs.h"
#include "fuzz.h"
#include "hub/lock.h"

static void look_at(const kni_sum_kernel *kernel)
{
    kni_sum_kernel copy;
    for (size_t i = 0; i < kernel->n_variants; ++i) {
        const kni_sum_variant *variant = &kernel->variants[i];
        FUZZ_CHECK(kni_sum_find_variant(kernel, variant->name) == variant);
        for (size_t k = 0; k < variant->n_files; ++k) {
            const kni_sum_file *file = &variant->files[k];
            FUZZ_CHECK(kni_sum_find_file(variant, file->path) == file);
            FUZZ_CHECK(kni_path_check_relative(file->path, "file", NULL) == KN_OK);
        }
    }
    FUZZ_CHECK(kni_sum_kernel_copy(kernel, &copy, NULL) == KN_OK);
    kni_sum_kernel_dispose(&copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kni_sums sums, again;
    kn_error err = KN_ERROR_INIT;
    const kn_status st = kni_sums_parse((const char *)data, size, "f", &sums, &err);
    FUZZ_CHECK(st == err.status && (st == KN_OK || st == KN_ERR_FORMAT));
    if (st != KN_OK) {
        FUZZ_CHECK(!sums.kernels && strncmp(kn_error_text(&err), "f:", 2) == 0);
        FUZZ_CHECK(!strchr(kn_error_text(&err), '\n'));
        kn_error_dispose(&err);
        return 0;
    }
    for (size_t i = 0; i < sums.count; ++i)
        look_at(&sums.kernels[i]);
    char *text = kni_sums_text(&sums);
    FUZZ_CHECK(text && kni_sums_parse(text, strlen(text), "g", &again, NULL) == KN_OK);
    char *second = kni_sums_text(&again);
    FUZZ_CHECK(second && strcmp(text, second) == 0);
    kni_free(text);
    kni_free(second);
    kni_sums_dispose(&sums);
    kni_sums_dispose(&again);
    return 0;
}
