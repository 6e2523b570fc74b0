// What it costs to get a kernel that is cached, by its full commit: hub_load REPO COMMIT. The environment names the cache.
//
//   first   libtvm_ffi is opened, the object is mapped
//   fresh   a context of its own each time: the cache is looked through, every file is hashed, the object is mapped already
//   again   the same context: what Python's get_kernel does when it is called a second time
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "kernels/context.h"

enum { N_FRESH = 50, N_AGAIN = 100000 };

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void get(kn_context *ctx, const kn_kernel_options *opts)
{
    kn_error err = KN_ERROR_INIT;
    kn_kernel *kernel = NULL;
    if (kn_context_get_kernel(ctx, opts, &kernel, NULL, &err) != KN_OK) {
        fprintf(stderr, "hub_load: %s\n", kn_error_text(&err));
        exit(1);
    }
}

static kn_context *opened(void)
{
    kn_error err = KN_ERROR_INIT;
    kn_context *ctx = NULL;
    if (kn_context_open(NULL, &ctx, &err) != KN_OK) {
        fprintf(stderr, "hub_load: %s\n", kn_error_text(&err));
        exit(1);
    }
    return ctx;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("usage: hub_load REPO COMMIT\n", stderr);
        return 2;
    }
    const kn_kernel_options *opts =
        KN_KERNEL_OPTIONS(.repo_id = argv[1], .revision = argv[2], .trust_remote_code = 1);
    double t = now_s();
    kn_context *ctx = opened();
    get(ctx, opts);
    const double first = now_s() - t;

    t = now_s();
    for (int i = 0; i < N_AGAIN; ++i)
        get(ctx, opts);
    const double again = (now_s() - t) / N_AGAIN;
    kn_context_close(ctx);

    t = now_s();
    for (int i = 0; i < N_FRESH; ++i) {
        ctx = opened();
        get(ctx, opts);
        kn_context_close(ctx);
    }
    printf("{\"first_ms\": %.3f, \"fresh_ms\": %.3f, \"again_us\": %.3f}\n", first * 1e3,
           (now_s() - t) / N_FRESH * 1e3, again * 1e6);
    return 0;
}
