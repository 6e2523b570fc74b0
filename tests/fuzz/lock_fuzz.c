// A kernels.lock: any bytes give locks or one line of error; what was read is written, and reads as the same text.
#include <string.h>

#include "base/alloc.h"
#include "fuzz.h"
#include "hub/lock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kni_lock lock, again;
    kn_error err = KN_ERROR_INIT;
    const kn_status st = kni_lock_parse((const char *)data, size, "f", &lock, &err);
    FUZZ_CHECK(st == err.status && (st == KN_OK || st == KN_ERR_FORMAT));
    if (st != KN_OK) {
        FUZZ_CHECK(!lock.entries && strncmp(kn_error_text(&err), "f:", 2) == 0);
        FUZZ_CHECK(!strchr(kn_error_text(&err), '\n'));
        kn_error_dispose(&err);
        return 0;
    }
    for (size_t i = 0; i < lock.count; ++i) {
        const kni_lock_entry *entry = &lock.entries[i];
        kni_repo repo;
        FUZZ_CHECK(kni_repo_init(&repo, KNI_REPO_KERNEL, entry->repo_id, NULL) == KN_OK);
        FUZZ_CHECK(kni_is_commit(entry->commit) && kni_lock_find(&lock, entry->repo_id));
        for (size_t k = 0; k < entry->n_hashes; ++k)
            FUZZ_CHECK(kni_lock_find_hash(entry, entry->hashes[k].variant) == &entry->hashes[k]);
    }
    char *text = kni_lock_text(&lock);
    FUZZ_CHECK(text && kni_lock_parse(text, strlen(text), "g", &again, NULL) == KN_OK);
    char *second = kni_lock_text(&again);
    FUZZ_CHECK(second && strcmp(text, second) == 0 && lock.count == again.count);
    kni_free(text);
    kni_free(second);
    kni_lock_dispose(&lock);
    kni_lock_dispose(&again);
    return 0;
}
