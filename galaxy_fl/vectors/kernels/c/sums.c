/* Weighted sums of vectors, and the model that a sum makes (protocol section 6). Twin: ../twin.py, bit for bit. */
#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include "instructions.h"

/* Sums wrap, in unsigned arithmetic, where a child is beyond its bounds. */
static inline uint64_t product(int64_t weight, int32_t value) {
    return (uint64_t)(weight * value);
}

static inline __attribute__((always_inline)) void add_update(uint64_t *restrict total, const int32_t *update,
                                                             size_t count, int64_t weight) {
    if (weight <= INT32_MAX) {
        const int32_t narrow = (int32_t)weight; /* so that the compiler sees a product of 32 bits by 32 */
        for (size_t i = 0; i < count; i++) total[i] += product(narrow, update[i]);
    } else {
        for (size_t i = 0; i < count; i++) total[i] += product(weight, update[i]);
    }
}

/* Adds four updates, which follow each other, in one pass over the total. */
static inline __attribute__((always_inline)) void add_four(uint64_t *restrict total, const int32_t *updates,
                                                           size_t count, const int64_t *weights) {
    const int32_t a = (int32_t)weights[0], b = (int32_t)weights[1], c = (int32_t)weights[2], d = (int32_t)weights[3];
    const int32_t *as = updates, *bs = as + count, *cs = bs + count, *ds = cs + count;
    if (weights[0] > INT32_MAX || weights[1] > INT32_MAX || weights[2] > INT32_MAX || weights[3] > INT32_MAX) {
        for (size_t i = 0; i < 4; i++) add_update(total, updates + i * count, count, weights[i]);
        return;
    }
    for (size_t i = 0; i < count; i++)
        total[i] += product(a, as[i]) + product(b, bs[i]) + product(c, cs[i]) + product(d, ds[i]);
}

#ifdef GALAXY_X86
__attribute__((target("avx2"))) static void add_update_avx2(uint64_t *total, const int32_t *update, size_t count,
                                                            int64_t weight) {
    add_update(total, update, count, weight);
}

__attribute__((target("avx2"))) static void add_four_avx2(uint64_t *total, const int32_t *updates, size_t count,
                                                          const int64_t *weights) {
    add_four(total, updates, count, weights);
}
#endif

/* Adds weight * update to a total; weight is 0 to 2**32 - 1. */
void galaxy_add_update(int instructions, uint64_t *total, const int32_t *update, size_t count, int64_t weight) {
#ifdef GALAXY_X86
    if (instructions & GALAXY_AVX2) {
        add_update_avx2(total, update, count, weight);
        return;
    }
#endif
    (void)instructions;
    add_update(total, update, count, weight);
}

static void add_four_by(int instructions, uint64_t *total, const int32_t *updates, size_t count,
                        const int64_t *weights) {
#ifdef GALAXY_X86
    if (instructions & GALAXY_AVX2) {
        add_four_avx2(total, updates, count, weights);
        return;
    }
#endif
    (void)instructions;
    add_four(total, updates, count, weights);
}

/* Reads so many bytes of an open file; returns 0 where it can't be read or ends before. */
static int read_all(int file, uint8_t *buffer, size_t size, int64_t offset) {
    while (size) {
        const ssize_t length = pread(file, buffer, size, (off_t)offset);
        if (length < 0 && errno == EINTR) continue;
        if (length <= 0) return 0;
        buffer += length, size -= (size_t)length, offset += length;
    }
    return 1;
}

/* Adds weight * update of so many open files to a total: `lanes` lanes from lane `start` on, four files at a time, read
 * through a buffer of 4 * `at_once` lanes; at_once is at least 1 where there are lanes. Returns the number of the first
 * file that can't be read or ends before, or -1. */
ptrdiff_t galaxy_add_files(int instructions, uint64_t *total, size_t lanes, int64_t start, const int *files,
                           const int64_t *weights, size_t count, int32_t *buffer, size_t at_once) {
    for (size_t done = 0; done < lanes; done += at_once) {
        const size_t size = lanes - done < at_once ? lanes - done : at_once;
        const int64_t offset = (start + (int64_t)done) * (int64_t)sizeof *buffer;
        for (size_t i = 0; i < count; i++) {
            int32_t *update = buffer + i % 4 * size;
            if (!read_all(files[i], (uint8_t *)update, size * sizeof *update, offset)) return (ptrdiff_t)i;
            if (i % 4 == 3)
                add_four_by(instructions, total + done, buffer, size, weights + i - 3);
            else if (i >= count - count % 4)
                galaxy_add_update(instructions, total + done, update, size, weights[i]);
        }
    }
    return -1;
}

/* Adds a node's sum to a total, and marks the lanes in which that is out of bounds. */
void galaxy_add_sum(uint64_t *restrict total, const int64_t *sum, size_t count, int64_t lowest, int64_t highest,
                    uint8_t *restrict beyond) {
    for (size_t i = 0; i < count; i++) {
        total[i] += (uint64_t)sum[i];
        beyond[i] |= (uint8_t)((sum[i] < lowest) | (sum[i] > highest));
    }
}

static inline int32_t clamped(int64_t value) {
    return value < INT32_MIN ? INT32_MIN : value > INT32_MAX ? INT32_MAX : (int32_t)value;
}

/* Rounds any sum divided by a weight, half up; what no updates sum to may be cut to what moves every model to the end. */
static int64_t rounded(int64_t sum, int64_t weight) {
    int64_t quotient = sum / weight, rest = sum % weight;
    if (rest < 0) quotient--, rest += weight;
    const int64_t lowest = 2 * (int64_t)INT32_MIN, highest = 2 * (int64_t)INT32_MAX + 1;
    quotient = quotient < lowest ? lowest : quotient > highest ? highest : quotient;
    return quotient + (rest + weight / 2 >= weight);
}

static void move(const int32_t *model, const int64_t *sums, size_t count, int64_t weight, int32_t *out) {
    for (size_t i = 0; i < count; i++) out[i] = clamped(model[i] + rounded(sums[i], weight));
}

#ifdef GALAXY_X86
#include <immintrin.h>

#define FOUR(value) _mm256_set1_epi64x((long long)(value))
#define LOADED(lanes) _mm256_loadu_si256((const __m256i *)(const void *)(lanes))

struct division {
    __m256i shift, divisor, round_up, lowest, highest;
    __m256d inverse;
};

/* Divides four sums, in the low halves of the lanes, with 2**31 - 1 added; marks those that are beyond the bounds.
 *
 * A sum is made natural, by weight * 2**31, and divided in floating point, by a hair too little, so that the nearest whole
 * number is the right one or one less; the remainder, which is exact, tells. Natural numbers become floating, and
 * floating ones natural, by the bits of 2**52, 2**84 and 3 * 2**51. */
__attribute__((target("avx2"))) static inline __m256i divided(const int64_t *sums, const struct division *by,
                                                              __m256i *beyond) {
    const __m256i sum = LOADED(sums), number = _mm256_add_epi64(sum, by->shift);
    *beyond = _mm256_or_si256(*beyond, _mm256_or_si256(_mm256_cmpgt_epi64(by->lowest, sum),
                                                       _mm256_cmpgt_epi64(sum, by->highest)));
    const __m256i low = _mm256_blend_epi32(number, FOUR(0x4330000000000000), 0xaa);
    const __m256i high = _mm256_or_si256(_mm256_srli_epi64(number, 32), FOUR(0x4530000000000000));
    const __m256d upper = _mm256_sub_pd(_mm256_castsi256_pd(high), _mm256_set1_pd(0x1p84 + 0x1p52));
    const __m256d real = _mm256_add_pd(upper, _mm256_castsi256_pd(low));
    const __m256d nearest = _mm256_add_pd(_mm256_mul_pd(real, by->inverse), _mm256_set1_pd(0x1.8p52));
    const __m256i quotient = _mm256_castpd_si256(nearest);
    const __m256i rest = _mm256_sub_epi64(number, _mm256_mul_epu32(quotient, by->divisor));
    return _mm256_add_epi64(quotient, _mm256_cmpgt_epi64(by->round_up, rest));
}

/* As above, eight lanes at a time, as long as the sums are within the bounds of the weight; returns how many were. */
__attribute__((target("avx2"))) static size_t move_within(const int32_t *model, const int64_t *sums, size_t count,
                                                          int64_t weight, int32_t *out) {
    const struct division by = {
        .shift = FOUR((uint64_t)weight << 31),
        .divisor = FOUR(weight),
        .round_up = FOUR(weight - weight / 2),
        .lowest = FOUR(weight * INT32_MIN),
        .highest = FOUR(weight * INT32_MAX),
        .inverse = _mm256_set1_pd((1.0 - 0x1p-50) / (double)weight),
    };
    const __m256i most = _mm256_set1_epi32(INT32_MAX);
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        __m256i beyond = _mm256_setzero_si256();
        const __m256 first = _mm256_castsi256_ps(divided(sums + i, &by, &beyond));
        const __m256 second = _mm256_castsi256_ps(divided(sums + i + 4, &by, &beyond));
        if (!_mm256_testz_si256(beyond, beyond)) break;
        const __m256i mixed = _mm256_castps_si256(_mm256_shuffle_ps(first, second, 0x88));
        const __m256i moved = _mm256_sub_epi32(_mm256_permute4x64_epi64(mixed, 0xd8), most);
        const __m256i before = LOADED(model + i), after = _mm256_add_epi32(before, moved);
        /* Where both have the other sign than their sum it has wrapped. */
        const __m256i wrapped = _mm256_and_si256(_mm256_xor_si256(after, before), _mm256_xor_si256(after, moved));
        const __m256i end = _mm256_xor_si256(_mm256_srai_epi32(before, 31), most);
        _mm256_storeu_si256((__m256i *)(void *)(out + i),
                            _mm256_castps_si256(_mm256_blendv_ps(_mm256_castsi256_ps(after), _mm256_castsi256_ps(end),
                                                                 _mm256_castsi256_ps(wrapped))));
    }
    return i;
}
#endif

/* Writes clamp(model + floor((sum + floor(weight / 2)) / weight)); weight is 1 to 2**32 - 1, the sums are any. */
void galaxy_move(int instructions, const int32_t *model, const int64_t *sums, size_t count, int64_t weight,
                 int32_t *out) {
    for (size_t done = 0; done < count;) {
#ifdef GALAXY_X86
        if (instructions & GALAXY_AVX2)
            done += move_within(model + done, sums + done, count - done, weight, out + done);
#endif
        (void)instructions;
        const size_t next = count - done < 64 ? count - done : 64;
        move(model + done, sums + done, next, weight, out + done);
        done += next;
    }
}
