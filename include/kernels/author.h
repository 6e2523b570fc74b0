/**
 * Helpers for kernel authors, header only: arguments, tensors, errors, half precision, CPU features, threads.
 *
 * A kernel is a function in the tvm-ffi C ABI over DLTensor. This header needs the tvm-ffi C headers and libtvm_ffi, and
 * nothing of libkernels. It compiles as C11 and as C++17; everything in it is inline or has internal linkage.
 *
 *     KNA_FUNCTION(relu2)
 *     {
 *         DLTensor *y, *x;
 *         if (!kna_args("relu2", args, n_args, "tt", &y, &x) || !kna_on_cpu("relu2", y) ||
 *             !kna_dtype("relu2", y, KNA_F32) || !kna_dense("relu2", y, x))
 *             return -1; // the error is raised
 *         const float *in = kna_data(x);
 *         float *out = kna_data(y);
 *         for (int64_t i = 0, n = kna_numel(x); i < n; ++i)
 *             out[i] = in[i] < 0 ? 0 : in[i] * in[i];
 *         return 0;
 *     }
 *
 * A check returns false after it has raised the error: TypeError for the kind of an argument or its dtype, ValueError for
 * shape, layout and device. The checks name the argument as the source does. Strides and offsets are in elements.
 * Threads: any, unless said otherwise.
 */
#ifndef KERNELS_AUTHOR_H
#define KERNELS_AUTHOR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tvm/ffi/c_api.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif
#if defined(_OPENMP)
#include <omp.h>
#endif

#define KNA_UNUSED __attribute__((unused))

/** A helper that must become part of its caller: of a caller's instruction set, or with constants for arguments. */
#define KNA_INLINE static inline __attribute__((always_inline, unused))

/**
 * Compiles one function for the named instruction sets, as in KNA_TARGET("avx2,fma,f16c"), whatever the build's flags are.
 * Call it only where kna_cpu() says so: no other function of the file then holds these instructions.
 */
#define KNA_TARGET(sets) __attribute__((target(sets)))

#ifdef __cplusplus
#define KNA_EXTERN_C extern "C"
#else
#define KNA_EXTERN_C
#endif

/**
 * Begins the definition of an exported function: `KNA_FUNCTION(relu2) { … return 0; }`.
 *
 * The body sees `args` (const TVMFFIAny *), `n_args` (int32_t) and `result` (TVMFFIAny *, none on entry; leave it alone
 * unless the function returns a value). It returns 0, or -1 with an error raised.
 */
#define KNA_FUNCTION(name)                                                                         \
    KNA_EXTERN_C __attribute__((visibility("default"))) int __tvm_ffi_##name(                      \
        void *kna_handle, const TVMFFIAny *args, int32_t n_args, TVMFFIAny *result);               \
    int __tvm_ffi_##name(KNA_UNUSED void *kna_handle, KNA_UNUSED const TVMFFIAny *args,            \
                         KNA_UNUSED int32_t n_args, KNA_UNUSED TVMFFIAny *result)

/**
 * Raises an error of a kind ("TypeError", "ValueError", "MemoryError", "RuntimeError") that reads "name: text", cut at 511
 * characters. Returns -1, so that a function may `return kna_raise(…)`.
 */
__attribute__((format(printf, 3, 4))) static inline int
kna_raise(const char *kind, const char *name, const char *format, ...)
{
    char text[512];
    va_list rest;
    const int head = snprintf(text, sizeof(text), "%s: ", name);
    va_start(rest, format);
    if (head >= 0 && (size_t)head < sizeof(text))
        (void)vsnprintf(text + head, sizeof(text) - (size_t)head, format, rest);
    va_end(rest);
    TVMFFIErrorSetRaisedFromCStr(kind, text);
    return -1;
}

/* ---- Tensors ---- */

/** The data types that kernels speak of, one bit each, so that a set of them is their sum. */
typedef enum kna_type {
    KNA_F32 = 1,
    KNA_F16 = 2,
    KNA_BF16 = 4,
    KNA_F64 = 8,
    KNA_I32 = 16,
    KNA_I64 = 32,
    KNA_BOOL = 64,
} kna_type;

/** The bit of a tensor's data type; 0 for every other type. */
static inline unsigned kna_type_of(const DLTensor *t)
{
    const unsigned bits = t->dtype.bits;
    if (t->dtype.lanes != 1)
        return 0;
    switch (t->dtype.code) {
    case kDLFloat:
        return bits == 32 ? KNA_F32 : bits == 16 ? KNA_F16 : bits == 64 ? KNA_F64 : 0;
    case kDLBfloat:
        return bits == 16 ? KNA_BF16 : 0;
    case kDLInt:
        return bits == 32 ? KNA_I32 : bits == 64 ? KNA_I64 : 0;
    case kDLBool:
        return bits == 8 ? KNA_BOOL : 0;
    default:
        return 0;
    }
}

/** The first element: data plus byte_offset. NULL only for a tensor without elements. */
static inline void *kna_data(const DLTensor *t)
{
    return t->data ? (char *)t->data + t->byte_offset : NULL;
}

/** Number of elements; 1 for rank 0. Does not overflow for a tensor that came through kna_args. */
static inline int64_t kna_numel(const DLTensor *t)
{
    int64_t n = 1;
    for (int32_t i = 0; i < t->ndim; ++i)
        n *= t->shape[i];
    return n;
}

/** Stride of a dimension; NULL strides (DLPack before 1.2) mean contiguous. */
static inline int64_t kna_stride(const DLTensor *t, int32_t dim)
{
    int64_t stride = 1;
    if (t->strides)
        return t->strides[dim];
    for (int32_t i = t->ndim - 1; i > dim; --i)
        stride *= t->shape[i];
    return stride;
}

/** Whether the elements lie in order without gaps. Strides of dimensions of size 1 do not matter. */
static inline bool kna_is_contiguous(const DLTensor *t)
{
    int64_t expected = 1;
    if (!t->strides)
        return true;
    for (int32_t i = t->ndim - 1; i >= 0; --i) {
        if (t->shape[i] == 0)
            return true;
        if (t->shape[i] != 1 && t->strides[i] != expected)
            return false;
        expected *= t->shape[i];
    }
    return true;
}

/** Writes "[2, 3]" for messages, cut where it does not fit; returns the buffer. */
static inline const char *kna_shape_text(const DLTensor *t, char *text, size_t size)
{
    size_t used = 0;
    for (int32_t i = 0; i <= t->ndim && used < size; ++i) {
        const int n = i == t->ndim ? snprintf(text + used, size - used, i ? "]" : "[]")
                                   : snprintf(text + used, size - used, "%s%lld", i ? ", " : "[",
                                              (long long)t->shape[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    return text;
}

static inline const char *kna_type_text(const DLTensor *t, char *text, size_t size)
{
    static const char *const codes[] = {"i", "u", "f", "handle", "bf", "complex", "bool"};
    const unsigned code = t->dtype.code;
    const bool known = code < sizeof(codes) / sizeof(codes[0]);
    if (code == kDLBool)
        (void)snprintf(text, size, "bool");
    else
        (void)snprintf(text, size, "%s%u", known ? codes[code] : "type", (unsigned)t->dtype.bits);
    if (t->dtype.lanes != 1) {
        const size_t used = strlen(text);
        (void)snprintf(text + used, size - used, "x%u", (unsigned)t->dtype.lanes);
    }
    return text;
}

/* ---- Arguments ---- */

static inline const char *kna_kind_text(const TVMFFIAny *value)
{
    switch (value->type_index) {
    case kTVMFFINone:
        return "none";
    case kTVMFFIInt:
        return "an int";
    case kTVMFFIBool:
        return "a bool";
    case kTVMFFIFloat:
        return "a float";
    case kTVMFFIDLTensorPtr:
    case kTVMFFITensor:
        return value->v_ptr ? "a tensor" : "a NULL tensor";
    case kTVMFFIRawStr:
    case kTVMFFISmallStr:
    case kTVMFFIStr:
        return "a string";
    default:
        return "another kind of value";
    }
}

/* What every kernel relies on: a shape whose count and extent fit, and data where there are elements. */
static inline bool kna_tensor_is_sound(const char *name, int32_t index, const DLTensor *t)
{
    int64_t n = 1, extent = 0;
    bool fits = t->ndim == 0 || (t->ndim > 0 && t->shape);
    for (int32_t i = 0; fits && i < t->ndim; ++i) {
        int64_t reach;
        fits = t->shape[i] >= 0 && !__builtin_mul_overflow(n, t->shape[i], &n);
        if (fits && t->strides && t->shape[i] > 1)
            fits = t->strides[i] != INT64_MIN &&
                   !__builtin_mul_overflow(t->shape[i] - 1,
                                           t->strides[i] < 0 ? -t->strides[i] : t->strides[i],
                                           &reach) &&
                   !__builtin_add_overflow(extent, reach, &extent);
    }
    if (!fits || n > INT64_MAX / 64 || extent > INT64_MAX / 64) {
        kna_raise("ValueError", name, "argument %d has a shape or strides that no tensor can have",
                  (int)index + 1);
        return false;
    }
    if (n > 0 && !t->data) {
        kna_raise("ValueError", name, "argument %d has %lld elements but no data", (int)index + 1,
                  (long long)n);
        return false;
    }
    return true;
}

/**
 * Reads the arguments of a call by a format, one letter each, into the pointers that follow:
 *
 *   t  tensor        DLTensor **   a DLTensor pointer or a tvm-ffi tensor; borrowed for the call
 *   i  integer       int64_t *     int, bool
 *   f  number        double *      float, int, bool
 *   b  truth value   bool *        bool, int
 *
 * A '?' before a letter lets none pass: a tensor is then NULL, a number keeps what the caller put there as the default. The
 * count must agree. Raises: TypeError (count or kind), ValueError (a shape that overflows, elements without data).
 */
static inline bool kna_args(const char *name, const TVMFFIAny *args, int32_t n_args,
                            const char *format, ...)
{
    int32_t expected = 0, index = 0;
    bool ok = true;
    va_list out;
    for (const char *f = format; *f; ++f)
        expected += *f != '?';
    if (n_args != expected) {
        kna_raise("TypeError", name, "takes %d arguments, got %d", (int)expected, (int)n_args);
        return false;
    }
    va_start(out, format);
    for (const char *f = format; ok && *f; ++f) {
        const bool optional = *f == '?';
        f += optional;
        const TVMFFIAny *a = &args[index++];
        const bool is_none = a->type_index == kTVMFFINone, is_float = a->type_index == kTVMFFIFloat;
        const bool is_int = a->type_index == kTVMFFIInt || a->type_index == kTVMFFIBool;
        const bool keep = optional && is_none;
        const char *wanted = "a tensor";
        if (*f == 't') {
            DLTensor **t = va_arg(out, DLTensor **);
            *t = NULL;
            if (a->type_index == kTVMFFIDLTensorPtr)
                *t = (DLTensor *)a->v_ptr;
            else if (a->type_index == kTVMFFITensor && a->v_ptr) // it follows the object's header
                *t = (DLTensor *)(void *)((char *)a->v_ptr + sizeof(TVMFFIObject));
            ok = keep || *t;
            if (*t && !kna_tensor_is_sound(name, index - 1, *t)) {
                va_end(out);
                return false;
            }
        } else if (*f == 'i') {
            int64_t *v = va_arg(out, int64_t *);
            wanted = "an int";
            ok = keep || is_int;
            if (is_int)
                *v = a->v_int64;
        } else if (*f == 'f') {
            double *v = va_arg(out, double *);
            wanted = "a float";
            ok = keep || is_int || is_float;
            if (is_int || is_float)
                *v = is_float ? a->v_float64 : (double)a->v_int64;
        } else {
            bool *v = va_arg(out, bool *);
            wanted = "a bool";
            ok = keep || is_int;
            if (is_int)
                *v = a->v_int64 != 0;
        }
        if (!ok)
            kna_raise("TypeError", name, "argument %d must be %s%s, got %s", (int)index, wanted,
                      optional ? " or none" : "", kna_kind_text(a));
    }
    va_end(out);
    return ok;
}

/* ---- Checks; the macros hand over the names of the arguments ---- */

/** The tensor's type when it is one of the set, as in KNA_F32 | KNA_BF16; else 0 with TypeError raised. */
#define kna_dtype(name, t, set) kna_check_dtype(name, #t, t, set)
/** Whether a CPU may read it (memory of the host, pinned memory included). */
#define kna_on_cpu(name, t) kna_check_cpu(name, #t, t)
/** Whether both have the same rank and sizes. */
#define kna_same_shape(name, a, b) kna_check_same(name, #a, a, #b, b, false)
/** Whether both have the same data type. */
#define kna_same_dtype(name, a, b) kna_check_same_dtype(name, #a, a, #b, b)
/** Whether one flat loop can walk both: same shape, data type and device, each contiguous. */
#define kna_dense(name, a, b)                                                                      \
    (kna_check_same(name, #a, a, #b, b, true) && kna_check_contiguous(name, #a, a) &&              \
     kna_check_contiguous(name, #b, b))
/** Whether it has one dimension of that size and is contiguous, as a weight. */
#define kna_vector(name, t, size) kna_check_vector(name, #t, t, size)
/** Fills a kna_rows; false when the last dimension is not contiguous or the others do not fold to one stride. */
#define kna_rows_in(name, t, rows) kna_check_rows(name, #t, t, rows, false)
/** The same for an output: rows that overlap are refused too. */
#define kna_rows_out(name, t, rows) kna_check_rows(name, #t, t, rows, true)

/** A tensor seen as rows: all dimensions but the last folded into one. Rank 0 is one row of one. */
typedef struct kna_rows {
    char *data;
    int64_t n_rows, n_cols;
    int64_t row_stride; // elements; n_cols where there is at most one row
} kna_rows;

static inline unsigned kna_check_dtype(const char *name, const char *arg, const DLTensor *t,
                                       unsigned set)
{
    static const struct {
        unsigned bit;
        const char *text;
    } types[] = {{KNA_F32, "f32"}, {KNA_F16, "f16"}, {KNA_BF16, "bf16"}, {KNA_F64, "f64"},
                 {KNA_I32, "i32"}, {KNA_I64, "i64"}, {KNA_BOOL, "bool"}};
    char got[32], accepted[64] = "";
    const unsigned type = kna_type_of(t) & set;
    if (type)
        return type;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); ++i)
        if (set & types[i].bit) {
            const size_t used = strlen(accepted);
            (void)snprintf(accepted + used, sizeof(accepted) - used, "%s%s", used ? ", " : "",
                           types[i].text);
        }
    kna_raise("TypeError", name, "%s has data type %s; accepted here: %s", arg,
              kna_type_text(t, got, sizeof(got)), accepted);
    return 0;
}

static inline bool kna_check_cpu(const char *name, const char *arg, const DLTensor *t)
{
    if (t->device.device_type == kDLCPU || t->device.device_type == kDLCUDAHost ||
        t->device.device_type == kDLROCMHost)
        return true;
    kna_raise("ValueError", name, "%s is on device type %d; this kernel runs on the CPU", arg,
              (int)t->device.device_type);
    return false;
}

static inline bool kna_check_same_dtype(const char *name, const char *a_name, const DLTensor *a,
                                        const char *b_name, const DLTensor *b)
{
    char a_text[32], b_text[32];
    if (a->dtype.code == b->dtype.code && a->dtype.bits == b->dtype.bits &&
        a->dtype.lanes == b->dtype.lanes)
        return true;
    kna_raise("TypeError", name, "%s (%s) and %s (%s) must have the same data type", a_name,
              kna_type_text(a, a_text, sizeof(a_text)), b_name,
              kna_type_text(b, b_text, sizeof(b_text)));
    return false;
}

static inline bool kna_check_same(const char *name, const char *a_name, const DLTensor *a,
                                  const char *b_name, const DLTensor *b, bool whole)
{
    char a_text[96], b_text[96];
    bool same = a->ndim == b->ndim;
    for (int32_t i = 0; same && i < a->ndim; ++i)
        same = a->shape[i] == b->shape[i];
    if (!same) {
        kna_raise("ValueError", name, "%s %s and %s %s must have the same shape", a_name,
                  kna_shape_text(a, a_text, sizeof(a_text)), b_name,
                  kna_shape_text(b, b_text, sizeof(b_text)));
        return false;
    }
    if (!whole)
        return true;
    if (!kna_check_same_dtype(name, a_name, a, b_name, b))
        return false;
    if (a->device.device_type != b->device.device_type ||
        a->device.device_id != b->device.device_id) {
        kna_raise("ValueError", name, "%s and %s must be on the same device", a_name, b_name);
        return false;
    }
    return true;
}

static inline bool kna_check_contiguous(const char *name, const char *arg, const DLTensor *t)
{
    if (kna_is_contiguous(t))
        return true;
    kna_raise("ValueError", name, "%s must be contiguous", arg);
    return false;
}

static inline bool kna_check_vector(const char *name, const char *arg, const DLTensor *t, int64_t n)
{
    char text[96];
    if (t->ndim != 1 || t->shape[0] != n) {
        kna_raise("ValueError", name, "%s must have the shape [%lld], got %s", arg, (long long)n,
                  kna_shape_text(t, text, sizeof(text)));
        return false;
    }
    return kna_check_contiguous(name, arg, t);
}

static inline bool kna_check_rows(const char *name, const char *arg, const DLTensor *t,
                                  kna_rows *rows, bool is_output)
{
    const int32_t last = t->ndim - 1;
    bool is_first = true;
    int64_t expected = 0; // the stride that the next outer dimension must have
    rows->data = (char *)kna_data(t);
    rows->n_rows = 1;
    rows->n_cols = t->ndim ? t->shape[last] : 1;
    rows->row_stride = rows->n_cols;
    for (int32_t i = 0; i < last; ++i)
        rows->n_rows *= t->shape[i];
    if (rows->n_rows == 0 || rows->n_cols == 0)
        return true;
    if (rows->n_cols > 1 && kna_stride(t, last) != 1) {
        kna_raise("ValueError", name, "the last dimension of %s must be contiguous", arg);
        return false;
    }
    for (int32_t i = last - 1; i >= 0; --i) {
        const int64_t stride = kna_stride(t, i);
        if (t->shape[i] == 1)
            continue;
        if (is_first) {
            rows->row_stride = stride;
        } else if (stride != expected) {
            kna_raise("ValueError", name, "the rows of %s must have one stride", arg);
            return false;
        }
        is_first = false;
        expected = stride * t->shape[i];
    }
    if (is_output && (rows->row_stride < 0 ? -rows->row_stride : rows->row_stride) < rows->n_cols) {
        kna_raise("ValueError", name, "the rows of %s overlap", arg);
        return false;
    }
    return true;
}

#include <kernels/author_cpu.h> /* half precision, CPU features, threads */

#endif
