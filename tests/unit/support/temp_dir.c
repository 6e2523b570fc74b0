#include "support/temp_dir.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/cmocka.h"

char *temp_dir_new(void)
{
    const char *base = getenv("TMPDIR");
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/kernels-test-XXXXXX", base && base[0] ? base : "/tmp");
    assert_non_null(mkdtemp(path));
    char *real = realpath(path, NULL);
    assert_non_null(real);
    return real;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

void temp_dir_remove(char *path)
{
    assert_int_equal(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    free(path);
}

const char *temp_dir_path(const char *dir, const char *name)
{
    static char paths[4][PATH_MAX];
    static size_t turn;
    char *path = paths[turn++ % 4];
    assert_in_range(snprintf(path, PATH_MAX, "%s/%s", dir, name), 1, PATH_MAX - 1);
    return path;
}

// The path of a new entry, with the directories that lead to it.
static const char *prepare(const char *dir, const char *name)
{
    char path[PATH_MAX];
    assert_in_range(snprintf(path, sizeof(path), "%s/%s", dir, name), 1, PATH_MAX - 1);
    for (char *end = path + strlen(dir) + 1; (end = strchr(end, '/')); ++end) {
        *end = '\0';
        mkdir(path, 0777);
        *end = '/';
    }
    return temp_dir_path(dir, name);
}

void temp_dir_write(const char *dir, const char *name, const void *data, size_t size)
{
    FILE *file = fopen(prepare(dir, name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

void temp_dir_text(const char *dir, const char *name, const char *text)
{
    temp_dir_write(dir, name, text, strlen(text));
}

void temp_dir_link(const char *dir, const char *name, const char *target)
{
    assert_int_equal(symlink(target, prepare(dir, name)), 0);
}
