/**
 * What the tests of the packages share. A test defines REAL_TYPES with KNA_F64 in it, includes the source that it tests,
 * and calls the exported functions as a host would: on every path by kna_cpu_limit, and once more on f64 tensors by the
 * reference, which gives the true values.
 */
#ifndef PACKAGES_TEST_H
#define PACKAGES_TEST_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define KNA_THREADS_FROM_BYTES 4000 // small tensors shall use several threads too
#include "real.h"

enum { MAX_DIMS = 4, MAX_ELEMENTS = 1 << 20 };

#define LEN(array) (sizeof(array) / sizeof((array)[0]))

/** A tensor in memory of exactly its extent, so that ASan sees a step outside; gaps between rows hold GAP. */
typedef struct tensor {
    DLTensor dl;
    int64_t shape[MAX_DIMS], strides[MAX_DIMS];
    unsigned type;
    size_t size_bytes; // of memory
    unsigned char *memory;
} tensor;

#define GAP 0xa5

static inline DLDataType dl_type(unsigned type)
{
    switch (type) {
    case KNA_BF16:
        return (DLDataType){kDLBfloat, 16, 1};
    case KNA_F16:
        return (DLDataType){kDLFloat, 16, 1};
    case KNA_F64:
        return (DLDataType){kDLFloat, 64, 1};
    case KNA_I32:
        return (DLDataType){kDLInt, 32, 1};
    case KNA_I64:
        return (DLDataType){kDLInt, 64, 1};
    default:
        return (DLDataType){kDLFloat, 32, 1};
    }
}

static inline int64_t offset_of(const tensor *t, int64_t flat)
{
    int64_t offset = 0;
    for (int32_t i = t->dl.ndim - 1; i >= 0; --i) {
        offset += flat % t->shape[i] * t->strides[i];
        flat /= t->shape[i];
    }
    return offset;
}

/** strides NULL: contiguous. The first element lies `shift` bytes into the allocation, given as byte_offset. */
static inline tensor *tensor_new(unsigned type, int32_t ndim, const int64_t *shape,
                                 const int64_t *strides, size_t shift)
{
    tensor *t = calloc(1, sizeof(*t));
    int64_t dense = 1, extent = 1;
    assert_non_null(t);
    for (int32_t i = ndim - 1; i >= 0; --i) {
        t->shape[i] = shape[i];
        t->strides[i] = strides ? strides[i] : dense;
        dense *= shape[i];
    }
    for (int32_t i = 0; i < ndim; ++i)
        extent += (shape[i] - 1) * t->strides[i];
    t->type = type;
    t->size_bytes = shift + (size_t)((dense ? extent : 0) * dl_type(type).bits / 8);
    t->memory = malloc(t->size_bytes ? t->size_bytes : 1);
    assert_non_null(t->memory);
    memset(t->memory, GAP, t->size_bytes);
    t->dl = (DLTensor){.data = dense ? t->memory : NULL,
                       .device = {kDLCPU, 0},
                       .ndim = ndim,
                       .dtype = dl_type(type),
                       .shape = t->shape,
                       .strides = t->strides,
                       .byte_offset = shift};
    return t;
}

/** Rows of n columns with a gap after each. */
static inline tensor *tensor_rows(unsigned type, int64_t n_rows, int64_t n, int64_t gap,
                                  size_t shift)
{
    const int64_t shape[] = {n_rows, n}, strides[] = {n + gap, 1};
    return tensor_new(type, 2, shape, strides, shift);
}

static inline tensor *tensor_vector(unsigned type, int64_t n)
{
    return tensor_new(type, 1, &n, NULL, 0);
}

static inline void tensor_free(tensor *t)
{
    if (t)
        free(t->memory);
    free(t);
}

static inline double tensor_get(const tensor *t, int64_t flat)
{
    return real_get(kna_data(&t->dl), offset_of(t, flat), t->type);
}

static inline void tensor_set(tensor *t, int64_t flat, double value)
{
    real_put(kna_data(&t->dl), offset_of(t, flat), t->type, value);
}

/** The same numbers as contiguous f64. */
static inline tensor *tensor_f64(const tensor *t)
{
    tensor *wide = tensor_new(KNA_F64, t->dl.ndim, t->shape, NULL, 0);
    for (int64_t i = 0, n = kna_numel(&t->dl); i < n; ++i)
        tensor_set(wide, i, tensor_get(t, i));
    return wide;
}

/** A uniform number between low and high; the same sequence in every run. */
static inline double uniform(double low, double high)
{
    static uint64_t state = 0x9e3779b97f4a7c15u;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return low + (high - low) * (double)(state >> 11) * 0x1p-53;
}

static inline void tensor_fill(tensor *t, double low, double high)
{
    for (int64_t i = 0, n = kna_numel(&t->dl); i < n; ++i)
        tensor_set(t, i, uniform(low, high));
}

/** Asserts that every byte that belongs to no element still holds GAP. */
static inline void assert_gaps_untouched(const tensor *t)
{
    const size_t size = t->dl.dtype.bits / 8;
    unsigned char *is_element = calloc(t->size_bytes + 1, 1);
    assert_non_null(is_element);
    for (int64_t i = 0, n = kna_numel(&t->dl); i < n; ++i)
        memset(is_element + t->dl.byte_offset + (size_t)offset_of(t, i) * size, 1, size);
    for (size_t i = 0; i < t->size_bytes; ++i)
        if (!is_element[i] && t->memory[i] != GAP)
            fail_msg("byte %zu outside the elements was written", i);
    free(is_element);
}

/** Frees tensors; the list ends with NULL. */
static inline void tensors_free(tensor *first, ...)
{
    va_list rest;
    va_start(rest, first);
    for (tensor *t = first; t; t = va_arg(rest, tensor *))
        tensor_free(t);
    va_end(rest);
}

/* ---- Calls ---- */

static inline TVMFFIAny arg_tensor(const tensor *t)
{
    return (TVMFFIAny){.type_index = t ? kTVMFFIDLTensorPtr : kTVMFFINone,
                       .v_ptr = t ? (void *)(uintptr_t)&t->dl : NULL};
}

static inline TVMFFIAny arg_int(int64_t value)
{
    return (TVMFFIAny){.type_index = kTVMFFIInt, .v_int64 = value};
}

static inline TVMFFIAny arg_float(double value)
{
    return (TVMFFIAny){.type_index = kTVMFFIFloat, .v_float64 = value};
}

static inline TVMFFIAny arg_bool(bool value)
{
    return (TVMFFIAny){.type_index = kTVMFFIBool, .v_int64 = value};
}

static char raised[600]; // "Kind: message" of the last failed call

static inline int call(TVMFFISafeCallType function, const TVMFFIAny *args, size_t n_args)
{
    TVMFFIAny result = {.type_index = kTVMFFINone};
    TVMFFIObjectHandle error = NULL;
    raised[0] = '\0';
    const int status = function(NULL, args, (int32_t)n_args, &result);
    assert_int_equal(result.type_index, kTVMFFINone);
    if (status == 0)
        return 0;
    assert_int_equal(status, -1);
    TVMFFIErrorMoveFromRaised(&error);
    assert_non_null(error);
    const TVMFFIErrorCell *cell =
        (const TVMFFIErrorCell *)(const void *)((char *)error + sizeof(TVMFFIObject));
    (void)snprintf(raised, sizeof(raised), "%.*s: %.*s", (int)cell->kind.size, cell->kind.data,
                   (int)cell->message.size, cell->message.data);
    TVMFFIObjectDecRef(error);
    return -1;
}

#define CALL(function, ...)                                                                        \
    call(function, (const TVMFFIAny[]){__VA_ARGS__}, LEN(((const TVMFFIAny[]){__VA_ARGS__})))

#define ASSERT_CALL(function, ...)                                                                 \
    do {                                                                                           \
        if (CALL(function, __VA_ARGS__) != 0)                                                      \
            fail_msg("%s", raised);                                                                \
    } while (0)

#define ASSERT_RAISES(text, function, ...)                                                         \
    do {                                                                                           \
        assert_int_equal(CALL(function, __VA_ARGS__), -1);                                         \
        assert_string_equal(raised, text);                                                         \
    } while (0)

/* ---- Comparing ---- */

/** Unit roundoff: the largest relative error of rounding to nearest. */
static inline double unit(unsigned type)
{
    return type == KNA_F64   ? 0x1p-53
           : type == KNA_F32 ? 0x1p-24
           : type == KNA_F16 ? 0x1p-11
                             : 0x1p-8;
}

/** Half the smallest subnormal: the largest absolute error of rounding near zero. */
static inline double tiny(unsigned type)
{
    return type == KNA_F16 ? 0x1p-25 : type == KNA_BF16 ? 0x1p-134 : 0x1p-150;
}

/** Largest finite number. */
static inline double largest(unsigned type)
{
    return type == KNA_F16 ? 65504.0 : type == KNA_BF16 ? 0x1.fep127 : (double)0x1.fffffep127f;
}

/**
 * Compares element i with its true value, where the computation before the last rounding may be off by `error`. NaN must be
 * NaN; a true value that the type cannot hold must be infinity of that sign, or the largest number.
 */
static inline void assert_close(const char *what, const tensor *t, int64_t i, double truth,
                                double error)
{
    const double got = tensor_get(t, i), most = largest(t->type);
    const double bound = error + unit(t->type) * (fabs(truth) + error) + tiny(t->type);
    const bool over = fabs(truth) + bound > most;
    bool close = fabs(got - truth) <= bound;
    if (isnan(truth) || isnan(got))
        close = isnan(truth) && isnan(got);
    else if (isinf(truth) || isinf(got))
        close = got == truth || (over && isinf(got) && signbit(got) == signbit(truth));
    if (!close)
        fail_msg("%s: element %lld is %.9g, must be %.9g within %.3g", what, (long long)i, got,
                 truth, bound);
}

/** Runs the block for every row of a path table, best first; one that this machine lacks is named. */
#define FOR_EACH_PATH(table, path)                                                                 \
    for (size_t path = 0; path < LEN(table); ++path)                                               \
        if (!path_begin((table)[path].name, (table)[path].needs))                                  \
            continue;                                                                              \
        else

static inline bool path_begin(const char *name, uint32_t needs)
{
    kna_cpu_limit(UINT32_MAX);
    if ((kna_cpu() & needs) != needs) {
        print_message("  path %s: SKIPPED, this machine lacks its instructions\n", name);
        return false;
    }
    print_message("  path %s\n", name);
    kna_cpu_limit(needs);
    return true;
}

/** Calls with f64 tensors go to the reference alone; give back the features that were allowed. */
static inline uint32_t reference_begin(void)
{
    const uint32_t before = kna_cpu();
    kna_cpu_limit(0);
    return before;
}

static inline void reference_end(uint32_t before)
{
    kna_cpu_limit(before);
}

static inline const char *type_name(unsigned type)
{
    return type == KNA_F32 ? "f32" : type == KNA_F16 ? "f16" : type == KNA_BF16 ? "bf16" : "f64";
}

static const unsigned all_types[] = {KNA_F32, KNA_F16, KNA_BF16};

#endif
