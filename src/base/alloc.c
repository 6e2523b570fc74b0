#include "base/alloc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base.h"

static void *libc_alloc(size_t size, void *user)
{
    (void)user;
    return malloc(size);
}

static void *libc_resize(void *memory, size_t size, void *user)
{
    (void)user;
    return realloc(memory, size);
}

static void libc_release(void *memory, void *user)
{
    (void)user;
    free(memory);
}

static kn_allocator current = {libc_alloc, libc_resize, libc_release, NULL};

kn_status kn_set_allocator(const kn_allocator *allocator)
{
    if (!allocator) {
        current = (kn_allocator){libc_alloc, libc_resize, libc_release, NULL};
        return KN_OK;
    }
    if (!allocator->alloc || !allocator->resize || !allocator->release)
        return KN_ERR_INVALID;
    current = *allocator;
    return KN_OK;
}

void *kni_alloc(size_t size)
{
    return current.alloc(size ? size : 1, current.user);
}

void *kni_calloc(size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size)
        return NULL;
    void *memory = kni_alloc(count * size);
    if (memory)
        memset(memory, 0, count * size);
    return memory;
}

void *kni_realloc(void *memory, size_t size)
{
    return current.resize(memory, size ? size : 1, current.user);
}

void kni_free(void *memory)
{
    if (memory)
        current.release(memory, current.user);
}

char *kni_strndup(const char *text, size_t size)
{
    char *copy = kni_alloc(size + 1);
    if (copy) {
        memcpy(copy, text, size);
        copy[size] = '\0';
    }
    return copy;
}

char *kni_strdup(const char *text)
{
    return text ? kni_strndup(text, strlen(text)) : NULL;
}

bool kni_grow(void **array, size_t *capacity, size_t needed, size_t element_size)
{
    if (needed <= *capacity)
        return true;
    size_t wanted = *capacity ? *capacity : 8;
    while (wanted < needed) {
        if (wanted > SIZE_MAX / 2)
            return false;
        wanted *= 2;
    }
    if (wanted > SIZE_MAX / element_size)
        return false;
    void *grown = kni_realloc(*array, wanted * element_size);
    if (!grown)
        return false;
    *array = grown;
    *capacity = wanted;
    return true;
}

void kn_string_free(char *text)
{
    kni_free(text);
}
