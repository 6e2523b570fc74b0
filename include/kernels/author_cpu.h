/**
 * The part of kernels/author.h that is about the CPU: half precision, features at run time, choice of a path, threads.
 * Include kernels/author.h, which includes this.
 */
#ifndef KERNELS_AUTHOR_CPU_H
#define KERNELS_AUTHOR_CPU_H

#include <kernels/author.h>
#include <sys/types.h>

/* ---- Half precision: to nearest, ties to even; NaN stays NaN (quiet), overflow becomes infinity ---- */

static inline uint32_t kna_bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static inline float kna_float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static inline float kna_bf16_to_f32(uint16_t half)
{
    return kna_float_of((uint32_t)half << 16);
}

static inline uint16_t kna_f32_to_bf16(float value)
{
    const uint32_t bits = kna_bits_of(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static inline float kna_f16_to_f32(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    const uint32_t rest = half & 0x7fffu;
    if (rest >= 0x7c00u) // infinity; NaN, made quiet
        return kna_float_of(sign | 0x7f800000u | (rest & 0x3ffu) << 13 |
                            (rest > 0x7c00u ? 0x400000u : 0u));
    if (rest < 0x400u) { // zero or subnormal: a multiple of 2^-24, exact in f32
        const float value = (float)rest * 0x1p-24f;
        return sign ? -value : value;
    }
    return kna_float_of(sign | ((rest << 13) + (112u << 23)));
}

static inline uint16_t kna_f32_to_f16(float value)
{
    const uint32_t bits = kna_bits_of(value), size = bits & 0x7fffffffu;
    const uint32_t sign = bits >> 16 & 0x8000u;
    if (size > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | (size >> 13 & 0x3ffu));
    if (size >= 0x477ff000u) // 65 520, half way from the largest number to the next
        return (uint16_t)(sign | 0x7c00u);
    if (size < 0x38800000u) // below 2^-14; the last bit of 0.5f is 2^-24, so the addition rounds
        return (uint16_t)(sign | (kna_bits_of(kna_float_of(size) + 0.5f) - 0x3f000000u));
    return (uint16_t)(sign | (((size + 0xfffu + (size >> 13 & 1u)) >> 13) - (112u << 10)));
}

/* ---- CPU features, as the system lets programs use them ---- */

#define KNA_CPU_AVX2 1u   // AVX2, FMA and F16C: KNA_TARGET("avx2,fma,f16c")
#define KNA_CPU_AVX512 2u // AVX-512 F, BW, DQ, VL, and all of the above
#define KNA_CPU_KNOWN 0x80000000u

static uint32_t kna_cpu_state KNA_UNUSED; // 0: not asked yet

/** The features as bits KNA_CPU_*. Registers that the system does not save (XCR0) do not count. */
static inline uint32_t kna_cpu(void)
{
    uint32_t found = __atomic_load_n(&kna_cpu_state, __ATOMIC_RELAXED);
    if (found)
        return found;
    found = KNA_CPU_KNOWN;
#if defined(__x86_64__)
    const uint32_t base = 1u << 12 | 1u << 27 | 1u << 28 | 1u << 29; // FMA, OSXSAVE, AVX, F16C
    const uint32_t wide = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; // F, DQ, BW, VL
    uint32_t a, b, c, d, saved, high;
    if (__get_cpuid(1, &a, &b, &c, &d) && (c & base) == base) {
        __asm__ volatile("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
        if ((saved & 0x6u) == 0x6u && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & 1u << 5)) {
            found |= KNA_CPU_AVX2;
            if ((saved & 0xe6u) == 0xe6u && (b & wide) == wide)
                found |= KNA_CPU_AVX512;
        }
    }
#endif
    __atomic_store_n(&kna_cpu_state, found, __ATOMIC_RELAXED);
    return found;
}

/**
 * Lets kna_cpu() of this source file admit no features but these, so that a test can run every path; UINT32_MAX: all that
 * the machine has. Threads: before all others.
 */
static inline void kna_cpu_limit(uint32_t features)
{
    __atomic_store_n(&kna_cpu_state, 0u, __ATOMIC_RELAXED);
    __atomic_store_n(&kna_cpu_state, kna_cpu() & (features | KNA_CPU_KNOWN), __ATOMIC_RELAXED);
}

/** Index of the first row of a table whose `uint32_t needs` this machine meets; see KNA_BEST. */
static inline size_t kna_best_row(const uint32_t *needs, size_t row_size)
{
    size_t row = 0;
    uint32_t wanted = *needs;
    while ((kna_cpu() & wanted) != wanted)
        memcpy(&wanted, (const char *)(const void *)needs + ++row * row_size, sizeof(wanted));
    return row;
}

/**
 * The first row that can run here, of a table of structs with a member `uint32_t needs` (bits KNA_CPU_*): best first, and
 * the last row, the reference, needs 0.
 */
#define KNA_BEST(table) (&(table)[kna_best_row(&(table)[0].needs, sizeof((table)[0]))])

/* ---- Threads ---- */

/** Below this many bytes read and written a call stays on its thread: waking others costs more than they save. */
#ifndef KNA_THREADS_FROM_BYTES
#define KNA_THREADS_FROM_BYTES 300000
#endif

static struct {
    pid_t owner; // the process that loaded this code
    int most;    // KERNELS_NUM_THREADS; 0: what OpenMP would take
} kna_threads_state KNA_UNUSED;

__attribute__((constructor)) KNA_UNUSED static void kna_threads_start(void)
{
    const char *text = getenv("KERNELS_NUM_THREADS");
    const long most = text ? strtol(text, NULL, 10) : 0;
    kna_threads_state.owner = getpid();
    kna_threads_state.most = most > 0 && most <= 4096 ? (int)most : 0;
}

/**
 * How many threads a call that moves that many bytes should use.
 *
 * One: for little work, inside a parallel region, in a build without OpenMP, and in a child of fork, where OpenMP's threads
 * do not exist and waiting for them would hang. Else KERNELS_NUM_THREADS as it was when the code was loaded, else OpenMP's
 * own setting (OMP_NUM_THREADS, omp_set_num_threads), and never more than one for each KNA_THREADS_FROM_BYTES / 2.
 */
static inline int kna_threads(int64_t bytes)
{
#if defined(_OPENMP)
    if (bytes < KNA_THREADS_FROM_BYTES || omp_in_parallel() || getpid() != kna_threads_state.owner)
        return 1;
    const int most = kna_threads_state.most ? kna_threads_state.most : omp_get_max_threads();
    const int64_t useful = bytes / (KNA_THREADS_FROM_BYTES / 2);
    return useful < most ? (int)useful : most;
#else
    (void)bytes;
    return 1;
#endif
}

/** Does items begin … end - 1 of a call; `user` is the caller's. Runs on several threads at once. */
typedef void (*kna_body)(void *user, int64_t begin, int64_t end);

/**
 * Runs the body over items 0 … n_items - 1, in one contiguous range for each thread of kna_threads(bytes). The ranges
 * depend on the number of threads: what must not (sums), the body keeps per item. Returns when all is done.
 */
static inline void kna_parallel(int64_t n_items, int64_t bytes, kna_body body, void *user)
{
    const int n_threads = kna_threads(bytes);
    if (n_items <= 0)
        return;
#if defined(_OPENMP)
    if (n_threads > 1 && n_items > 1) {
#pragma omp parallel num_threads(n_threads)
        {
            const int64_t n = omp_get_num_threads(), i = omp_get_thread_num();
            const int64_t share = n_items / n, more = n_items % n;
            const int64_t begin = i * share + (i < more ? i : more);
            const int64_t end = begin + share + (i < more ? 1 : 0);
            if (begin < end)
                body(user, begin, end);
        }
        return;
    }
#endif
    (void)n_threads;
    body(user, 0, n_items);
}

#endif
