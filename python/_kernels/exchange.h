// What frameworks give for their tensors, as a table of C functions (DLPack), and the stream that kernels launch on.
#ifndef KPY_EXCHANGE_H
#define KPY_EXCHANGE_H

#include "kpy.h"

#include <dlpack/dlpack.h>

// The GIL is held around kernels that touch less: they are done before another thread would have taken it.
#define KPY_GIL_HELD_BYTES (256 * 1024)

// The table of a tensor type: 1; 0 when it has none that we understand; -1 with an exception. The last type's is kept.
int kpy_exchange_api(PyTypeObject *type, const DLPackExchangeAPI **out);

static inline bool kpy_is_host_memory(DLDevice device)
{
    return device.device_type == kDLCPU || device.device_type == kDLCUDAHost ||
           device.device_type == kDLROCMHost;
}

// The framework's current stream of a device, for kernels on this thread; nothing for host memory.
typedef struct kpy_stream {
    int32_t device_type; // 0: nothing was set
    int32_t device_id;
    void *before;
} kpy_stream;

// Begins with the given one, or asks the framework for it. 0, or -1 with an exception.
int kpy_stream_set(kpy_stream *stream, DLDevice device, void *current);
int kpy_stream_enter(kpy_stream *stream, const DLPackExchangeAPI *api, DLDevice device);
void kpy_stream_leave(kpy_stream *stream);

#endif
