// A library with a fat binary of CUDA: PTX of 8.0 and of 9.0a. There is no code in it, only what says so.
#include <kernels/author.h>

typedef struct entry {
    uint16_t kind, version;
    uint32_t header_size;
    uint64_t payload_size;
    uint32_t compressed_size, options;
    uint16_t minor, major;
    uint32_t arch, name, name_size;
    uint64_t flags, zero, size;
} entry;

__attribute__((section(".nv_fatbin"), used)) static const struct {
    uint32_t magic;
    uint16_t version, header_size;
    uint64_t size;
    entry entries[2];
} fat_binary = {
    0xBA55ED50,
    1,
    16,
    sizeof(fat_binary.entries),
    {{1, 0x0101, 64, 0, 0, 0, 4, 8, 90, 0, 0, 0x100011, 0, 0},
     {1, 0x0101, 64, 0, 0, 0, 4, 8, 80, 0, 0, 0x11, 0, 0}},
};

KNA_FUNCTION(good)
{
    result->type_index = kTVMFFINone;
    return 0;
}
