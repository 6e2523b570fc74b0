#include <errno.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/fs.h"
#include "kernels/package.h"
#include "package/variant.h"

struct kn_listing {
    kni_names names; // sorted
    kni_names paths; // absolute, in the same order
};

static kn_status add(kn_listing *listing, const char *path, kn_error *err)
{
    if (kni_names_push(&listing->names, kni_strdup(kni_path_basename(path))) &&
        kni_names_push(&listing->paths, kni_strdup(path)))
        return KN_OK;
    return kni_no_memory(err);
}

// A directory itself, not through a link. Error: KN_ERR_UNTRUSTED for a link to one.
static kn_status is_own_directory(const char *path, bool *yes, kn_error *err)
{
    struct stat info;
    *yes = false;
    if (lstat(path, &info) != 0)
        return errno == ENOENT ? KN_OK : kni_error_errno(err, errno, path, "cannot read");
    if (S_ISLNK(info.st_mode) && kni_dir_exists(path))
        return kn_error_set(err, KN_ERR_UNTRUSTED,
                            "%s: is a link to a directory: a package has none", path);
    *yes = S_ISDIR(info.st_mode);
    return KN_OK;
}

// Every directory below `dir` is a candidate; what its name means is judged later, so that a wrong name is seen.
static kn_status add_children(kn_listing *listing, const char *dir, kn_error *err)
{
    kni_names names = {NULL, 0, 0};
    kn_status st = kni_dir_list(dir, &names, err);
    for (size_t i = 0; st == KN_OK && i < names.count; ++i) {
        if (names.names[i][0] == '.')
            continue;
        bool yes = false;
        char *path = kni_path_join(dir, names.names[i]);
        st = path ? is_own_directory(path, &yes, err) : kni_no_memory(err);
        if (st == KN_OK && yes)
            st = add(listing, path, err);
        kni_free(path);
    }
    kni_names_free(&names);
    return st;
}

// The first packages have no metadata.json: the directory's name tells.
static bool is_variant(const char *dir, const char *metadata)
{
    kni_variant variant;
    return kni_file_exists(metadata) ||
           kni_variant_parse(kni_span_of(kni_path_basename(dir)), &variant, NULL) == KN_OK;
}

static kn_status fill(kn_listing *listing, const char *dir, kn_error *err)
{
    bool has_build = false;
    char *metadata = kni_path_join(dir, "metadata.json");
    char *build = kni_path_join(dir, "build");
    kn_status st = KN_OK;
    if (!metadata || !build)
        st = kni_no_memory(err);
    else if (is_variant(dir, metadata))
        st = add(listing, dir, err);
    else if ((st = is_own_directory(build, &has_build, err)) == KN_OK)
        st = add_children(listing, has_build ? build : dir, err);
    if (st == KN_OK && listing->names.count == 0)
        st = kn_error_set(err, KN_ERR_NOT_FOUND,
                          "%s: holds no build variant: looked for metadata.json, and for "
                          "directories below %s",
                          dir, has_build ? "build/" : "it");
    kni_free(metadata);
    kni_free(build);
    return st;
}

kn_status kn_listing_open(const char *dir, kn_listing **out, kn_error *err)
{
    if (!out || !dir)
        return kn_error_set(err, KN_ERR_INVALID, "kn_listing_open: an argument is NULL");
    *out = NULL;
    char *real = NULL;
    kn_listing *listing = kni_calloc(1, sizeof(*listing));
    if (!listing)
        return kni_no_memory(err);
    kn_status st = kni_path_real(dir, &real, err);
    if (st == KN_OK && !kni_dir_exists(real))
        st = kn_error_set(err, KN_ERR_NOT_FOUND, "%s: is not a directory", dir);
    if (st == KN_OK)
        st = fill(listing, real, err);
    if (st == KN_OK)
        *out = listing;
    else
        kn_listing_close(listing);
    kni_free(real);
    return st;
}

void kn_listing_close(kn_listing *listing)
{
    if (!listing)
        return;
    kni_names_free(&listing->names);
    kni_names_free(&listing->paths);
    kni_free(listing);
}

size_t kn_listing_count(const kn_listing *listing)
{
    return listing->names.count;
}

const char *kn_listing_name(const kn_listing *listing, size_t index)
{
    return index < listing->names.count ? listing->names.names[index] : NULL;
}

const char *kn_listing_path(const kn_listing *listing, size_t index)
{
    return index < listing->paths.count ? listing->paths.names[index] : NULL;
}
