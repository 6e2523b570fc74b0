// A machine: the CPU, decided when it is made, and one list of devices for each type, filled at once or when first asked for.
#ifndef KNI_DEVICE_MACHINE_H
#define KNI_DEVICE_MACHINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "device/cpu.h"
#include "device/devices.h"

enum {
#define KNI_COUNT_TYPE(name, value, text) +1
    KNI_DEVICE_TYPES = 1 KN_DEVICE_TYPE_LIST(KNI_COUNT_TYPE) // with KN_DEVICE_NONE
#undef KNI_COUNT_TYPE
};

struct kn_machine {
    atomic_size_t references;
    kni_cpu cpu;
    pthread_mutex_t lock;                // held while a driver is asked
    atomic_bool known[KNI_DEVICE_TYPES]; // the list is filled in and changes no more
    kni_devices devices[KNI_DEVICE_TYPES];
};

// Nothing known yet, one reference; NULL without memory.
kn_machine *kni_machine_new(void);

// Adds the CPU of the machine as its one device of that type; false without memory.
bool kni_machine_add_cpu(kn_machine *machine, bool overridden);

#endif
