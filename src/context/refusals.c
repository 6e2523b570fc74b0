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
    bool has_metadata;
    struct stat metadata;
    struct stat object; // zeros: none
} stamp;

struct kni_refusal {
    kni_refusal *next;
    stamp files;
    char *object; // "": metadata.json alone
    bool is_hosted;
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
    kni_free(refusal->object);
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
static bool take_stamp(int dir, const char *object, stamp *out)
{
    struct stat metadata = {0};
    const bool has_metadata = fstatat(dir, "metadata.json", &metadata, 0) == 0;
    *out = (stamp){.has_metadata = has_metadata, .metadata = metadata};
    return object[0] ? fstatat(dir, object, &out->object, 0) == 0 : out->has_metadata;
}

static int open_package(const kn_package *package)
{
    return open(package->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static bool is_of(const kni_refusal *refusal, int dir, bool is_hosted, const kn_device_info *device)
{
    stamp now;
    return refusal->is_hosted == is_hosted && kni_same_kernels_fit(&refusal->device, device) &&
           take_stamp(dir, refusal->object, &now) &&
           now.has_metadata == refusal->files.has_metadata &&
           kni_same_file_state(&refusal->files.metadata, &now.metadata) &&
           kni_same_file_state(&refusal->files.object, &now.object);
}

kn_status kni_refusals_find(kni_refusals *refusals, const kn_package *package,
                            const kn_target *target, kn_trace *trace, kn_error *err)
{
    const bool is_hosted = kni_package_is_hosted(package, target);
    pthread_mutex_lock(&refusals->lock);
    const kni_refusal *refusal = refusals->first;
    pthread_mutex_unlock(&refusals->lock); // what is remembered does not change
    if (!refusal)
        return KN_OK;
    const int dir = open_package(package);
    if (dir < 0)
        return KN_OK;
    while (refusal && !is_of(refusal, dir, is_hosted, &target->device))
        refusal = refusal->next;
    close(dir);
    if (!refusal)
        return KN_OK;
    if (!kni_trace_append(trace, refusal->steps))
        return kni_no_memory(err);
    return kn_error_set(err, refusal->status, "%s", refusal->text);
}

void kni_refusals_add(kni_refusals *refusals, const kn_package *package, const kn_target *target,
                      const char *object, const kn_error *why, kn_trace *steps)
{
    kni_refusal *refusal = kni_calloc(1, sizeof(*refusal));
    if (!refusal) {
        kn_trace_free(steps);
        return;
    }
    const int dir = open_package(package);
    refusal->steps = steps;
    refusal->is_hosted = kni_package_is_hosted(package, target);
    refusal->device = target->device;
    refusal->status = why->status;
    refusal->text = kni_strdup(kn_error_text(why));
    refusal->object = kni_strdup(object ? object : "");
    const bool is_whole = dir >= 0 && refusal->text && refusal->object &&
                          take_stamp(dir, refusal->object, &refusal->files);
    if (dir >= 0)
        close(dir);
    if (!is_whole) {
        free_refusal(refusal);
        return;
    }
    pthread_mutex_lock(&refusals->lock);
    refusal->next = refusals->first;
    refusals->first = refusal;
    pthread_mutex_unlock(&refusals->lock);
}
