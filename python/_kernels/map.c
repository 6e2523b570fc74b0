// A table of pointers: open addressing, linear probing.
#include <stdlib.h>

#include "host.h"

static size_t slot_of(const kpy_map *map, const void *key)
{
    uint64_t h = (uint64_t)(uintptr_t)key * 0x9E3779B97F4A7C15u;
    size_t at = (size_t)(h >> 32) & (map->capacity - 1);
    while (map->keys[at] && map->keys[at] != key)
        at = (at + 1) & (map->capacity - 1);
    return at;
}

void *kpy_map_get(const kpy_map *map, const void *key)
{
    return map->capacity ? map->values[slot_of(map, key)] : NULL;
}

static bool grow(kpy_map *map)
{
    kpy_map larger = {.capacity = map->capacity ? map->capacity * 2 : 64, .count = map->count};
    larger.keys = calloc(larger.capacity, sizeof(*larger.keys));
    larger.values = calloc(larger.capacity, sizeof(*larger.values));
    if (!larger.keys || !larger.values) {
        kpy_map_dispose(&larger);
        return false;
    }
    for (size_t i = 0; i < map->capacity; ++i) {
        if (!map->keys[i])
            continue;
        const size_t at = slot_of(&larger, map->keys[i]);
        larger.keys[at] = map->keys[i];
        larger.values[at] = map->values[i];
    }
    kpy_map_dispose(map);
    *map = larger;
    return true;
}

void **kpy_map_at(kpy_map *map, const void *key)
{
    if (map->count * 2 >= map->capacity && !grow(map))
        return NULL;
    const size_t at = slot_of(map, key);
    if (!map->keys[at]) {
        map->keys[at] = key;
        map->count += 1;
    }
    return &map->values[at];
}

void kpy_map_dispose(kpy_map *map)
{
    free((void *)map->keys);
    free(map->values);
    *map = (kpy_map){0};
}
