// Names that go into URLs and paths: repositories, commits, refs, object ids. Every one that comes from outside passes here first.
#ifndef KNI_HUB_REPO_H
#define KNI_HUB_REPO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "kernels/base.h"

#define KNI_COMMIT_SIZE 41 // 40 hexadecimal digits and the zero
#define KNI_SHA1_SIZE 41
#define KNI_SHA256_SIZE 65
#define KNI_REPO_ID_MAX 256

typedef enum kni_repo_type {
    KNI_REPO_KERNEL = 0,
    KNI_REPO_MODEL = 1,
} kni_repo_type;

typedef struct kni_repo {
    kni_repo_type type;
    char id[KNI_REPO_ID_MAX]; // "owner/name", checked
} kni_repo;

const char *kni_repo_type_text(kni_repo_type type); // "kernel", "model"

// "owner/name" of ASCII [A-Za-z0-9_.-], each part beginning and ending with a letter, digit or '_', at most 96 bytes, without "--",
// ".." and a final ".git". Error: KN_ERR_INVALID with what is accepted.
kn_status kni_repo_init(kni_repo *repo, kni_repo_type type, const char *id, kn_error *err);
void kni_repo_owner(const kni_repo *repo, char out[KNI_REPO_ID_MAX]);

// "kernels--owner--name": the folder in the cache.
void kni_repo_folder(const kni_repo *repo, char out[KNI_REPO_ID_MAX + 16]);

bool kni_is_commit(const char *text);       // 40 lower-case hexadecimal digits
bool kni_is_short_commit(const char *text); // 7 to 39 of them
bool kni_is_object_id(const char *text);    // 40 or 64 of them: the name of a blob

// The rules of git for a ref's name, at most 255 bytes, and none that ends like our and huggingface_hub's temporaries.
// Error: KN_ERR_INVALID; `what` begins it.
kn_status kni_ref_check(const char *ref, const char *what, kn_error *err);

// The name of a version branch, "v0", "v12"; N, or -1 for other names (also "v01").
int64_t kni_version_branch(const char *ref);

// Appends with percent-encoding: all but A-Z a-z 0-9 - . _ ~, and '/' where it separates.
void kni_url_append_segment(kni_buf *out, const char *text); // '/' too
void kni_url_append_path(kni_buf *out, const char *text);    // '/' stays

// The URLs of a repository, below the endpoint: "/api/kernels/owner/name", "/kernels/owner/name/resolve/<rev>/<path>".
void kni_repo_append_api(kni_buf *out, const kni_repo *repo);
void kni_repo_append_resolve(kni_buf *out, const kni_repo *repo, const char *revision,
                             const char *path);

#endif
