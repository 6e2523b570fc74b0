// The small answers: repository info, publisher, digest block, what a failure says, and the Link header.
#include <string.h>

#include "base/alloc.h"
#include "base/fs.h"
#include "base/str.h"
#include "fuzz.h"
#include "hub/answer.h"

static void check(kn_status st, kn_error *err)
{
    FUZZ_CHECK(st == err->status);
    if (st == KN_OK)
        return;
    FUZZ_CHECK(st == KN_ERR_FORMAT || st == KN_ERR_UNTRUSTED);
    FUZZ_CHECK(strncmp(kn_error_text(err), "u:", 2) == 0);
    FUZZ_CHECK(!strchr(kn_error_text(err), '\n'));
    kn_error_dispose(err);
}

static void read_json(const char *text, size_t size)
{
    kn_error err = KN_ERROR_INIT;
    char commit[KNI_COMMIT_SIZE], again[KNI_COMMIT_SIZE];
    bool is_trusted;
    kni_names paths;
    const kn_status st = kni_info_parse(text, size, "u", NULL, commit, &err);
    check(st, &err);
    FUZZ_CHECK(st == KN_OK ? kni_is_commit(commit) : commit[0] == '\0');
    const kn_status other = kni_info_parse(text, size, "u", "0123456", again, &err);
    check(other, &err);
    FUZZ_CHECK(other != KN_OK || strncmp(again, "0123456", 7) == 0);
    check(kni_overview_parse(text, size, "u", &is_trusted, &err), &err);
    check(kni_digest_paths_parse(text, size, "u", &paths, &err), &err);
    for (size_t i = 0; i < paths.count; ++i) {
        FUZZ_CHECK(kni_path_check_relative(paths.names[i], "", NULL) == KN_OK);
        FUZZ_CHECK(i == 0 || strcmp(paths.names[i - 1], paths.names[i]) < 0);
    }
    kni_names_free(&paths);
}

static void read_link(const char *text, size_t size)
{
    char *header = kni_strndup(text, size), *next;
    FUZZ_CHECK(header && kni_link_next(header, &next, NULL) == KN_OK);
    for (const char *c = next; c && *c; ++c)
        FUZZ_CHECK(*c > 0x20 && *c < 0x7f && *c != '>');
    FUZZ_CHECK(!next || next[0]);
    kni_free(next);
    kni_free(header);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    read_json(text, size);
    read_link(text, size);
    char *message = kni_error_body(text, size);
    FUZZ_CHECK(message && strlen(message) <= 500);
    FUZZ_CHECK(kni_text_is_clean(message, strlen(message)));
    kni_free(message);
    return 0;
}
