// The native module tree as a host of kernelize.
#ifndef KNI_KERNELIZE_NATIVE_H
#define KNI_KERNELIZE_NATIVE_H

#include "base/buf.h"
#include "kernels/host.h"
#include "kernels/module.h"

typedef struct kni_native {
    kn_context *ctx; // NULL where nothing is bound
    kn_module *root;
    kni_buf said; // what `why` answered last; of who asks for it
} kni_native;

// The table; `native` must outlive it.
kn_host kni_native_host(kni_native *native);

#endif
