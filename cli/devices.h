// --device: what another machine is, in the syntax of KERNELS_DEVICE.
#ifndef CLI_DEVICES_H
#define CLI_DEVICES_H

#include <kernels/context.h>

#define CLI_DEVICE_HELP "for another machine: cuda:9.0, rocm:gfx90a, cpu:x86-64-v3, …"

// A context for this machine (device NULL: KERNELS_DEVICE counts), or for the one that `device` describes.
kn_status cli_open_context(const char *device, kn_context **out, kn_error *err);

// The device types that a text names, in its order; out has room for `room`. Returns their number. The text is one that
// cli_open_context took.
size_t cli_device_types(const char *device, kn_device_type *out, size_t room);

// "9.0" for GPUs, else the level.
char *cli_capability(const kn_device_info *info);

#endif
