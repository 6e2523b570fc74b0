// Stands in for libamdhip64.so of ROCm 6 (STANDIN_LAYOUT 600), ROCm 5 (0), or one without properties (-1). What to do comes from
// the environment variable STANDIN_HIP, as with CUDA's; STANDIN_HIP_ARCH is the gfx name of all devices.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int hipGetDeviceCount(int *count);
int hipRuntimeGetVersion(int *version);
int hipGetDeviceProperties(void *properties, int device);
int hipGetDevicePropertiesR0600(void *properties, int device);
const char *hipGetErrorName(int error);

// Sizes and places as in the headers of ROCm 5.2 and 6.0; what lies between is filled with what is no text.
typedef struct properties_0 {
    char name[256];
    char between[140];
    char gcn_arch_name[256];
    char after[140];
} properties_0;
_Static_assert(sizeof(properties_0) == 792, "the size of the struct in ROCm 5.2");

typedef struct properties_600 {
    char name[256];
    char between[904];
    char gcn_arch_name[256];
    char after[56];
} properties_600;
_Static_assert(sizeof(properties_600) == 1472, "the size of the struct in ROCm 6.0");

static int told(const char *key, int otherwise)
{
    const char *text = getenv("STANDIN_HIP");
    const size_t size = strlen(key);
    for (text = text ? strstr(text, key) : NULL; text; text = strstr(text + 1, key))
        if (text[size] == '=')
            return atoi(text + size + 1);
    return otherwise;
}

int hipGetDeviceCount(int *count)
{
    *count = told("count", 1);
    return told("count_error", 0);
}

int hipRuntimeGetVersion(int *version)
{
    *version = told("version", STANDIN_LAYOUT == 600 ? 60241133 : 50221153);
    return told("version_error", 0);
}

#if STANDIN_LAYOUT >= 0
static void set_text(char *name, char *gcn_arch_name, int device)
{
    const char *arch = getenv("STANDIN_HIP_ARCH");
    snprintf(name, 256, "Stand-in %c", 'A' + device);
    if (told("evil_arch", 0))
        memset(gcn_arch_name, 'g', 256); // no zero
    else
        snprintf(gcn_arch_name, 256, "%s", arch ? arch : "gfx90a:sramecc+:xnack-");
}

// Up to ROCm 5 the only one; later kept for old programs.
int hipGetDeviceProperties(void *properties, int device)
{
    properties_0 *p = properties;
    memset(p, 0xAB, sizeof(*p));
    set_text(p->name, p->gcn_arch_name, device);
    return device == told("at", 0) ? told("properties", 0) : 0;
}
#endif

#if STANDIN_LAYOUT == 600
int hipGetDevicePropertiesR0600(void *properties, int device)
{
    properties_600 *p = properties;
    memset(p, 0xAB, sizeof(*p));
    set_text(p->name, p->gcn_arch_name, device);
    return device == told("at", 0) ? told("properties", 0) : 0;
}
#endif

const char *hipGetErrorName(int error)
{
    return error == 100 ? "hipErrorNoDevice" : NULL;
}
