// What it costs to get a kernel from a package on disk, once libtvm_ffi is open.
//
//   first   a package that the process has not seen: list, choose, read metadata, hash, read the object, map
//   again   the same package once more
//   hash    how the first load grows with the size of the package: bytes per second of a data file that is listed
//
// Every "first" is another package. Files are in the page cache: they have just been written. Bars: first 1 ms, again 10 us, hash
// 1 GB/s.
#include <ftw.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "kernels/context.h"

enum {
    N_FIRST = 200,
    N_AGAIN = 100000,
    DATA_SIZE = 64 << 20,
    PATH_SIZE = 256,
    TEXT_SIZE = 1024,
};

static char root[] = "/tmp/kn-bench-XXXXXX";
static char variant[64];

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "bench_load: %s\n", what);
    exit(1);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0)
        die(path);
}

static void *read_file(const char *path, size_t *size)
{
    struct stat info;
    FILE *file = fopen(path, "rb");
    if (!file || fstat(fileno(file), &info) != 0)
        die(path);
    *size = (size_t)info.st_size;
    void *data = malloc(*size);
    if (!data || fread(data, 1, *size, file) != *size)
        die(path);
    fclose(file);
    return data;
}

// Writes a file and appends it to the members of "digest.files".
static void write_listed(const char *dir, const char *name, const void *data, size_t size,
                         char files[TEXT_SIZE])
{
    char path[PATH_SIZE * 2];
    unsigned char digest[32], base64[64];
    const size_t used = strlen(files);
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    write_file(path, data, size);
    if (EVP_Digest(data, size, digest, NULL, EVP_sha256(), NULL) != 1)
        die("SHA-256");
    EVP_EncodeBlock(base64, digest, sizeof(digest));
    snprintf(files + used, TEXT_SIZE - used, "%s\"%s\": \"%s\"", used ? ", " : "", name,
             (const char *)base64);
}

// Package number `index`, with a data file of `extra` bytes; its root into `path`.
static void make_package(int index, const void *library, size_t size, size_t extra,
                         char path[PATH_SIZE])
{
    char dir[PATH_SIZE * 2], files[TEXT_SIZE] = "", metadata[TEXT_SIZE * 2];
    snprintf(path, PATH_SIZE, "%s/%d", root, index);
    snprintf(dir, sizeof(dir), "%s/build", path);
    if (mkdir(path, 0755) != 0 || mkdir(dir, 0755) != 0)
        die(dir);
    snprintf(dir, sizeof(dir), "%s/build/%s", path, variant);
    if (mkdir(dir, 0755) != 0)
        die(dir);
    write_listed(dir, "kernel.so", library, size, files);
    if (extra) {
        void *data = malloc(extra);
        if (!data)
            die("data");
        memset(data, index, extra);
        write_listed(dir, "data.bin", data, extra, files);
        free(data);
    }
    snprintf(metadata, sizeof(metadata),
             "{\"name\": \"bench\", \"library\": \"kernel.so\", \"layers\": {\"Nothing\": "
             "{\"signature\": \"(x: f32 [...]) -> (y: like x)\", \"forward\": \"nothing(y, x)\"}}, "
             "\"digest\": {\"algorithm\": \"sha256\", \"files\": {%s}}}",
             files);
    snprintf(dir + strlen(dir), sizeof(dir) - strlen(dir), "/metadata.json");
    write_file(dir, metadata, strlen(metadata));
}

static double get_s(kn_context *ctx, const char *path)
{
    kn_kernel *kernel = NULL;
    kn_error err = KN_ERROR_INIT;
    const double begin = now_s();
    if (kn_context_get_kernel(ctx, KN_KERNEL_OPTIONS(.path = path), &kernel, NULL, &err) != KN_OK)
        die(kn_error_text(&err));
    return now_s() - begin;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

int main(void)
{
    char path[PATH_SIZE];
    size_t size;
    kn_context *ctx = NULL;
    static double first_s[N_FIRST];
    void *library = read_file(KN_BENCH_KERNEL, &size);
    if (!mkdtemp(root) || kn_context_open(NULL, &ctx, NULL) != KN_OK)
        die("cannot begin");
    snprintf(variant, sizeof(variant), "tvm-ffi01-cpu-%s-linux",
             kn_machine_cpu_arch(kn_context_machine(ctx)));

    make_package(0, library, size, 0, path);
    const double with_tvm_ffi_s = get_s(ctx, path);
    for (int i = 0; i < N_FIRST; ++i) {
        make_package(i + 1, library, size, 0, path);
        first_s[i] = get_s(ctx, path);
    }
    const double begin = now_s();
    for (int i = 0; i < N_AGAIN; ++i)
        get_s(ctx, path);
    const double again_s = (now_s() - begin) / N_AGAIN;
    qsort(first_s, N_FIRST, sizeof(*first_s), compare);
    double rate = 0; // best of five
    for (int i = 0; i < 5; ++i) {
        make_package(N_FIRST + 1 + i, library, size, DATA_SIZE, path);
        const double this_rate = DATA_SIZE / (get_s(ctx, path) - first_s[N_FIRST / 2]);
        rate = this_rate > rate ? this_rate : rate;
    }
    printf("{\"bench\": \"load\", \"library_bytes\": %zu, \"packages\": %d, "
           "\"first_with_libtvm_ffi_ms\": %.3f, \"first_ms_median\": %.3f, \"first_ms_p95\": "
           "%.3f, \"again_us\": %.3f, \"hash_gb_per_s\": %.2f}\n",
           size, N_FIRST, with_tvm_ffi_s * 1e3, first_s[N_FIRST / 2] * 1e3,
           first_s[N_FIRST * 95 / 100] * 1e3, again_s * 1e6, rate * 1e-9);
    kn_context_close(ctx);
    free(library);
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}
