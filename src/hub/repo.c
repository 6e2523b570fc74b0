#include "hub/repo.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"

#define PART_MAX 96 // bytes of an owner or a name
#define REF_MAX 255 // a component of a path on every file system

static bool is_word(char c) // one rule in every locale
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

const char *kni_repo_type_text(kni_repo_type type)
{
    return type == KNI_REPO_MODEL ? "model" : "kernel";
}

// What is wrong with one half of an id; NULL: nothing.
static const char *part_fault(kni_span part)
{
    if (part.size == 0)
        return "the owner and the name may not be empty";
    if (part.size > PART_MAX)
        return "the owner and the name have at most 96 bytes each";
    for (size_t i = 0; i < part.size; ++i) {
        const char c = part.data[i];
        if (!is_word(c) && c != '-' && c != '.')
            return "accepted are the characters A-Z a-z 0-9 _ - .";
        if (i > 0 && c == part.data[i - 1] && (c == '-' || c == '.'))
            return "\"--\" and \"..\" are not accepted";
    }
    if (!is_word(part.data[0]) || !is_word(part.data[part.size - 1]))
        return "the owner and the name begin and end with a letter, a digit or '_'";
    if (kni_span_ends(part, ".git"))
        return "the owner and the name may not end in \".git\"";
    return NULL;
}

kn_status kni_repo_init(kni_repo *repo, kni_repo_type type, const char *id, kn_error *err)
{
    const char *fault = "accepted is \"owner/name\"";
    kni_span rest = kni_span_of(id), owner;

    *repo = (kni_repo){.type = type};
    if (kni_span_cut(&rest, '/', &owner) && rest.data) {
        fault = part_fault(owner);
        if (!fault && !memchr(rest.data, '/', rest.size))
            fault = part_fault(rest);
        else if (!fault)
            fault = "accepted is \"owner/name\", with one '/'";
    }
    if (fault)
        return kn_error_set(err, KN_ERR_INVALID, "repository \"%.300s\": %s", id ? id : "", fault);
    memcpy(repo->id, id, owner.size + 1 + rest.size + 1);
    return KN_OK;
}

void kni_repo_owner(const kni_repo *repo, char out[KNI_REPO_ID_MAX])
{
    const size_t size = strcspn(repo->id, "/");
    memcpy(out, repo->id, size);
    out[size] = '\0';
}

void kni_repo_folder(const kni_repo *repo, char out[KNI_REPO_ID_MAX + 16])
{
    const int size = (int)strcspn(repo->id, "/");
    const char *name = repo->id + size + (repo->id[size] == '/');
    snprintf(out, KNI_REPO_ID_MAX + 16, "%ss--%.*s--%s", kni_repo_type_text(repo->type), size,
             repo->id, name);
}

static size_t count_hex(const char *text) // SIZE_MAX: something else is in it
{
    const size_t size = text ? strlen(text) : 0;
    return size && strspn(text, "0123456789abcdef") == size ? size : SIZE_MAX;
}

bool kni_is_commit(const char *text)
{
    return count_hex(text) == KNI_COMMIT_SIZE - 1;
}

bool kni_is_short_commit(const char *text)
{
    const size_t size = count_hex(text);
    return size >= 7 && size < KNI_COMMIT_SIZE - 1;
}

bool kni_is_object_id(const char *text)
{
    const size_t size = count_hex(text);
    return size == KNI_SHA1_SIZE - 1 || size == KNI_SHA256_SIZE - 1;
}

// Between two '/' of a ref.
static const char *component_fault(kni_span part)
{
    if (part.size == 0)
        return "no component may be empty";
    if (part.data[0] == '.')
        return "no component may begin with '.'";
    if (kni_span_ends(part, ".lock"))
        return "no component may end in \".lock\"";
    return NULL;
}

static const char *ref_fault(kni_span ref)
{
    kni_span rest = ref, part;

    if (ref.size == 0)
        return "it is empty";
    if (ref.size > REF_MAX)
        return "it has more than 255 bytes";
    if (!kni_text_is_clean(ref.data, ref.size))
        return "control characters, invisible marks and bytes that are not UTF-8 are not accepted";
    if (ref.data[strcspn(ref.data, " ~^:?*[\\")])
        return "spaces and ~ ^ : ? * [ \\ are not accepted";
    if (ref.data[0] == '-')
        return "it may not begin with '-'";
    if (ref.data[ref.size - 1] == '.')
        return "it may not end with '.'";
    if (strstr(ref.data, "..") || strstr(ref.data, "@{") || kni_span_is(ref, "@"))
        return "\"..\", \"@{\" and \"@\" alone are not accepted";
    // What is half written in the cache is named so: {ref}.{8 hex}.tmp, {blob}.{…}.incomplete.
    if (kni_span_ends(ref, ".tmp") || kni_span_ends(ref, ".incomplete"))
        return "it may not end in \".tmp\" or \".incomplete\"";
    while (kni_span_cut(&rest, '/', &part)) {
        const char *fault = component_fault(part);
        if (fault)
            return fault;
    }
    return NULL;
}

kn_status kni_ref_check(const char *ref, const char *what, kn_error *err)
{
    const char *fault = ref_fault(kni_span_of(ref));
    if (!fault)
        return KN_OK;
    return kn_error_set(err, KN_ERR_INVALID, "%s: revision \"%.300s\": %s", what, ref ? ref : "",
                        fault);
}

int64_t kni_version_branch(const char *ref)
{
    int64_t number;
    if (!ref || ref[0] != 'v' || (ref[1] == '0' && ref[2]) ||
        !kni_span_to_int(kni_span_of(ref + 1), INT64_MAX, &number))
        return -1;
    return number;
}

static void append_encoded(kni_buf *out, const char *text, bool slash_stays)
{
    static const char digits[] = "0123456789ABCDEF";
    for (; *text; ++text) {
        const unsigned char c = (unsigned char)*text;
        if (is_word(*text) || strchr("-.~", c) || (slash_stays && c == '/'))
            kni_buf_append(out, text, 1);
        else
            kni_buf_append(out, (const char[]){'%', digits[c >> 4], digits[c & 15]}, 3);
    }
}

void kni_url_append_segment(kni_buf *out, const char *text)
{
    append_encoded(out, text, false);
}

void kni_url_append_path(kni_buf *out, const char *text)
{
    append_encoded(out, text, true);
}

void kni_repo_append_api(kni_buf *out, const kni_repo *repo)
{
    kni_buf_puts(out, "/api/");
    kni_buf_puts(out, kni_repo_type_text(repo->type));
    kni_buf_puts(out, "s/");
    kni_url_append_path(out, repo->id);
}

void kni_repo_append_resolve(kni_buf *out, const kni_repo *repo, const char *revision,
                             const char *path)
{
    kni_buf_puts(out, repo->type == KNI_REPO_MODEL ? "/" : "/kernels/"); // models alone have none
    kni_url_append_path(out, repo->id);
    kni_buf_puts(out, "/resolve/");
    kni_url_append_segment(out, revision);
    kni_buf_puts(out, "/");
    kni_url_append_path(out, path);
}
