// The initial value of kernels/device.h as C++ sees it.
#include <kernels/device.h>

static_assert(KN_DEVICE_INFO_INIT.struct_size == sizeof(kn_device_info), "KN_DEVICE_INFO_INIT");
static_assert(KN_DEVICE_INFO_INIT.reserved[6] == 0, "KN_DEVICE_INFO_INIT reaches the last field");
