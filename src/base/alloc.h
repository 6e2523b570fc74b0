// The library's own memory. Everything that the library allocates comes from here, so that a program can bring its own
// allocator and a test can fail each allocation in turn.
#ifndef KNI_BASE_ALLOC_H
#define KNI_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

void *kni_alloc(size_t size); // NULL without memory; a size of 0 gives a pointer to free
void *kni_calloc(size_t count, size_t size);  // zeroed; NULL also when count * size overflows
void *kni_realloc(void *memory, size_t size); // on failure NULL, and the old memory stays
void kni_free(void *memory);

char *kni_strdup(const char *text); // NULL for NULL
char *kni_strndup(const char *text, size_t size);

// Grows an array to hold at least `needed` elements, doubling. False without memory: the array stays as it was.
bool kni_grow(void **array, size_t *capacity, size_t needed, size_t element_size);

#endif
