// Inside the library: what a context holds, and the ways into it for kernelize.
#ifndef KNI_CONTEXT_CONTEXT_H
#define KNI_CONTEXT_CONTEXT_H

#include <pthread.h>

#include "base/log.h"
#include "context/kept.h"
#include "context/refusals.h"
#include "kernels/context.h"
#include "load/tvm_ffi.h"

struct kn_context {
    kni_log log;           // immutable
    kn_machine *machine;   // immutable
    char *tvm_ffi_path;    // immutable; NULL: not given
    kn_hub *hub;           // immutable; never NULL
    kn_mapping *empty;     // immutable: the base where none is given
    pthread_mutex_t lock;  // over the fields below
    kn_mapping *mapping;   // the base, never NULL
    bool tvm_ffi_is_open;  // then tvm_ffi is immutable
    kni_tvm_ffi tvm_ffi;   // opened when the first kernel is wanted
    kni_kept kept;         // loaded kernels; has its own lock
    kni_refusals refusals; // what did not run here; has its own lock
    void *attachment;      // made by the folder above this one, disposed at close
    void (*dispose_attachment)(void *attachment);
};

// The kernel for a reference on a device: one that is kept, or resolve, list, choose, check, load. framework: what the host can run
// beside tvm-ffi functions; NULL: nothing. Error: every status of kn_context_get_kernel.
kn_status kni_context_get(kn_context *ctx, const kn_reference *reference,
                          const kn_framework *framework, const kn_device_info *device,
                          kn_kernel **out, kn_trace *trace, kn_error *err);

// The same, asking by a view of the context's hub.
kn_status kni_context_get_by(kn_context *ctx, const kn_hub *hub, const kn_reference *reference,
                             const kn_framework *framework, const kn_device_info *device,
                             kn_kernel **out, kn_trace *trace, kn_error *err);

const kni_log *kni_context_log(const kn_context *ctx);

// What kernelize keeps with the context: made at the first call, disposed when the context closes. NULL without memory.
void *kni_context_attachment(kn_context *ctx, void *(*make)(void),
                             void (*dispose)(void *attachment));

// libtvm_ffi, opened at the first call.
kn_status kni_context_tvm_ffi(kn_context *ctx, const kni_tvm_ffi **out, kn_error *err);

#endif
