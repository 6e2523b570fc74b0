// --device: what another machine is, in the syntax of KERNELS_DEVICE.
#ifndef CLI_DEVICES_H
#define CLI_DEVICES_H

#include <kernels/context.h>

#define CLI_DEVICE_HELP "for another machine: cuda:9.0, rocm:gfx90a, cpu:x86-64-v3, …"

// The device types that a text names, in its order; out has room for `room`. Returns their number. The text is one that
// cli_hub_open took.
size_t cli_device_types(const char *device, kn_device_type *out, size_t room);

// Those that are named, or the types of the devices that are here, the CPU last.
size_t cli_devices_here(kn_context *ctx, const char *named, kn_device_type *out, size_t room);

// "9.0" for GPUs, else the level.
char *cli_capability(const kn_device_info *info);

#endif
