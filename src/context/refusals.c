#include "context/refusals.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/trace.h"
#include "context/kept.h"
#include "package/package.h"

// What tells one state of a package from another.
typedef struct stamp {
    struct stat metadata;
    struct stat library;
} stamp;

struct kni_refusal {
    kni_refusal *next;
    stamp files;
    kn_device_info device;
    kn_status status;
    char *text;
    kn_trace *steps;
};

void kni_refusals_init(kni_refusals *refusals)
{
    refusals->first = NULL;
    pthread_mutex_init(&refusals->lock, NULL); // the default kind cannot fail on Linux
}

static void free_refusal(kni_refusal *refusal)
{
    kn_trace_free(refusal->steps);
    kni_free(refusal->text);
    kni_free(refusal);
}

void kni_refusals_dispose(kni_refusals *refusals)
{
    for (kni_refusal *refusal = refusals->first, *next; refusal; refusal = next) {
        next = refusal->next;
        free_refusal(refusal);
    }
    pthread_mutex_destroy(&refusals->lock);
}

// False: the files cannot be looked at, and nothing is remembered of them. No allocation.
static bool take_stamp(const kn_package *package, stamp *out)
{
    const int dir = open(package->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    const bool taken = dir >= 0 && fstatat(dir, "metadata.json", &out->metadata, 0) == 0 &&
                       fstatat(dir, package->library, &out->library, 0) == 0;
    if (dir >= 0)
        close(dir);
    return taken;
}

kn_status kni_refusals_find(kni_refusals *refusals, const kn_package *package,
                            const kn_device_info *device, kn_trace *trace, kn_error *err)
{
    stamp now;
    if (!take_stamp(package, &now))
        return KN_OK;
    pthread_mutex_lock(&refusals->lock);
    const kni_refusal *refusal = refusals->first;
    while (refusal && !(kni_same_file_state(&refusal->files.metadata, &now.metadata) &&
                        kni_same_file_state(&refusal->files.library, &now.library) &&
                        kni_same_kernels_fit(&refusal->device, device)))
        refusal = refusal->next;
    pthread_mutex_unlock(&refusals->lock); // what is remembered does not change
    if (!refusal)
        return KN_OK;
    if (!kni_trace_append(trace, refusal->steps))
        return kni_no_memory(err);
    return kn_error_set(err, refusal->status, "%s", refusal->text);
}

void kni_refusals_add(kni_refusals *refusals, const kn_package *package,
                      const kn_device_info *device, const kn_error *why, kn_trace *steps)
{
    kni_refusal *refusal = kni_calloc(1, sizeof(*refusal));
    if (!refusal) {
        kn_trace_free(steps);
        return;
    }
    refusal->steps = steps;
    refusal->device = *device;
    refusal->status = why->status;
    refusal->text = kni_strdup(kn_error_text(why));
    if (!refusal->text || !take_stamp(package, &refusal->files)) {
        free_refusal(refusal);
        return;
    }
    pthread_mutex_lock(&refusals->lock);
    refusal->next = refusals->first;
    refusals->first = refusal;
    pthread_mutex_unlock(&refusals->lock);
}
