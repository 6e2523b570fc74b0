#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "hub/answer.h"

kn_status kni_info_parse(const char *text, size_t size, const char *name, const char *wanted,
                         char commit[KNI_COMMIT_SIZE], kn_error *err)
{
    json_t *root = NULL;
    const char *sha = "";
    commit[0] = '\0';
    kn_status st = kni_json_parse(text, size, name, &root, err);
    if (st == KN_OK)
        st = kni_json_string((kni_json_at){name, "", root}, "sha", true, &sha, err);
    if (st != KN_OK)
        goto done;
    if (!kni_is_commit(sha))
        st = kn_error_set(err, KN_ERR_UNTRUSTED,
                          "%s: sha: expected 40 lower-case hexadecimal digits, found '%.80s'", name,
                          sha);
    else if (wanted && strncmp(sha, wanted, strlen(wanted)) != 0)
        st = kn_error_set(err, KN_ERR_UNTRUSTED,
                          "%s: sha: expected a commit that starts with %s, as asked, found %s",
                          name, wanted, sha);
    else
        snprintf(commit, KNI_COMMIT_SIZE, "%s", sha);
done:
    json_decref(root);
    return st;
}

kn_status kni_overview_parse(const char *text, size_t size, const char *name, bool *is_trusted,
                             kn_error *err)
{
    json_t *root = NULL;
    *is_trusted = false;
    kn_status st = kni_json_parse(text, size, name, &root, err);
    if (st == KN_OK)
        st = kni_json_bool((kni_json_at){name, "", root}, "trustedKernelPublisher", false,
                           is_trusted, err);
    json_decref(root);
    return st;
}
