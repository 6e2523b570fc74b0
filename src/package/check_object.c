#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/error.h"
#include "package/check.h"

enum {
    OBJECTS_MAX = 256, // each takes a descriptor while the package is checked
};

kn_status kni_objects_add(const kni_check *check, kni_objects *objects, const char *name,
                          kni_checked_file *file)
{
    void *items = objects->items;
    if (objects->count == OBJECTS_MAX)
        return kni_check_refuse(check, KN_ERR_FORMAT, KNI_STAGE_CODE, "library", NULL,
                                "there are more than %d ELF files", OBJECTS_MAX);
    if (!kni_grow(&items, &objects->capacity, objects->count + 1, sizeof(*objects->items)))
        return kni_no_memory(check->err);
    objects->items = items;
    kni_object *object = &objects->items[objects->count];
    object->name = kni_strdup(name);
    if (!object->name)
        return kni_no_memory(check->err);
    object->file = *file;
    *file = KNI_CHECKED_FILE_INIT;
    ++objects->count;
    return KN_OK;
}

void kni_objects_dispose(kni_objects *objects)
{
    for (size_t i = 0; i < objects->count; ++i) {
        kni_checked_file_dispose(&objects->items[i].file);
        kni_free(objects->items[i].name);
    }
    kni_free(objects->items);
    *objects = (kni_objects){NULL, 0, 0};
}

// Device code as a file of its own, which Python hands to a driver: the dynamic linker opens none of it.
static bool is_device_code(const unsigned char *data, size_t size)
{
    const unsigned machine = size >= 20 ? data[18] | (unsigned)data[19] << 8 : 0;
    return machine == KNI_MACHINE_CUDA || machine == KNI_MACHINE_AMDGPU;
}

static kn_status judge(const kni_check *check, const void *data, size_t size, const char *name)
{
    kni_elf elf = {.n_loads = 0};
    kn_error why = KN_ERROR_INIT;
    if (check->checked->is_hosted && is_device_code(data, size))
        return kni_check_pass(check, KNI_STAGE_CODE, "elf", "%s: is device code, no library", name);
    kn_status st = kni_elf_read(data, size, name, &elf, &why);
    if (st != KN_OK)
        st = kni_check_refuse_because(check, &why, KNI_STAGE_CODE, "elf",
                                      "a shared object for Linux");
    if (st == KN_OK)
        st = kni_check_library(check, &elf, name);
    if (st == KN_OK)
        st = kni_check_code(check, &elf, name);
    kni_elf_dispose(&elf);
    return st;
}

static kn_status check_object(const kni_check *check, const kni_object *object)
{
    const size_t size = object->file.info.st_size > 0 ? (size_t)object->file.info.st_size : 0;
    void *data = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, object->file.fd, 0) : NULL;
    if (data == MAP_FAILED)
        return kni_error_errno(check->err, errno, object->name, "cannot map");
    const kn_status st = judge(check, data, size, object->name);
    if (data)
        munmap(data, size);
    return st;
}

kn_status kni_check_objects(const kni_check *check, const kni_objects *objects)
{
    kn_status st = KN_OK;
    for (size_t i = 0; st == KN_OK && i < objects->count; ++i) {
        kni_free(check->checked->object);
        check->checked->object = kni_strdup(objects->items[i].name);
        st = check->checked->object ? check_object(check, &objects->items[i])
                                    : kni_no_memory(check->err);
    }
    return st;
}
