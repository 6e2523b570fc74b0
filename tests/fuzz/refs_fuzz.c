// The answer with branches and tags: names and commits that get out are those that may stand in URLs and paths.
#include <string.h>

#include "fuzz.h"
#include "hub/answer.h"

static void look_at(const kni_ref_list *list)
{
    for (size_t i = 0; i < list->count; ++i) {
        const kni_ref *ref = &list->refs[i];
        FUZZ_CHECK(kni_ref_check(ref->name, "ref", NULL) == KN_OK);
        FUZZ_CHECK(kni_is_commit(ref->commit));
        FUZZ_CHECK(i == 0 || strcmp(list->refs[i - 1].name, ref->name) < 0);
        FUZZ_CHECK(kni_ref_list_find(list, ref->name) == ref);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kn_error err = KN_ERROR_INIT;
    kni_refs refs;
    if (kni_refs_parse((const char *)data, size, "u", &refs, &err) != KN_OK) {
        FUZZ_CHECK(err.status == KN_ERR_FORMAT || err.status == KN_ERR_UNTRUSTED);
        FUZZ_CHECK(strncmp(kn_error_text(&err), "u:", 2) == 0);
        FUZZ_CHECK(!strchr(kn_error_text(&err), '\n'));
        FUZZ_CHECK(!refs.branches.refs && !refs.tags.refs);
    }
    look_at(&refs.branches);
    look_at(&refs.tags);
    kni_refs_dispose(&refs);
    kn_error_dispose(&err);
    return 0;
}
