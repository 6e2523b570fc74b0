// Names of variants: one that parses is formatted back to itself.
#include <string.h>

#include "fuzz.h"
#include "package/variant.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kn_error err = KN_ERROR_INIT;
    kni_variant variant;
    char name[KNI_VARIANT_NAME_SIZE];
    if (kni_variant_parse((kni_span){(const char *)data, size}, &variant, &err) == KN_OK) {
        FUZZ_CHECK(kni_variant_format(&variant, name));
        FUZZ_CHECK(strlen(name) == size && memcmp(name, data, size) == 0);
    } else {
        FUZZ_CHECK(err.status == KN_ERR_FORMAT);
        FUZZ_CHECK(strstr(kn_error_text(&err), "no variant's name") &&
                   !strchr(kn_error_text(&err), '\n'));
    }
    kn_error_dispose(&err);
    return 0;
}
