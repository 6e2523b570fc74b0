// Stands in for libcuda.so.1: as many devices as the tests ask for, an error at any call, absurd answers. What to do comes from
// the environment variable STANDIN_CUDA, "count=2 init=999": the name of a call is the error that it returns.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cuInit(unsigned flags);
int cuDriverGetVersion(int *version);
int cuDeviceGetCount(int *count);
int cuDeviceGet(int *device, int ordinal);
int cuDeviceGetName(char *name, int size, int device);
int cuDeviceGetAttribute(int *value, int attribute, int device);
int cuGetErrorName(int error, const char **name);

int standin_cuda_inits; // how often cuInit was called

static int told(const char *key, int otherwise)
{
    const char *text = getenv("STANDIN_CUDA");
    const size_t size = strlen(key);
    for (text = text ? strstr(text, key) : NULL; text; text = strstr(text + 1, key))
        if (text[size] == '=')
            return atoi(text + size + 1);
    return otherwise;
}

// Errors of one device alone: of the ordinal in "at".
static int told_at(const char *key, int device)
{
    return device == 100 + told("at", 0) ? told(key, 0) : 0;
}

int cuInit(unsigned flags)
{
    __atomic_fetch_add(&standin_cuda_inits, 1, __ATOMIC_SEQ_CST);
    return flags == 0 ? told("init", 0) : 1;
}

int cuDriverGetVersion(int *version)
{
    *version = told("version", 12080);
    return told("version_error", 0);
}

#ifndef STANDIN_WITHOUT_COUNT
int cuDeviceGetCount(int *count)
{
    *count = told("count", 1);
    return told("count_error", 0);
}
#endif

int cuDeviceGet(int *device, int ordinal)
{
    *device = 100 + ordinal; // a handle is not an ordinal
    return told_at("get", *device);
}

int cuDeviceGetName(char *name, int size, int device)
{
    if (told("evil_name", 0)) {
        memset(name, 0x1B, (size_t)size); // no zero, all escape characters
        return 0;
    }
    snprintf(name, (size_t)size, "Stand-in %c", 'A' + device - 100);
    return told_at("name", device);
}

int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    if (attribute != 75 && attribute != 76)
        return 1;
    *value = attribute == 75 ? told("major", 9) : told("minor", 0) + (device > 100);
    return told_at(attribute == 75 ? "major_error" : "minor_error", device);
}

int cuGetErrorName(int error, const char **name)
{
    *name = error == 100 ? "CUDA_ERROR_NO_DEVICE" : NULL;
    return error == 100 ? 0 : 1;
}
