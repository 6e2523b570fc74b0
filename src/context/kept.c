#include "context/kept.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/trace.h"
#include "base/wait.h"
#include "context/kernel.h"

struct kni_wish {
    kni_wish *next;
    uint64_t hash; // of the key
    char *key;
    kn_device_info device; // its index does not count
    kn_kernel *kernel;     // NULL while a thread works on it
    kn_trace *steps;
    bool is_dropped; // serves nobody any more; kept, since its steps may be being read
};

bool kni_kept_init(kni_kept *kept)
{
    *kept = (kni_kept){.wishes = NULL};
    if (pthread_mutex_init(&kept->lock, NULL) != 0)
        return false;
    kni_cond_init(&kept->settled);
    return true;
}

static void free_wish(kni_wish *wish)
{
    kn_trace_free(wish->steps);
    kni_free(wish->key);
    kni_free(wish);
}

void kni_kept_dispose(kni_kept *kept)
{
    for (kni_wish *wish = kept->wishes, *next; wish; wish = next) {
        next = wish->next;
        free_wish(wish);
    }
    for (size_t i = 0; i < kept->n_kernels; ++i)
        kni_kernel_free(kept->kernels[i]);
    kni_free(kept->kernels);
    pthread_cond_destroy(&kept->settled);
    pthread_mutex_destroy(&kept->lock);
}

// FNV-1a.
static uint64_t hash_text(const char *text)
{
    uint64_t hash = 14695981039346656037u;
    for (; *text; ++text)
        hash = (hash ^ (unsigned char)*text) * 1099511628211u;
    return hash;
}

bool kni_same_kernels_fit(const kn_device_info *a, const kn_device_info *b)
{
    return a->type == b->type && a->capability == b->capability &&
           a->backend_major == b->backend_major && a->backend_minor == b->backend_minor &&
           strcmp(a->arch, b->arch) == 0;
}

static kni_wish *find_wish(const kni_kept *kept, uint64_t hash, const char *key,
                           const kn_device_info *device)
{
    kni_wish *wish = kept->wishes;
    while (wish && (wish->is_dropped || wish->hash != hash || strcmp(wish->key, key) != 0 ||
                    !kni_same_kernels_fit(&wish->device, device)))
        wish = wish->next;
    return wish;
}

static kni_wish *new_wish(uint64_t hash, const char *key, const kn_device_info *device)
{
    kni_wish *wish = kni_calloc(1, sizeof(*wish));
    if (!wish)
        return NULL;
    wish->hash = hash;
    wish->device = *device;
    wish->key = kni_strdup(key);
    if (!wish->key) {
        kni_free(wish);
        return NULL;
    }
    return wish;
}

kn_status kni_kept_enter(kni_kept *kept, const char *key, const kn_device_info *device,
                         kni_ask_watch *watch, kn_kernel **kernel, kni_wish **claim,
                         kn_trace *trace, kn_error *err)
{
    const uint64_t hash = hash_text(key);
    const kn_trace *steps = NULL;
    kn_status st = KN_OK;
    *kernel = NULL;
    *claim = NULL;
    pthread_mutex_lock(&kept->lock);
    kni_wish *wish;
    while ((wish = find_wish(kept, hash, key, device)) && !wish->kernel) {
        kni_cond_look(&kept->settled, &kept->lock);
        pthread_mutex_unlock(&kept->lock);
        if (kni_ask_is_cancelled(watch))
            return kn_error_set(err, KN_ERR_CANCELLED, "cancelled");
        pthread_mutex_lock(&kept->lock);
    }
    if (wish) {
        *kernel = wish->kernel;
        steps = wish->steps; // immutable from here on
    } else if ((wish = new_wish(hash, key, device))) {
        wish->next = kept->wishes;
        kept->wishes = wish;
        *claim = wish;
    } else {
        st = kni_no_memory(err);
    }
    pthread_mutex_unlock(&kept->lock);
    if (steps && !kni_trace_append(trace, steps)) {
        *kernel = NULL;
        st = kni_no_memory(err);
    }
    return st;
}

bool kni_kept_has(kni_kept *kept, const char *key, const kn_device_info *device)
{
    pthread_mutex_lock(&kept->lock);
    const kni_wish *wish = find_wish(kept, hash_text(key), key, device);
    const bool has = wish && wish->kernel;
    pthread_mutex_unlock(&kept->lock);
    return has;
}

void kni_kept_leave(kni_kept *kept, kni_wish *claim, kn_kernel *kernel, kn_trace *steps)
{
    pthread_mutex_lock(&kept->lock);
    if (kernel) {
        claim->kernel = kernel;
        claim->steps = steps;
        steps = NULL;
        claim = NULL;
    } else {
        kni_wish **link = &kept->wishes;
        while (*link != claim)
            link = &(*link)->next;
        *link = claim->next;
    }
    pthread_cond_broadcast(&kept->settled);
    pthread_mutex_unlock(&kept->lock);
    kn_trace_free(steps);
    if (claim)
        free_wish(claim);
}

void kni_kept_forget(kni_kept *kept)
{
    pthread_mutex_lock(&kept->lock);
    for (kni_wish *wish = kept->wishes; wish; wish = wish->next)
        wish->is_dropped = true;
    pthread_cond_broadcast(&kept->settled); // who waits for a dropped one works by itself
    pthread_mutex_unlock(&kept->lock);
}

kn_status kni_kept_intern(kni_kept *kept, kn_kernel *kernel, kn_kernel **out, kn_error *err)
{
    kn_kernel *found = NULL;
    bool added = false;
    pthread_mutex_lock(&kept->lock);
    for (size_t i = 0; i < kept->n_kernels && !found; ++i)
        if (kept->kernels[i]->is_hosted == kernel->is_hosted &&
            strcmp(kept->kernels[i]->package->dir, kernel->package->dir) == 0)
            found = kept->kernels[i];
    void *array = kept->kernels;
    if (!found && kni_grow(&array, &kept->capacity, kept->n_kernels + 1, sizeof(*kept->kernels))) {
        kept->kernels = array;
        kept->kernels[kept->n_kernels++] = kernel;
        added = true;
    }
    pthread_mutex_unlock(&kept->lock);
    *out = added ? kernel : found;
    return *out ? KN_OK : kni_no_memory(err);
}
