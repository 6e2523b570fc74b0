// What the readers and writers of lock files share.
#ifndef KNI_HUB_SUMS_H
#define KNI_HUB_SUMS_H

#include <string.h>

#include "base/str.h"
#include "hub/lock.h"

#define KNI_SUMS_FORMAT "kernels.lock.sums"

// The name of a file or directory: one component of a path, as kni_path_check_relative has it. Takes no memory.
static inline bool kni_is_component(const char *name)
{
    const size_t size = strlen(name);
    return size > 0 && size <= 255 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
           !strchr(name, '/') && !strchr(name, '\\') && kni_text_is_clean(name, size);
}

void kni_sum_variant_sort(kni_sum_variant *variant); // its files by path
void kni_sum_kernel_sort(kni_sum_kernel *kernel);    // its variants by name

#endif
