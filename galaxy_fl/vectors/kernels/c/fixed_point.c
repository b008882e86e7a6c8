/* Encoding floats as int32 and decoding them, in one pass (protocol section 1). Twin: ../twin.py, bit for bit. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "instructions.h"

#define AT_ONCE 4096

/* Writes round(value * scale), half to even; returns where the first value is that fits no int32, or -1. */
#define DEFINE_ENCODE(name, real, rounded)                                                                       \
    static inline __attribute__((always_inline)) ptrdiff_t name(const real *values, size_t count, real scale,    \
                                                                int32_t *restrict out) {                         \
        const real lowest = (real)-2147483648.0, beyond = (real)2147483648.0;                                    \
        for (size_t start = 0; start < count; start += AT_ONCE) {                                                \
            const size_t end = count - start > AT_ONCE ? start + AT_ONCE : count;                                \
            int32_t unfit = 0;                                                                                   \
            for (size_t i = start; i < end; i++) {                                                               \
                const real scaled = rounded(values[i] * scale);                                                  \
                /* False for NaN, too. What does not fit is not converted: C leaves open what that would make. */ \
                const int fits = (scaled >= lowest) & (scaled < beyond);                                         \
                unfit |= !fits;                                                                                  \
                out[i] = (int32_t)(fits ? scaled : (real)0);                                                     \
            }                                                                                                    \
            if (!unfit) continue;                                                                                \
            for (size_t i = start; i < end; i++) {                                                               \
                const real scaled = rounded(values[i] * scale);                                                  \
                if (!((scaled >= lowest) & (scaled < beyond))) return (ptrdiff_t)i;                              \
            }                                                                                                    \
        }                                                                                                        \
        return -1;                                                                                               \
    }

DEFINE_ENCODE(encode_float, float, rintf)
DEFINE_ENCODE(encode_double, double, rint)

/* Only the conversion rounds, half to even: the step is a power of two. */
static inline __attribute__((always_inline)) void decode(const int32_t *vector, size_t count, float step,
                                                         float *restrict out) {
    for (size_t i = 0; i < count; i++) out[i] = (float)vector[i] * step;
}

#ifdef GALAXY_X86
#include <immintrin.h>

/* The conversion itself rounds half to even, and makes the lowest int32 of what does not fit: where that comes out, the
 * values are looked at one by one. */
__attribute__((target("avx2"))) static ptrdiff_t encode_float_avx2(const float *values, size_t count, float scale,
                                                                   int32_t *out) {
    const __m256 factor = _mm256_set1_ps(scale);
    const __m256i lowest = _mm256_set1_epi32(INT32_MIN);
    for (size_t start = 0; start < count; start += AT_ONCE) {
        const size_t end = count - start > AT_ONCE ? start + AT_ONCE : count;
        __m256i doubtful = _mm256_setzero_si256();
        size_t i = start;
        for (; i + 8 <= end; i += 8) {
            const __m256i made = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(values + i), factor));
            doubtful = _mm256_or_si256(doubtful, _mm256_cmpeq_epi32(made, lowest));
            _mm256_storeu_si256((__m256i *)(void *)(out + i), made);
        }
        if (!_mm256_testz_si256(doubtful, doubtful)) i = start;
        const ptrdiff_t unfit = encode_float(values + i, end - i, scale, out + i);
        if (unfit >= 0) return (ptrdiff_t)i + unfit;
    }
    return -1;
}

__attribute__((target("avx2"))) static ptrdiff_t encode_double_avx2(const double *values, size_t count, double scale,
                                                                    int32_t *out) {
    return encode_double(values, count, scale, out);
}

__attribute__((target("avx2"))) static void decode_avx2(const int32_t *vector, size_t count, float step, float *out) {
    decode(vector, count, step, out);
}
#endif

ptrdiff_t galaxy_encode_float(int instructions, const float *values, size_t count, float scale, int32_t *out) {
#ifdef GALAXY_X86
    if (instructions & GALAXY_AVX2) return encode_float_avx2(values, count, scale, out);
#endif
    (void)instructions;
    return encode_float(values, count, scale, out);
}

ptrdiff_t galaxy_encode_double(int instructions, const double *values, size_t count, double scale, int32_t *out) {
#ifdef GALAXY_X86
    if (instructions & GALAXY_AVX2) return encode_double_avx2(values, count, scale, out);
#endif
    (void)instructions;
    return encode_double(values, count, scale, out);
}

void galaxy_decode(int instructions, const int32_t *vector, size_t count, float step, float *out) {
#ifdef GALAXY_X86
    if (instructions & GALAXY_AVX2) {
        decode_avx2(vector, count, step, out);
        return;
    }
#endif
    (void)instructions;
    decode(vector, count, step, out);
}
