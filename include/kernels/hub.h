/**
 * The hub: kernel repositories by name and version, from the cache or over the network.
 *
 * A hub answers three questions, each of the folder below it in the walk: which commit is meant (resolve), which build variants it has
 * (list), where its files are on this disk (fetch). The cache on disk and the wire protocol are those of the Hugging Face Hub: what
 * Python's huggingface_hub downloaded is used here, and the other way round (docs/cache.md). Whom and what is believed: docs/trust.md.
 *
 * A context opens a hub of its own (kn_context_options.hub, kn_context_hub). Opening one touches no disk and no network.
 *
 * Threads, where a declaration says nothing: any; revisions, variants and versions are immutable, and freed after all others that use
 * them. What takes a hub and an error blocks on the network and the disk; a progress callback can end it.
 */
#ifndef KERNELS_HUB_H
#define KERNELS_HUB_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kn_hub kn_hub;

/** How far a download is. Strings are borrowed for the call. */
typedef struct kn_progress {
    size_t struct_size;
    const char *repo_id;
    const char *variant; // "" before one is chosen, or when several are fetched
    uint64_t
        bytes_done; // of the files that were not here already; what another process has fetched counts
    uint64_t bytes_total;
    uint64_t bytes_per_second; // over the last seconds
    uint32_t files_done;
    uint32_t files_total;
    uint32_t is_waiting; // 1: nothing but another process's download is waited for
    uint32_t is_done;    // 1: the last call for this download
} kn_progress;

/**
 * Told of a download about ten times a second, also while nothing arrives, and once at its end; and, with all numbers 0, while the answer
 * to a question is waited for. Anything but 0 cancels: the call ends with KN_ERR_CANCELLED within a second, and what was complete stays
 * in the cache.
 * Threads: on the thread that called; several downloads may call at once, and those of several layers on threads of the library's own.
 * No lock is held.
 */
typedef int (*kn_progress_fn)(void *user, const kn_progress *progress);

enum {
    KN_HUB_OFFLINE = 1, // no socket is opened, whatever the environment says
    KN_HUB_ONLINE = 2,  // HF_HUB_OFFLINE is not looked at
    KN_HUB_FOLLOW_REDIRECTS =
        4, // a repository that says it moved (kernel-status.toml) is followed once
};

/** Strings are copied. */
typedef struct kn_hub_options {
    size_t struct_size;
    const char *endpoint; // "https://huggingface.co"; NULL: HF_ENDPOINT, else that one
    const char *token;    // NULL: HF_TOKEN, then the token file; "": none
    const char
        *cache_dir; // absolute; NULL: KERNELS_CACHE, HF_HUB_CACHE, …, else ~/.cache/huggingface/hub
    const char *state_dir; // absolute: this user's records; NULL: $XDG_STATE_HOME/libkernels
    const char *const *
        site_caches; // absolute, read only, searched before the network; NULL: KERNELS_SITE_CACHES (with ':' between)
    size_t n_site_caches;
    const char *const *
        trusted_endpoints; // beside the built-in one; NULL: KERNELS_TRUSTED_ENDPOINTS (with ',' between)
    size_t n_trusted_endpoints;
    const char *user_agent; // put before our own; NULL: none
    kn_progress_fn progress;
    void *progress_user;
    kn_log_fn log; // NULL: silence. A context sets its own
    void *log_user;
    kn_log_level log_level;
    uint32_t
        timeout_ms; // to connect, and without a byte received; 0: HF_HUB_DOWNLOAD_TIMEOUT, else 10 000
    uint32_t flags; // KN_HUB_OFFLINE, …
    uint32_t reserved;
} kn_hub_options;

#ifdef __cplusplus
#define KN_HUB_OPTIONS_INIT                                                                        \
    (kn_hub_options{sizeof(kn_hub_options), nullptr, nullptr, nullptr, nullptr, nullptr, 0,        \
                    nullptr, 0, nullptr, nullptr, nullptr, nullptr, nullptr, KN_LOG_DEBUG, 0, 0,   \
                    0})
#else
#define KN_HUB_OPTIONS_INIT ((kn_hub_options){.struct_size = sizeof(kn_hub_options)})
#define KN_HUB_OPTIONS(...) (&(kn_hub_options){.struct_size = sizeof(kn_hub_options), __VA_ARGS__})
#endif

/**
 * NULL options are all defaults. The environment is read here, once (docs/offline.md lists the variables).
 * Error: KN_ERR_INVALID (which option or variable, what came, what is accepted), KN_ERR_NO_MEMORY. Owns: *out is the caller's, close
 * it. Threads: any. Touches no disk and no network, but for the system's list of users where a home directory is needed and HOME is
 * not set.
 */
KN_API kn_status kn_hub_open(const kn_hub_options *opts, kn_hub **out, kn_error *err);
/** NULL is fine. Threads: after all others. */
KN_API void kn_hub_close(kn_hub *hub);

/**
 * Asks the endpoint anew from here on: what it answered so far, failures too, is not the answer any more. What was handed out stays
 * valid, and so it is kept until the hub is closed: each forgotten answer that was in use costs its memory until then, so that this is no
 * call for every step of a loop. Threads: any.
 */
KN_API void kn_hub_forget(kn_hub *hub);

KN_API bool kn_hub_is_offline(const kn_hub *hub);
KN_API const char *
kn_hub_endpoint(const kn_hub *hub); // borrowed until the hub closes; so are the next two
KN_API const char *kn_hub_cache_dir(
    const kn_hub *hub); // "" when there is none (no home directory): downloads are an error then
KN_API const char *kn_hub_state_dir(const kn_hub *hub); // "" likewise: records are not kept then
/** Does the endpoint's word on a publisher count? */
KN_API bool kn_hub_endpoint_is_trusted(const kn_hub *hub);
/**
 * Where the token for the endpoint comes from ("HF_TOKEN", "the file …"), borrowed until the hub closes; *source is NULL when there is
 * none. Reads the token file, which opening a hub does not. Error: KN_ERR_INVALID, KN_ERR_IO, KN_ERR_NO_MEMORY. Threads: any.
 */
KN_API kn_status kn_hub_token_source(const kn_hub *hub, const char **source, kn_error *err);

/** How far the bytes of a kernel are to be believed. Nothing is ever called "verified". */
typedef enum kn_level {
    KN_LEVEL_NONE = 0,      // a directory of this machine: nobody but its owner says anything of it
    KN_LEVEL_TRANSPORT = 1, // these bytes are what the endpoint said
    KN_LEVEL_PINNED = 2,    // a lock with content hashes names these very bytes
} kn_level;
KN_API const char *kn_level_text(kn_level level); // "none", "transport", "pinned"

/** Which revision of a repository is wanted. */
typedef struct kn_hub_wish {
    size_t struct_size;
    const char *
        repo_id; // "owner/name"; with at most one of the next three; none: `main`, with one warning
    const char
        *revision; // a branch, tag, ref ("refs/pr/1") or commit, also abbreviated (7 to 39 digits)
    const char *
        version; // a version specifier over the tags v<version> (">=0.0.4,<0.1"); digits alone: the branch v<N>
    const char *lock; // absolute path of a kernels.lock: the commit that it names
    const char *
        sums; // absolute path of a *.lock.sums: the commit and the content that it names for this very wish. A lock's own
              // (`<lock>.sums`) is found without being named
    uint32_t trust_remote_code; // 1: consent to a publisher whom the endpoint does not call trusted
    uint32_t reserved;
} kn_hub_wish;

#ifdef __cplusplus
#define KN_HUB_WISH_INIT                                                                           \
    (kn_hub_wish{sizeof(kn_hub_wish), nullptr, nullptr, nullptr, nullptr, nullptr, 0, 0})
#else
#define KN_HUB_WISH_INIT ((kn_hub_wish){.struct_size = sizeof(kn_hub_wish)})
#define KN_HUB_WISH(...) (&(kn_hub_wish){.struct_size = sizeof(kn_hub_wish), __VA_ARGS__})
#endif

/** A commit of a repository, and why it. Immutable. */
typedef struct kn_revision kn_revision;

/**
 * The commit that a wish means. A commit that is named in full needs no network when it is cached; online everything else is asked of
 * the endpoint, once per hub and repository (negative answers too); offline the cache's refs answer.
 *
 * trace: NULL, or takes what was looked at (stages "resolve" and "publisher").
 * Error: KN_ERR_INVALID (repo_id, revision, specifier), KN_ERR_NOT_FOUND (what exists; offline: what is cached), KN_ERR_NETWORK,
 * KN_ERR_DENIED (private, gated, bad token), KN_ERR_UNTRUSTED (publisher, endpoint, a moved or conflicting tag, an owner that
 * changed), KN_ERR_FORMAT (the hub's answer, a lock), KN_ERR_CANCELLED, KN_ERR_IO, KN_ERR_NO_MEMORY.
 * Owns: *out is the caller's: kn_revision_free. Threads: any; blocks on the network, and on another thread that asks the same.
 */
KN_API kn_status kn_hub_resolve(kn_hub *hub, const kn_hub_wish *wish, kn_revision **out,
                                kn_trace *trace, kn_error *err);
KN_API void kn_revision_free(kn_revision *revision);

/** Borrowed from the revision. */
KN_API const char *kn_revision_repo_id(
    const kn_revision *revision); // as it was asked for, or where a redirect that was followed led
KN_API const char *kn_revision_repo_type(const kn_revision *revision); // "kernel", "model"
KN_API const char *kn_revision_commit(const kn_revision *revision);    // 40 hexadecimal digits
KN_API const char *
kn_revision_ref(const kn_revision *revision); // "v0.0.5", "main"; "" for a commit
KN_API const char *kn_revision_moved_to(
    const kn_revision *revision); // where kernel-status.toml says it moved; "" when it says nothing
KN_API const char *kn_revision_publisher(
    const kn_revision *revision); // why the publisher rule is satisfied, a few words
KN_API kn_level kn_revision_level(const kn_revision *revision); // of what is fetched by it

/** The build variants of a revision. */
typedef struct kn_variants kn_variants;
/**
 * Cached and complete variants alone when offline or when the commit was named in full and one of them is cached (is_whole 0); else
 * all that the endpoint lists. Error: as kn_hub_resolve. Owns: *out is the caller's: kn_variants_free. Threads: any.
 */
KN_API kn_status kn_hub_list(kn_hub *hub, const kn_revision *revision, kn_variants **out,
                             kn_error *err);
/** The same, never from the cache alone: what kn_hub_list gives when no cached variant suits. Offline KN_ERR_NOT_FOUND. */
KN_API kn_status kn_hub_list_all(kn_hub *hub, const kn_revision *revision, kn_variants **out,
                                 kn_error *err);
KN_API void kn_variants_free(kn_variants *variants);
KN_API size_t kn_variants_count(const kn_variants *variants);
KN_API const char *
kn_variants_name(const kn_variants *variants,
                 size_t index); // borrowed; NULL when index is not below the count
KN_API uint64_t kn_variants_size_bytes(const kn_variants *variants,
                                       size_t index); // of all its files; 0 when not known
KN_API bool kn_variants_is_cached(const kn_variants *variants, size_t index);
KN_API bool
kn_variants_is_whole(const kn_variants *variants); // all that there are, not the cached ones alone

/**
 * metadata.json of a variant, checked against the endpoint's hash (or the cached one), before anything else of it is fetched.
 * Error: as kn_hub_resolve; KN_ERR_UNTRUSTED (hash). Owns: *out is the caller's: kn_string_free; *size without the final zero.
 */
KN_API kn_status kn_hub_fetch_metadata(kn_hub *hub, const kn_revision *revision,
                                       const char *variant, char **out, size_t *size,
                                       kn_error *err);
/**
 * The directory of a variant, complete: from the cache, from a site's cache, or downloaded. Each file was checked against the
 * endpoint's hash before it appeared under its name; with a lock's hashes, against those too.
 * Error: as kn_hub_resolve; KN_ERR_UNTRUSTED (hash, hostile answer), KN_ERR_IO (disk). Owns: *dir is the caller's: kn_string_free.
 */
KN_API kn_status kn_hub_fetch(kn_hub *hub, const kn_revision *revision, const char *variant,
                              char **dir, kn_error *err);
/** All variants; *dir is the snapshot's. */
KN_API kn_status kn_hub_fetch_all(kn_hub *hub, const kn_revision *revision, char **dir,
                                  kn_error *err);

/**
 * Reads every file of a variant that is here and holds it against what is known of it: online against what the endpoint lists, offline
 * against the names of the blobs that it is kept under; with a lock, against what that says. kn_hub_fetch does this when a file comes in,
 * and takes what is in the cache by its names alone.
 *
 * trace: NULL, or takes an entry for each comparison (stage "compare").
 * Error: KN_ERR_NOT_FOUND (it is not here), KN_ERR_UNTRUSTED (a file is another, is missing, or is one too many: which), KN_ERR_IO; as
 * kn_hub_resolve. Threads: any; blocks on the disk and the network.
 */
KN_API kn_status kn_hub_compare(kn_hub *hub, const kn_revision *revision, const char *variant,
                                kn_trace *trace, kn_error *err);

/** What a repository has to choose from. */
typedef struct kn_versions kn_versions;
typedef struct kn_version_row {
    size_t struct_size;
    const char *ref;     // "v0.0.5"
    const char *version; // "0.0.5", as PEP 440 reads it; of a branch "5"; "" for other refs
    const char *commit;
    uint32_t is_branch; // else a tag
    uint32_t is_chosen; // the wish takes this one
    const char *reason; // why, or why not: "newest that satisfies >=0.0.4"
} kn_version_row;
#ifdef __cplusplus
#define KN_VERSION_ROW_INIT                                                                        \
    (kn_version_row{sizeof(kn_version_row), nullptr, nullptr, nullptr, 0, 0, nullptr})
#else
#define KN_VERSION_ROW_INIT ((kn_version_row){.struct_size = sizeof(kn_version_row)})
#endif
/**
 * Tags by version, oldest first, then version branches by number, then other refs by name. wish: revision, version or neither.
 * A wish that nothing satisfies is no error here: no row is chosen then. Error: as kn_hub_resolve.
 */
KN_API kn_status kn_hub_versions(kn_hub *hub, const kn_hub_wish *wish, kn_versions **out,
                                 kn_error *err);
KN_API void kn_versions_free(kn_versions *versions);
KN_API size_t kn_versions_count(const kn_versions *versions);
KN_API bool
kn_versions_is_whole(const kn_versions *versions); // false: what the cache knows, offline
KN_API const char *kn_versions_repo_type(const kn_versions *versions);
/** Borrowed from the versions. Error: KN_ERR_INVALID. */
KN_API kn_status kn_versions_get(const kn_versions *versions, size_t index, kn_version_row *out,
                                 kn_error *err);

/**
 * What lies in the user's cache: a snapshot of a kernel repository each, and after those of a repository what none of them has any use for
 * (of a download that was broken off, say), with "" as commit. Site caches are not looked at.
 */
typedef struct kn_cache_list kn_cache_list;
typedef struct kn_cache_item {
    size_t struct_size;
    const char *repo_id;
    const char *repo_type; // "kernel", "model"
    const char *commit;
    const char *const *refs; // that lead to it
    size_t n_refs;
    const char *const *variants; // that are complete
    size_t n_variants;
    uint64_t size_bytes; // of its files, each content once
    uint64_t
        unique_bytes;   // of what no other snapshot of the repository has: what removing it frees
    uint64_t new_bytes; // of what no item before it in the list has: their sum is the size of all
    int64_t modified;   // seconds since the epoch
} kn_cache_item;
#ifdef __cplusplus
#define KN_CACHE_ITEM_INIT                                                                         \
    (kn_cache_item{sizeof(kn_cache_item), nullptr, nullptr, nullptr, nullptr, 0, nullptr, 0, 0, 0, \
                   0, 0})
#else
#define KN_CACHE_ITEM_INIT ((kn_cache_item){.struct_size = sizeof(kn_cache_item)})
#endif
/**
 * By repository and commit. A cache that is not there holds nothing; folders that are no kernels are left out.
 * Error: KN_ERR_IO, KN_ERR_UNTRUSTED (links), KN_ERR_NO_MEMORY. Owns: *out is the caller's: kn_cache_list_free. Threads: any.
 */
KN_API kn_status kn_hub_cache_list(const kn_hub *hub, kn_cache_list **out, kn_error *err);
KN_API void kn_cache_list_free(kn_cache_list *list);
KN_API size_t kn_cache_list_count(const kn_cache_list *list);
/** Borrowed from the list. Error: KN_ERR_INVALID. */
KN_API kn_status kn_cache_list_get(const kn_cache_list *list, size_t index, kn_cache_item *out,
                                   kn_error *err);
/**
 * Removes an item: its refs, the snapshot by one rename, then what no other snapshot of the repository names. freed_bytes: NULL, or
 * how much room that gave back. Error: KN_ERR_NOT_FOUND (not for what has "" as commit), KN_ERR_IO (read only), KN_ERR_INVALID. Threads: any; other processes may read
 * and write the cache meanwhile.
 */
KN_API kn_status kn_hub_cache_remove(kn_hub *hub, const kn_cache_item *item, uint64_t *freed_bytes,
                                     kn_error *err);

/** What `kernels lock` is to do. */
typedef struct kn_lock_options {
    size_t struct_size;
    const char *const *
        update; // repositories whose pin is looked for anew; others keep theirs while it satisfies what is asked
    size_t n_update;
    uint32_t update_all;
    uint32_t check; // 1: write nothing, say whether everything is as it would be written
    uint32_t trust_remote_code; // as in a wish, for every repository
    uint32_t reserved;
} kn_lock_options;
#ifdef __cplusplus
#define KN_LOCK_OPTIONS_INIT (kn_lock_options{sizeof(kn_lock_options), nullptr, 0, 0, 0, 0, 0})
#else
#define KN_LOCK_OPTIONS_INIT ((kn_lock_options){.struct_size = sizeof(kn_lock_options)})
#endif

/**
 * Locks what a project needs: dir/pyproject.toml, table [tool.kernels.dependencies], into dir/kernels.lock (docs/trust.md has the
 * formats) and dir/kernels.lock.sums. All or nothing. check: offline answers from the files alone where they suffice.
 *
 * is_current: what was there was right already (with check: is right). trace: one entry a repository (stage "lock").
 * Error: as kn_hub_resolve; KN_ERR_FORMAT (pyproject.toml, an existing lock), KN_ERR_IO. Threads: any; blocks on the network. Several
 * repositories are asked for at once, on threads of its own, on which the hub's callbacks are then called.
 */
KN_API kn_status kn_hub_lock_project(kn_hub *hub, const char *dir, const kn_lock_options *opts,
                                     bool *is_current, kn_trace *trace, kn_error *err);
/** The same for a mapping file, X.toml: X.lock.sums beside it, with every hub repository of its entries. kn_mapping_read honours it. */
KN_API kn_status kn_hub_lock_mapping(kn_hub *hub, const char *mapping_path,
                                     const kn_lock_options *opts, bool *is_current, kn_trace *trace,
                                     kn_error *err);

#ifdef __cplusplus
}
#endif
#endif
