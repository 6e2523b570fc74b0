// What a context keeps of its kernels: each loaded package once, and for each wish (a source's key, for a device) the
// kernel that serves it, so that asking again costs nothing. Threads that wish the same at once wait for the one that works on it.
#ifndef KNI_CONTEXT_KEPT_H
#define KNI_CONTEXT_KEPT_H

#include <pthread.h>

#include "hub/ask.h"
#include "kernels/context.h"

typedef struct kni_wish kni_wish;

typedef struct kni_kept {
    pthread_mutex_t lock;   // over everything here
    pthread_cond_t settled; // some wish was granted or given up
    kni_wish *wishes;       // a list, newest first
    kn_kernel **kernels;
    size_t n_kernels;
    size_t capacity;
} kni_kept;

// Would the same kernels fit on both devices? Their indices do not count.
bool kni_same_kernels_fit(const kn_device_info *a, const kn_device_info *b);

bool kni_kept_init(kni_kept *kept);
void kni_kept_dispose(kni_kept *kept);

// The kernel that serves the wish already, with its steps added to the trace; or *claim, and the caller has to find one and
// must leave again. Waits for another thread that has the claim, unless the watch ends that with KN_ERR_CANCELLED.
kn_status kni_kept_enter(kni_kept *kept, const char *key, const kn_device_info *device,
                         kni_ask_watch *watch, kn_kernel **kernel, kni_wish **claim,
                         kn_trace *trace, kn_error *err);

// Is the wish granted already?
bool kni_kept_has(kni_kept *kept, const char *key, const kn_device_info *device);

// Grants the wish (steps: how it was found, taken over), or gives it up with a NULL kernel.
void kni_kept_leave(kni_kept *kept, kni_wish *claim, kn_kernel *kernel, kn_trace *steps);

// The next wish of each kind is worked on anew. The kernels stay.
void kni_kept_forget(kni_kept *kept);

// The one kernel of its package, hosted or not: `kernel`, or the one that was loaded from the same directory before, and then `kernel`
// stays the caller's, as it does without memory.
kn_status kni_kept_intern(kni_kept *kept, kn_kernel *kernel, kn_kernel **out, kn_error *err);

#endif
