// The layout of what crosses the boundary: a field that moves breaks programs that were built before.
#include <kernels/device.h>

_Static_assert(sizeof(kn_device_info) == 216, "kn_device_info");
_Static_assert(offsetof(kn_device_info, struct_size) == 0, "struct_size");
_Static_assert(offsetof(kn_device_info, type) == 8, "type");
_Static_assert(offsetof(kn_device_info, index) == 12, "index");
_Static_assert(offsetof(kn_device_info, capability) == 16, "capability");
_Static_assert(offsetof(kn_device_info, backend_major) == 24, "backend_major");
_Static_assert(offsetof(kn_device_info, backend_minor) == 28, "backend_minor");
_Static_assert(offsetof(kn_device_info, arch) == 32, "arch");
_Static_assert(offsetof(kn_device_info, name) == 80, "name");
_Static_assert(offsetof(kn_device_info, overridden) == 208, "overridden");
_Static_assert(offsetof(kn_device_info, reserved) == 209, "reserved, up to the end: no padding");
