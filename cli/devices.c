#include "devices.h"

#include <string.h>

#include "output.h"

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

size_t cli_devices_here(kn_context *ctx, const char *named, kn_device_type *out, size_t room)
{
    static const kn_device_type all[] = {
#define TYPE(name, value, text) name,
        KN_DEVICE_TYPE_LIST(TYPE)
#undef TYPE
    };
    size_t count = 0;
    if (named)
        return cli_device_types(named, out, room);
    for (size_t i = 0; i < KN_LEN(all) && count < room; ++i) {
        const kn_device_type type = all[(i + 1) % KN_LEN(all)]; // the CPU is the first of the list
        if (kn_machine_device_count(kn_context_machine(ctx), type))
            out[count++] = type;
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
