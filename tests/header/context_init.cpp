// The initial values of kernels/context.h as C++ sees them.
#include <kernels/context.h>

static_assert(KN_KERNEL_OPTIONS_INIT.struct_size == sizeof(kn_kernel_options),
              "KN_KERNEL_OPTIONS_INIT");
static_assert(KN_KERNEL_OPTIONS_INIT.user_agent == nullptr,
              "KN_KERNEL_OPTIONS_INIT reaches the last field");
static_assert(KN_FRAMEWORK_INIT.struct_size == sizeof(kn_framework), "KN_FRAMEWORK_INIT");
static_assert(KN_FRAMEWORK_INIT.torch_abi == nullptr, "KN_FRAMEWORK_INIT reaches the last field");
