/* Weighted sums of vectors, and the model that a sum makes (protocol section 6). Twin: ../twin.py, bit for bit. */
#include <stddef.h>
#include <stdint.h>

#include "instructions.h"

/* Sums wrap, in unsigned arithmetic, where a child is beyond its bounds. */
static inline __attribute__((always_inline)) void add_update(uint64_t *restrict total, const int32_t *update,
                                                             size_t count, int64_t weight) {
    if (weight <= INT32_MAX) {
        const int32_t narrow = (int32_t)weight;
        for (size_t i = 0; i < count; i++) total[i] += (uint64_t)((int64_t)narrow * update[i]);
    } else {
        for (size_t i = 0; i < count; i++) total[i] += (uint64_t)(weight * update[i]);
    }
}

#ifdef GALAXY_X86
__attribute__((target("avx2"))) static void add_update_avx2(uint64_t *total, const int32_t *update, size_t count,
                                                            int64_t weight) {
    add_update(total, update, count, weight);
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

/* Writes clamp(model + floor((sum + floor(weight / 2)) / weight)); weight is 1 to 2**32 - 1, the sums are any. */
void galaxy_move(const int32_t *model, const int64_t *sums, size_t count, int64_t weight, int32_t *restrict out) {
#ifdef __SIZEOF_INT128__
    /* Within the bounds of the weight a sum plus weight * 2**31 is natural and below weight * 2**32, and so is what is
     * rounded; a multiplication by the reciprocal gives its quotient or one less. */
    const uint64_t divisor = (uint64_t)weight, reciprocal = UINT64_MAX / divisor, shift = divisor << 31;
    const int64_t lowest = weight * INT32_MIN, highest = weight * INT32_MAX;
    for (size_t i = 0; i < count; i++) {
        const int64_t sum = sums[i];
        int64_t moved;
        if (sum >= lowest && sum <= highest) {
            const uint64_t natural = (uint64_t)sum + shift + divisor / 2;
            uint64_t quotient = (uint64_t)((unsigned __int128)natural * reciprocal >> 64);
            quotient += natural - quotient * divisor >= divisor;
            moved = (int64_t)quotient - ((int64_t)1 << 31);
        } else {
            moved = rounded(sum, weight);
        }
        out[i] = clamped(model[i] + moved);
    }
#else
    for (size_t i = 0; i < count; i++) out[i] = clamped(model[i] + rounded(sums[i], weight));
#endif
}
