// Prints what the machine is, one fact a line: run on other machines and under emulators, whose answers the tests compare.
// With the argument "cpu" it asks no driver; with "registers" it also prints what the CPU says of itself, for the tables of
// recorded values.

#include <stdio.h>
#include <string.h>

#include "device/cpu.h"
#include "kernels/device.h"

static void print_registers(void)
{
#if defined(__x86_64__)
    kni_x86_registers r;
    kni_x86_read(&r);
    const uint32_t *const leaves[] = {r.leaf1, r.leaf7, r.leaf7_1, r.extended1};
    for (size_t i = 0; i < KN_LEN(leaves); ++i)
        printf("{0x%08X, 0x%08X, 0x%08X, 0x%08X},\n", leaves[i][0], leaves[i][1], leaves[i][2],
               leaves[i][3]);
    printf("xcr0 0x%llX\n", (unsigned long long)r.xcr0);
#elif defined(__aarch64__)
    kni_arm_hwcaps h;
    kni_arm_read(&h);
    printf("{0x%llX, 0x%llX, 0x%08X}\n", (unsigned long long)h.hwcap, (unsigned long long)h.hwcap2,
           (unsigned)h.midr);
#endif
}

static void print_devices(kn_machine *machine, kn_device_type type)
{
    const size_t count = kn_machine_device_count(machine, type);
    if (count == 0)
        printf("%s: %s\n", kn_device_type_name(type), kn_machine_reason(machine, type));
    for (size_t i = 0; i < count; ++i) {
        kn_device_info info = KN_DEVICE_INFO_INIT;
        kn_error err = KN_ERROR_INIT;
        if (kn_machine_device(machine, type, (int32_t)i, &info, &err) == KN_OK)
            printf("%s:%d capability %d arch \"%s\" backend %d.%d name \"%s\"\n",
                   kn_device_type_name(type), (int)info.index, (int)info.capability, info.arch,
                   (int)info.backend_major, (int)info.backend_minor, info.name);
        else
            printf("%s\n", kn_error_text(&err));
        kn_error_dispose(&err);
    }
}

int main(int argc, char **argv)
{
    kn_machine *machine;
    int32_t major, minor;
    char *text = NULL;
    if (argc == 2 && strcmp(argv[1], "registers") == 0)
        print_registers();
    if (kn_machine_probe(&machine, NULL) != KN_OK)
        return 1;
    kn_machine_glibc(machine, &major, &minor);
    printf("arch %s os %s glibc %d.%d\nfeatures", kn_machine_cpu_arch(machine),
           kn_machine_os(machine), (int)major, (int)minor);
    for (size_t i = 0; i < kn_machine_feature_count(machine); ++i)
        printf(" %s", kn_machine_feature_name(machine, i));
    printf("\n");
    print_devices(machine, KN_DEVICE_CPU);
    if (argc == 2 && strcmp(argv[1], "cpu") == 0) {
        kn_machine_unref(machine);
        return 0;
    }
    for (int type = KN_DEVICE_CUDA; type <= KN_DEVICE_TPU; ++type)
        print_devices(machine, (kn_device_type)type);
    const kn_status st = kn_machine_text(machine, &text, NULL);
    printf("text %s\n", text ? text : "");
    kn_string_free(text);
    kn_machine_unref(machine);
    return st != KN_OK;
}
