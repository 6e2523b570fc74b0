#include "devices.h"

#include <string.h>

#include "output.h"

kn_status cli_open_context(const char *device, kn_context **out, kn_error *err)
{
    const kn_status st = kn_context_open(KN_CONTEXT_OPTIONS(.device = device), out, err);
    if (st != KN_OK && device)
        kn_error_prefix(err, "--device");
    return st;
}

size_t cli_device_types(const char *device, kn_device_type *out, size_t room)
{
    size_t count = 0;
    while (count < room) {
        char name[16];
        device += strspn(device, " ");
        const size_t size = strcspn(device, ":@, ");
        if (size < sizeof(name)) {
            memcpy(name, device, size);
            name[size] = '\0';
            if (kn_device_type_parse(name, &out[count], NULL) == KN_OK)
                ++count;
        }
        device = strchr(device, ',');
        if (!device)
            break;
        ++device;
    }
    return count;
}

char *cli_capability(const kn_device_info *info)
{
    const long long value = (long long)info->capability;
    if (value < 0)
        return cli_format("unknown");
    if (info->type == KN_DEVICE_CPU)
        return cli_format("%lld", value);
    return cli_format("%lld.%lld", value / 10, value % 10);
}
