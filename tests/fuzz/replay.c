// Runs a fuzz target over every file of the directories given: what libFuzzer does with a corpus, for compilers without it.
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "fuzz.h"

#define SIZE_MAX_BYTES ((size_t)16 << 20)

static int replay(const char *dir, const char *name)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(SIZE_MAX_BYTES);
    if (!file || !data) {
        fprintf(stderr, "replay: cannot read %s\n", path);
        free(data);
        if (file)
            fclose(file);
        return 1;
    }
    const size_t size = fread(data, 1, SIZE_MAX_BYTES, file);
    fclose(file);
    uint8_t *exact = malloc(size ? size : 1); // so that a sanitizer sees a read beyond the end
    if (exact) {
        memcpy(exact, data, size);
        printf("%s\n", path);
        fflush(stdout);
        LLVMFuzzerTestOneInput(exact, size);
    }
    free(data);
    free(exact);
    return exact == NULL;
}

int main(int argc, char **argv)
{
    int failures = 0, count = 0;
    for (int i = 1; i < argc; ++i) {
        DIR *dir = opendir(argv[i]);
        const struct dirent *entry;
        if (!dir) {
            fprintf(stderr, "replay: cannot open %s\n", argv[i]);
            return 1;
        }
        while ((entry = readdir(dir)))
            if (entry->d_name[0] != '.') {
                failures += replay(argv[i], entry->d_name);
                ++count;
            }
        closedir(dir);
    }
    if (count == 0)
        fprintf(stderr, "replay: no input\n");
    return failures || count == 0;
}
