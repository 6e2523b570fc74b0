/**
 * Eight elements of f32, f16 or bf16 as eight f32, for AVX2 paths. The type is a constant of the caller, so that each
 * instance has one kind of load. A tail goes through a small buffer of zeros: its numbers are those of the full vectors,
 * and nothing outside the row is touched. No alignment is needed. Threads: any.
 */
#ifndef PACKAGES_AVX2_H
#define PACKAGES_AVX2_H

#include "real.h"

#if defined(__x86_64__)

#define AVX2 KNA_TARGET("avx2,fma,f16c")

AVX2 KNA_INLINE __m256 avx2_load(const void *data, int64_t i, unsigned type)
{
    if (type == KNA_F32)
        return _mm256_loadu_ps((const float *)real_at(data, i, KNA_F32));
    const __m128i half = _mm_loadu_si128((const __m128i *)real_at(data, i, KNA_BF16));
    if (type == KNA_F16)
        return _mm256_cvtph_ps(half);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

/** bf16 in the low halves: to nearest even; NaN is kept apart, since rounding could carry it to infinity. */
AVX2 KNA_INLINE __m256i avx2_bf16(__m256 v)
{
    const __m256i bits = _mm256_castps_si256(v), high = _mm256_srli_epi32(bits, 16);
    const __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    const __m256i kept = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
    return _mm256_blendv_epi8(_mm256_srli_epi32(up, 16), kept, nan);
}

AVX2 KNA_INLINE void avx2_store(void *data, int64_t i, unsigned type, __m256 v)
{
    char *at = (char *)data + i * real_size(type);
    if (type == KNA_F32) {
        _mm256_storeu_ps((float *)(void *)at, v);
        return;
    }
    __m128i half;
    if (type == KNA_F16) {
        half = _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT);
    } else {
        const __m256i word = avx2_bf16(v);
        half = _mm_packus_epi32(_mm256_castsi256_si128(word), _mm256_extracti128_si256(word, 1));
    }
    _mm_storeu_si128((__m128i *)(void *)at, half);
}

/** The first n (1 … 7) elements from i, then zeros. */
AVX2 KNA_INLINE __m256 avx2_load_n(const void *data, int64_t i, int64_t n, unsigned type)
{
    char buffer[64] = {0}; // holds eight of every type that real_size knows
    memcpy(buffer, real_at(data, i, type), (size_t)(n * real_size(type)));
    return avx2_load(buffer, 0, type);
}

AVX2 KNA_INLINE void avx2_store_n(void *data, int64_t i, int64_t n, unsigned type, __m256 v)
{
    char buffer[32];
    avx2_store(buffer, 0, type, v);
    memcpy((char *)data + i * real_size(type), buffer, (size_t)(n * real_size(type)));
}

/** Eight elements from i, or the n of a tail. */
AVX2 KNA_INLINE __m256 avx2_get(const void *data, int64_t i, int64_t n, unsigned type)
{
    return n >= 8 ? avx2_load(data, i, type) : avx2_load_n(data, i, n, type);
}

AVX2 KNA_INLINE void avx2_put(void *data, int64_t i, int64_t n, unsigned type, __m256 v)
{
    if (n >= 8)
        avx2_store(data, i, type, v);
    else
        avx2_store_n(data, i, n, type, v);
}

/** sums[i …] += v, in double; n as for avx2_put. */
AVX2 KNA_INLINE void avx2_add(double *sums, int64_t i, int64_t n, __m256 v)
{
    float some[8];
    if (n >= 8) {
        const __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(v));
        const __m256d high = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
        _mm256_storeu_pd(sums + i, _mm256_add_pd(_mm256_loadu_pd(sums + i), low));
        _mm256_storeu_pd(sums + i + 4, _mm256_add_pd(_mm256_loadu_pd(sums + i + 4), high));
        return;
    }
    _mm256_storeu_ps(some, v);
    for (int64_t k = 0; k < n; ++k)
        sums[i + k] += (double)some[k];
}

/** The eight values as that type would hold them. */
AVX2 KNA_INLINE __m256 avx2_round(__m256 v, unsigned type)
{
    if (type == KNA_F32)
        return v;
    if (type == KNA_F16)
        return _mm256_cvtph_ps(_mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
    return _mm256_castsi256_ps(_mm256_slli_epi32(avx2_bf16(v), 16));
}

AVX2 KNA_INLINE float avx2_sum(__m256 v)
{
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/**
 * e^x, relative error below 2 * 2^-24 for normal results; NaN stays, overflow is infinity.
 *
 * x = n ln 2 + r with |r| <= ln 2 / 2; e^r = 1 + r + r^2 q(r), where q of degree 4 was fitted to e^r for the smallest
 * largest relative error (2e-9). 2^n is applied in two factors, since n may be 128 or below -126.
 */
AVX2 KNA_INLINE __m256 avx2_exp(__m256 x)
{
    // min and max return their second operand when one is NaN: in this order NaN passes through.
    const __m256 low = _mm256_set1_ps(-104.0f), high = _mm256_set1_ps(89.0f);
    const __m256 v = _mm256_max_ps(low, _mm256_min_ps(high, x));
    const __m256 n = _mm256_round_ps(_mm256_mul_ps(v, _mm256_set1_ps(0x1.715476p0f)),
                                     _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), v); // ln 2 in two parts, the
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), r);     // first exact times any n
    __m256 q = _mm256_set1_ps(0.00138143909f);
    q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(0.00836881707f));
    q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(0.0416683978f));
    q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(0.166665198f));
    q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(0.499999934f));
    const __m256 one = _mm256_set1_ps(1.0f);
    const __m256 e = _mm256_add_ps(one, _mm256_fmadd_ps(_mm256_mul_ps(r, r), q, r));
    const __m256i power = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(power, 1);
    const __m256i bias = _mm256_set1_epi32(127), rest = _mm256_sub_epi32(power, half);
    const __m256i first = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    const __m256i second = _mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23);
    return _mm256_mul_ps(_mm256_mul_ps(e, _mm256_castsi256_ps(first)), _mm256_castsi256_ps(second));
}

#endif
#endif
