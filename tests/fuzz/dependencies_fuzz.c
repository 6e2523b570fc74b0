// A pyproject.toml: any bytes give dependencies of one kind or one line of error.
#include <string.h>

#include "fuzz.h"
#include "hub/lock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kni_dependencies out;
    kn_error err = KN_ERROR_INIT;
    const kn_status st = kni_dependencies_parse((const char *)data, size, "f", &out, &err);
    FUZZ_CHECK(st == err.status && (st == KN_OK || st == KN_ERR_FORMAT));
    FUZZ_CHECK(st == KN_OK ||
               (!out.items && out.count == 0 && strncmp(kn_error_text(&err), "f:", 2) == 0));
    FUZZ_CHECK(!strchr(kn_error_text(&err), '\n'));
    for (size_t i = 0; i < out.count; ++i) {
        kni_repo repo;
        FUZZ_CHECK(kni_repo_init(&repo, KNI_REPO_KERNEL, out.items[i].repo_id, NULL) == KN_OK);
        FUZZ_CHECK((out.items[i].specifier != NULL) == out.are_specifiers);
        FUZZ_CHECK((out.items[i].version >= 0) != out.are_specifiers);
    }
    kni_dependencies_dispose(&out);
    kn_error_dispose(&err);
    return 0;
}
