// A cache directory as huggingface_hub writes it, made by a test.
#ifndef SUPPORT_CACHE_DIR_H
#define SUPPORT_CACHE_DIR_H

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hub/blob_hash.h"
#include "hub/cache.h"
#include "support/cmocka.h"
#include "support/temp_dir.h"

#define CACHE_REPO "kernels--owner--name"
#define CACHE_COMMIT_1 "1111111111111111111111111111111111111111"
#define CACHE_COMMIT_2 "2222222222222222222222222222222222222222"

// The name of a blob with that content, of 40 or 64 digits; one of four buffers, in turn.
static inline const char *cache_blob_name(const char *content, size_t n_digits)
{
    static char names[4][KNI_SHA256_SIZE];
    static size_t turn;
    char *name = names[turn++ % 4];
    kni_blob_hash hash = {NULL};
    assert_int_equal(kni_blob_hash_begin(&hash, n_digits, strlen(content), NULL), KN_OK);
    assert_int_equal(kni_blob_hash_add(&hash, content, strlen(content), NULL), KN_OK);
    assert_int_equal(kni_blob_hash_end(&hash, name, NULL), KN_OK);
    kni_blob_hash_dispose(&hash);
    return name;
}

// A file of the snapshot: its blob, and the link to it.
static inline void cache_file(const char *dir, const char *commit, const char *path,
                              const char *content)
{
    char name[512], target[512] = "";
    const char *blob = cache_blob_name(content, 40);
    snprintf(name, sizeof(name), CACHE_REPO "/blobs/%s", blob);
    temp_dir_text(dir, name, content);
    for (const char *at = path; at; at = strchr(at + 1, '/'))
        strcat(target, "../");
    strcat(target, "../blobs/");
    strcat(target, blob);
    snprintf(name, sizeof(name), CACHE_REPO "/snapshots/%s/%s", commit, path);
    temp_dir_link(dir, name, target);
}

static inline void cache_ref(const char *dir, const char *ref, const char *content)
{
    char name[512];
    snprintf(name, sizeof(name), CACHE_REPO "/refs/%s", ref);
    temp_dir_text(dir, name, content);
}

static inline kni_repo cache_repo(void)
{
    kni_repo repo;
    assert_int_equal(kni_repo_init(&repo, KNI_REPO_KERNEL, "owner/name", NULL), KN_OK);
    return repo;
}

static inline kni_cache *cache_open(const char *dir)
{
    kni_cache *cache = NULL;
    assert_int_equal(kni_cache_new(dir, false, false, &cache, NULL), KN_OK);
    return cache;
}

static inline void cache_expect_error(kn_error *err, const char *part)
{
    if (!strstr(kn_error_text(err), part))
        fail_msg("'%s' lacks '%s'", kn_error_text(err), part);
    kn_error_dispose(err);
}

// Runs a case in a process of its own that is prepared first. What cannot be prepared is said, and skipped.
static inline void cache_in_child(bool (*prepare)(void *user), void (*run)(void *user), void *user)
{
    enum { SKIPPED = 77 };
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (!prepare(user))
            _exit(SKIPPED);
        run(user);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == SKIPPED)
        print_message("  skipped: this user may not do that here\n");
    else
        assert_int_equal(WEXITSTATUS(status), 0);
}

static inline bool cache_other_user(void *user)
{
    (void)user;
    return geteuid() == 0 && setgid(65534) == 0 && setuid(65534) == 0;
}

// A file system of 64 KiB on the directory, for this process alone.
static inline bool cache_small_disk(void *user)
{
    if (unshare(geteuid() == 0 ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) != 0)
        return false;
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", user, "tmpfs", 0, "size=64k") == 0;
}

#endif
