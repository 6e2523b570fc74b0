#include "context/prefetch.h"

#include <stdatomic.h>

#include "base/alloc.h"
#include "base/error.h"
#include "context/resolve.h"
#include "hub/crew.h"

enum { THREADS_MAX = 32 };

typedef struct fleet {
    kn_context *ctx;
    kni_crew crew;
    const kn_framework *framework;
    const kni_wanted_kernel **wanted;
    size_t n;
    atomic_size_t next;
} fleet;

static void work_by(fleet *f, const kn_hub *hub)
{
    for (size_t i; !kni_crew_is_stopped(&f->crew) && (i = atomic_fetch_add(&f->next, 1)) < f->n;) {
        kn_kernel *kernel = NULL;
        if (kni_context_get_by(f->ctx, hub, f->wanted[i]->reference, f->framework,
                               &f->wanted[i]->device, &kernel, NULL, NULL) == KN_ERR_CANCELLED)
            kni_crew_stop(&f->crew);
    }
}

static void *work(void *data)
{
    fleet *f = data;
    work_by(f, &f->crew.hub);
    return NULL;
}

// A hub's, not kept, and not asked for by an earlier one.
static bool is_wanted(kn_context *ctx, const fleet *f, const kni_wanted_kernel *one)
{
    kni_source source;
    bool is = one->reference->kind != KN_REFERENCE_PATH &&
              kni_source_init(&source, one->reference, f->framework, NULL, NULL) == KN_OK;
    if (!is)
        return false;
    is = !source.dir && !kni_kept_has(&ctx->kept, source.key, &one->device);
    kni_source_dispose(&source);
    for (size_t i = 0; is && i < f->n; ++i)
        is = f->wanted[i]->reference != one->reference ||
             !kni_same_kernels_fit(&f->wanted[i]->device, &one->device);
    return is;
}

kn_status kni_context_prefetch(kn_context *ctx, const kn_framework *framework,
                               const kni_wanted_kernel *wanted, size_t n, kn_error *err)
{
    pthread_t threads[THREADS_MAX];
    size_t n_threads = 0;
    fleet f = {.ctx = ctx, .framework = framework, .wanted = kni_calloc(n, sizeof(*f.wanted))};
    for (size_t i = 0; f.wanted && i < n; ++i)
        if (is_wanted(ctx, &f, &wanted[i]))
            f.wanted[f.n++] = &wanted[i];
    atomic_init(&f.next, 0);
    kni_crew_init(&f.crew, ctx->hub);
    while (f.n > 1 && n_threads + 1 < f.n && n_threads < THREADS_MAX &&
           pthread_create(&threads[n_threads], NULL, work, &f) == 0)
        ++n_threads;
    if (n_threads > 0)
        work_by(&f, ctx->hub); // this thread too
    for (size_t i = 0; i < n_threads; ++i)
        kni_crew_join(&f.crew, threads[i], "");
    kni_free(f.wanted);
    return kni_crew_is_stopped(&f.crew) ? kn_error_set(err, KN_ERR_CANCELLED, "cancelled") : KN_OK;
}
