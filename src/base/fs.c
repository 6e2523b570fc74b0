#include "base/fs.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"

enum {
    PATH_SIZE_MAX = 1024,
    NAME_SIZE_MAX = 255, // what file systems take
    DIR_NAMES_MAX = 10000,
    TREE_FILES_MAX = 100000,
    READ_CHUNK = 64 * 1024,
};

static kn_status path_refused(kn_error *err, const char *what, const char *path, const char *why)
{
    return kn_error_set(err, KN_ERR_UNTRUSTED,
                        "%s: the path '%.200s' %s: expected a relative path below the root", what,
                        path, why);
}

kn_status kni_path_check_relative(const char *path, const char *what, kn_error *err)
{
    const kni_span whole = kni_span_of(path);
    if (whole.size == 0)
        return path_refused(err, what, "", "is empty");
    if (whole.size > PATH_SIZE_MAX)
        return path_refused(err, what, path, "is longer than 1024 bytes");
    if (path[0] == '/')
        return path_refused(err, what, path, "is absolute");
    if (strchr(path, '\\'))
        return path_refused(err, what, path, "holds a backslash");

    if (!kni_text_is_clean(path, whole.size))
        return path_refused(err, what, path, "holds a control character or is not UTF-8");

    kni_span rest = whole, part;
    while (kni_span_cut(&rest, '/', &part)) {
        if (part.size == 0)
            return path_refused(err, what, path, "has an empty component");
        if (kni_span_is(part, ".") || kni_span_is(part, ".."))
            return path_refused(err, what, path, "has a '.' or '..' component");
        if (part.size > NAME_SIZE_MAX)
            return path_refused(err, what, path, "has a component longer than 255 bytes");
    }
    return KN_OK;
}

bool kni_path_is_byte_code(const char *path)
{
    kni_span rest = kni_span_of(path), part;
    while (kni_span_cut(&rest, '/', &part))
        if (rest.data && kni_span_is(part, "__pycache__"))
            return true;
    return kni_span_ends(kni_span_of(path), ".pyc");
}

char *kni_path_join(const char *dir, const char *name)
{
    kni_buf path = KNI_BUF_ANY;
    if (!kni_path_is_absolute(name) && dir[0] != '\0') {
        kni_buf_puts(&path, dir);
        if (!kni_span_ends(kni_span_of(dir), "/"))
            kni_buf_puts(&path, "/");
    }
    kni_buf_puts(&path, name);
    return kni_buf_take(&path);
}

char *kni_path_dirname(const char *path)
{
    const char *end = strrchr(path, '/');
    if (!end)
        return kni_strdup(".");
    while (end > path && end[-1] == '/')
        --end;
    return end == path ? kni_strdup("/") : kni_strndup(path, (size_t)(end - path));
}

const char *kni_path_basename(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

bool kni_path_is_absolute(const char *path)
{
    return path[0] == '/';
}

kn_status kni_path_real(const char *path, char **out, kn_error *err)
{
    *out = NULL;
    char *real = realpath(path, NULL);
    if (!real)
        return kni_error_errno(err, errno, path, "cannot resolve the path");
    *out = kni_strdup(real);
    free(real);
    return *out ? KN_OK : kni_no_memory(err);
}

// What is not a regular file, in words.
static const char *kind_text(mode_t mode)
{
    return S_ISDIR(mode)    ? "a directory"
           : S_ISFIFO(mode) ? "a FIFO"
           : S_ISSOCK(mode) ? "a socket"
           : S_ISLNK(mode)  ? "a link"
                            : "a device";
}

// Opens a regular file for reading. It never waits for the writer of a FIFO.
static kn_status open_regular(const char *path, int *out, size_t *size, kn_error *err)
{
    struct stat info;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    *out = -1;
    if (fd < 0)
        return kni_error_errno(err, errno, path, "cannot open");
    if (fstat(fd, &info) != 0) {
        const int number = errno;
        close(fd);
        return kni_error_errno(err, number, path, "cannot read");
    }
    if (!S_ISREG(info.st_mode)) {
        close(fd);
        return kn_error_set(err, KN_ERR_INVALID, "%s: is %s: expected a regular file", path,
                            kind_text(info.st_mode));
    }
    *out = fd;
    *size = info.st_size > 0 ? (size_t)info.st_size : 0;
    return KN_OK;
}

static ssize_t read_retry(int fd, void *data, size_t size)
{
    ssize_t n;
    do
        n = read(fd, data, size);
    while (n < 0 && errno == EINTR);
    return n;
}

static kn_status too_large(const kni_buf *out, const char *path, kn_error *err)
{
    return kn_error_set(err, KN_ERR_FORMAT, "%s: is larger than the %zu bytes that are accepted",
                        path, out->max);
}

kn_status kni_file_read(kni_buf *out, const char *path, kn_error *err)
{
    const size_t before = out->size;
    int fd = -1;
    size_t expected = 0;
    kn_status st = open_regular(path, &fd, &expected, err);
    if (st != KN_OK)
        return st;
    if (expected > out->max - before) {
        st = too_large(out, path, err);
        goto done;
    }
    // The size is a hint: a file may grow meanwhile, and those of /proc say 0. Each round ends with a probe of one byte.
    for (size_t room = expected;; room = READ_CHUNK) {
        if (room > out->max - out->size)
            room = out->max - out->size;
        if (!kni_buf_reserve(out, room)) {
            st = kni_no_memory(err);
            goto done;
        }
        ssize_t n = 1;
        while (room > 0 && n > 0) {
            n = read_retry(fd, out->data + out->size, room);
            if (n > 0) {
                out->size += (size_t)n;
                room -= (size_t)n;
            }
        }
        char next;
        if (n > 0)
            n = read_retry(fd, &next, 1);
        if (n < 0) {
            st = kni_error_errno(err, errno, path, "cannot read");
            goto done;
        }
        if (n == 0)
            break;
        if (out->size == out->max) {
            st = too_large(out, path, err);
            goto done;
        }
        kni_buf_append(out, &next, 1);
        if (out->failed) {
            st = kni_no_memory(err);
            goto done;
        }
    }
done:
    if (st != KN_OK)
        out->size = before;
    if (out->data)
        out->data[out->size] = '\0';
    close(fd);
    return st;
}

static bool write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        const ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}

// Creates a file of a new name in the directory of `path`, so that a rename stays in one file system. -1 with errno.
static int open_aside(const char *path, char **aside)
{
    int fd = -1, number = ENOMEM;
    char *dir = kni_path_dirname(path);
    *aside = NULL;
    for (int attempt = 0; dir && fd < 0 && attempt < 16; ++attempt) {
        uint64_t random = 0;
        char name[32];
        if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
            random = (uint64_t)attempt; // O_EXCL decides
        snprintf(name, sizeof(name), ".kn-%016llx.tmp", (unsigned long long)random);
        kni_free(*aside);
        *aside = kni_path_join(dir, name);
        if (!*aside)
            break;
        fd = open(*aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
        number = errno;
        if (fd < 0 && number != EEXIST)
            break;
    }
    kni_free(dir);
    if (fd < 0) {
        kni_free(*aside);
        *aside = NULL;
        errno = number;
    }
    return fd;
}

// Writes `file` beside its path, on the disk; *aside is then the caller's.
static kn_status write_aside(const kni_file_text *file, char **aside, kn_error *err)
{
    const int fd = open_aside(file->path, aside);
    if (fd < 0)
        return kni_error_errno(err, errno, file->path, "cannot create a file in its directory");
    bool good = write_all(fd, file->data, file->size) && fsync(fd) == 0;
    int number = errno;
    if (close(fd) != 0 && good) {
        good = false;
        number = errno;
    }
    return good ? KN_OK : kni_error_errno(err, number, file->path, "cannot write");
}

kn_status kni_files_write(const kni_file_text *files, size_t n, kn_error *err)
{
    char *asides[KNI_FILES_MAX] = {NULL};
    kn_status st = KN_OK;
    assert(n <= KNI_FILES_MAX);
    for (size_t i = 0; st == KN_OK && i < n; ++i) {
        if (n > 1 && kni_dir_exists(files[i].path)) // where the rename would fail
            st = kni_error_errno(err, EISDIR, files[i].path, "cannot write");
        else
            st = write_aside(&files[i], &asides[i], err);
    }
    for (size_t i = 0; st == KN_OK && i < n; ++i) {
        if (rename(asides[i], files[i].path) != 0) {
            st = kni_error_errno(err, errno, files[i].path, "cannot write");
        } else {
            kni_free(asides[i]);
            asides[i] = NULL;
        }
    }
    for (size_t i = 0; i < n; ++i) {
        if (asides[i])
            unlink(asides[i]);
        kni_free(asides[i]);
    }
    return st;
}

kn_status kni_file_write(const char *path, const void *data, size_t size, kn_error *err)
{
    return kni_files_write(&(kni_file_text){path, data, size}, 1, err);
}

bool kni_file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

bool kni_dir_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

kn_status kni_dir_make(const char *path, kn_error *err)
{
    char *partial = kni_strdup(path);
    if (!partial)
        return kni_no_memory(err);
    kn_status st = KN_OK;
    for (char *end = partial; st == KN_OK && *end != '\0';) {
        end += strspn(end, "/");
        end += strcspn(end, "/");
        const char kept = *end;
        *end = '\0';
        if (mkdir(partial, 0777) != 0) {
            const int number = errno;
            if (!kni_dir_exists(partial))
                st = kni_error_errno(err, number, partial, "cannot create the directory");
        }
        *end = kept;
    }
    kni_free(partial);
    return st;
}

void kni_names_free(kni_names *names)
{
    for (size_t i = 0; i < names->count; ++i)
        kni_free(names->names[i]);
    kni_free(names->names);
    *names = (kni_names){NULL, 0, 0};
}

// Takes `name` over; without memory frees it. A NULL name is a failed allocation of the caller's.
bool kni_names_push(kni_names *names, char *name)
{
    void *array = names->names;
    if (!name || !kni_grow(&array, &names->capacity, names->count + 1, sizeof(char *))) {
        kni_free(name);
        return false;
    }
    names->names = array;
    names->names[names->count++] = name;
    return true;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_sort(kni_names *names)
{
    if (names->count)
        qsort(names->names, names->count, sizeof(char *), compare_names);
}

kn_status kni_dir_list(const char *path, kni_names *out, kn_error *err)
{
    kn_status st = KN_OK;
    *out = (kni_names){NULL, 0, 0};
    DIR *dir = opendir(path);
    if (!dir)
        return kni_error_errno(err, errno, path, "cannot open the directory");
    while (st == KN_OK) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry) {
            if (errno != 0)
                st = kni_error_errno(err, errno, path, "cannot read the directory");
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (out->count == DIR_NAMES_MAX)
            st = kn_error_set(err, KN_ERR_UNSUPPORTED, "%s: holds more than %d names", path,
                              DIR_NAMES_MAX);
        else if (!kni_names_push(out, kni_strdup(entry->d_name)))
            st = kni_no_memory(err);
    }
    closedir(dir);
    if (st != KN_OK)
        kni_names_free(out);
    names_sort(out);
    return st;
}

// Is the link at `path` one that resolves to a regular file below `real_root`?
static kn_status check_link(const char *path, const char *real_root, kn_error *err)
{
    char *real = NULL;
    kn_error ignored = KN_ERROR_INIT;
    kn_status st = kni_path_real(path, &real, &ignored);
    kn_error_dispose(&ignored);
    if (st == KN_ERR_NO_MEMORY)
        return kni_no_memory(err);
    const size_t size = strlen(real_root);
    if (!real)
        st = kn_error_set(err, KN_ERR_UNTRUSTED, "%s: is a link that leads nowhere", path);
    else if (strncmp(real, real_root, size) != 0 ||
             (size > 1 && real[size] != '/' && real[size] != '\0'))
        st = kn_error_set(err, KN_ERR_UNTRUSTED, "%s: is a link that leads out of %s", path,
                          real_root);
    else if (!kni_file_exists(real))
        st = kn_error_set(err, KN_ERR_UNTRUSTED,
                          "%s: is a link to something that is not a regular file", path);
    kni_free(real);
    return st;
}

typedef struct tree_walk {
    const char *root;
    const char *real_root; // NULL: links are not followed
    kni_names dirs;        // those found, relative; a queue
    kni_names *files;
} tree_walk;

// Sorts the entry `relative` (taken over) into the walk.
static kn_status visit(tree_walk *walk, char *relative, kn_error *err)
{
    kn_status st = KN_OK;
    struct stat info;
    char *path = kni_path_join(walk->root, relative);
    if (!path || strlen(relative) > PATH_SIZE_MAX) {
        st = path ? kn_error_set(err, KN_ERR_UNTRUSTED, "%s: '%.100s…' is longer than %d bytes",
                                 walk->root, relative, PATH_SIZE_MAX)
                  : kni_no_memory(err);
    } else if (lstat(path, &info) != 0) {
        st = kni_error_errno(err, errno, path, "cannot read");
    } else if (S_ISDIR(info.st_mode)) {
        if (!kni_names_push(&walk->dirs, relative))
            st = kni_no_memory(err);
        relative = NULL;
    } else {
        if (S_ISLNK(info.st_mode) && walk->real_root)
            st = check_link(path, walk->real_root, err);
        else if (S_ISLNK(info.st_mode))
            st = KN_OK;
        else if (!S_ISREG(info.st_mode))
            st = kn_error_set(err, KN_ERR_UNTRUSTED, "%s: is %s: expected a regular file", path,
                              kind_text(info.st_mode));
        if (st == KN_OK && walk->files->count == TREE_FILES_MAX)
            st = kn_error_set(err, KN_ERR_UNSUPPORTED, "%s: holds more than %d files", walk->root,
                              TREE_FILES_MAX);
        if (st == KN_OK) {
            if (!kni_names_push(walk->files, relative))
                st = kni_no_memory(err);
            relative = NULL;
        }
    }
    kni_free(relative);
    kni_free(path);
    return st;
}

static kn_status walk_dir(tree_walk *walk, const char *relative, kn_error *err)
{
    kni_names names = {NULL, 0, 0};
    kn_status st;
    char *path = kni_path_join(walk->root, relative);
    if (!path)
        return kni_no_memory(err);
    st = kni_dir_list(path, &names, err);
    for (size_t i = 0; st == KN_OK && i < names.count; ++i) {
        char *child = kni_path_join(relative, names.names[i]);
        st = child ? visit(walk, child, err) : kni_no_memory(err);
    }
    kni_names_free(&names);
    kni_free(path);
    return st;
}

static kn_status list_tree(const char *root, const char *real_root, kni_names *out, kn_error *err)
{
    tree_walk walk = {.root = root, .real_root = real_root, .files = out};
    *out = (kni_names){NULL, 0, 0};
    kn_status st = walk_dir(&walk, "", err);
    for (size_t i = 0; st == KN_OK && i < walk.dirs.count; ++i)
        st = walk_dir(&walk, walk.dirs.names[i], err);
    kni_names_free(&walk.dirs);
    if (st != KN_OK)
        kni_names_free(out);
    names_sort(out);
    return st;
}

kn_status kni_tree_list(const char *root, kni_names *out, kn_error *err)
{
    char *real_root = NULL;
    *out = (kni_names){NULL, 0, 0};
    kn_status st = kni_path_real(root, &real_root, err);
    if (st == KN_OK)
        st = list_tree(root, real_root, out, err);
    kni_free(real_root);
    return st;
}

kn_status kni_tree_list_links(const char *root, kni_names *out, kn_error *err)
{
    return list_tree(root, NULL, out, err);
}
