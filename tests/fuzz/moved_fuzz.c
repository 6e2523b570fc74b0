// kernel-status.toml: where a repository moved is a repository and a revision that may be asked for.
#include <string.h>

#include "fuzz.h"
#include "hub/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kn_error err = KN_ERROR_INIT;
    kni_moved moved;
    kni_repo repo;
    if (kni_moved_parse((const char *)data, size, "f", KNI_REPO_KERNEL, &moved, &err) == KN_OK) {
        FUZZ_CHECK(kni_repo_init(&repo, KNI_REPO_KERNEL, moved.to.id, NULL) == KN_OK);
        FUZZ_CHECK(kni_is_commit(moved.revision) ||
                   kni_ref_check(moved.revision, "revision", NULL) == KN_OK);
    } else {
        FUZZ_CHECK(err.status == KN_ERR_FORMAT);
        FUZZ_CHECK(strncmp(kn_error_text(&err), "f:", 2) == 0);
        FUZZ_CHECK(!strchr(kn_error_text(&err), '\n'));
        FUZZ_CHECK(!moved.revision);
    }
    kni_moved_dispose(&moved);
    kn_error_dispose(&err);
    return 0;
}
