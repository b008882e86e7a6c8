/* SHA-256 of many pieces of one length: the leaves and nodes of a chunk tree, and the blocks of a file.
 *
 * Two pieces at a time: one piece's rounds wait for each other, and the processor has room for those of another.
 * This file is compiled without AVX, for changing between both kinds of instructions has cost a factor of fifty.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "instructions.h"

#define BLOCK 64
#define DIGEST 32

/* Two pieces of as many blocks; then the blocks at their ends, then, where there is a schedule, its block for both.
 * A schedule is the sums of a block's 64 words and the constants. */
struct pair {
    const uint8_t *first, *second;
    size_t blocks;
    const uint8_t *first_end, *second_end;
    size_t end_blocks;
    const uint32_t *schedule;
};

typedef void hash_two(struct pair pair, uint8_t *first_digest, uint8_t *second_digest);

static const uint32_t START[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

static const uint32_t K[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static inline uint32_t big_endian(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static inline uint32_t rotated(uint32_t word, int bits) {
    return word >> bits | word << (32 - bits);
}

/* Writes the sums of a block's 64 words and the constants. */
static void make_schedule(const uint8_t *block, uint32_t *schedule) {
    uint32_t w[64];
    for (int i = 0; i < 16; i++) w[i] = big_endian(block + 4 * i);
#pragma GCC unroll 48
    for (int i = 16; i < 64; i++) {
        const uint32_t x = w[i - 15], y = w[i - 2];
        const uint32_t s0 = rotated(x, 7) ^ rotated(x, 18) ^ x >> 3;
        const uint32_t s1 = rotated(y, 17) ^ rotated(y, 19) ^ y >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    for (int i = 0; i < 64; i++) schedule[i] = w[i] + K[i];
}

static void rounds_portable(uint32_t *state, const uint32_t *schedule) {
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
#pragma GCC unroll 64
    for (int i = 0; i < 64; i++) {
        const uint32_t s1 = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25);
        const uint32_t t1 = h + s1 + ((e & f) ^ (~e & g)) + schedule[i];
        const uint32_t s0 = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22);
        const uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

static void hash_portable(const uint8_t *piece, size_t blocks, const uint8_t *end, size_t end_blocks,
                          const uint32_t *schedule, uint8_t *digest) {
    uint32_t state[8], made[64];
    memcpy(state, START, sizeof state);
    for (size_t at = 0; at < blocks; at++) {
        make_schedule(piece + at * BLOCK, made);
        rounds_portable(state, made);
    }
    for (size_t at = 0; at < end_blocks; at++) {
        make_schedule(end + at * BLOCK, made);
        rounds_portable(state, made);
    }
    if (schedule) rounds_portable(state, schedule);
    for (int i = 0; i < DIGEST; i++) digest[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}

static void two_portable(struct pair pair, uint8_t *first_digest, uint8_t *second_digest) {
    hash_portable(pair.first, pair.blocks, pair.first_end, pair.end_blocks, pair.schedule, first_digest);
    hash_portable(pair.second, pair.blocks, pair.second_end, pair.end_blocks, pair.schedule, second_digest);
}

#ifdef GALAXY_X86
#include <immintrin.h>

/* Writes a state, which the instructions have as the words a, b, e, f and c, d, g, h. */
#define STORE_DIGEST(abef, cdgh, digest)                                                                      \
    do {                                                                                                      \
        const __m128i feba = _mm_shuffle_epi32(abef, 0x1b), dchg = _mm_shuffle_epi32(cdgh, 0xb1);              \
        const __m128i dcba = _mm_blend_epi16(feba, dchg, 0xf0), hgfe = _mm_alignr_epi8(dchg, feba, 8);         \
        _mm_storeu_si128((__m128i *)(void *)(digest), _mm_shuffle_epi8(dcba, swap));                          \
        _mm_storeu_si128((__m128i *)(void *)((digest) + 16), _mm_shuffle_epi8(hgfe, swap));                   \
    } while (0)

#define LOAD_WORDS(content, i) \
    _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)((content) + 16 * (i))), swap)

/* The next four words of the schedule, in place of those sixteen before. */
#define NEXT_WORDS(w0, w1, w2, w3) \
    w0 = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4)), w3)

#define LOAD(words) _mm_load_si128((const __m128i *)(const void *)(words))

/* Four rounds of both lanes, by words to which the constants are added already. */
#define READY_ROUNDS(v, w)                                                         \
    do {                                                                           \
        __m128i x = v, y = w;                                                      \
        b1 = _mm_sha256rnds2_epu32(b1, a1, x);                                     \
        b2 = _mm_sha256rnds2_epu32(b2, a2, y);                                     \
        x = _mm_shuffle_epi32(x, 0x0e);                                            \
        y = _mm_shuffle_epi32(y, 0x0e);                                            \
        a1 = _mm_sha256rnds2_epu32(a1, b1, x);                                     \
        a2 = _mm_sha256rnds2_epu32(a2, b2, y);                                     \
    } while (0)

#define ROUNDS(i, v, w) READY_ROUNDS(_mm_add_epi32(v, LOAD(K + (i))), _mm_add_epi32(w, LOAD(K + (i))))

#define NEXT_ROUNDS(i, v0, v1, v2, v3, w0, w1, w2, w3) \
    do {                                               \
        NEXT_WORDS(v0, v1, v2, v3);                    \
        NEXT_WORDS(w0, w1, w2, w3);                    \
        ROUNDS(i, v0, w0);                             \
    } while (0)

#define SIXTEEN_ROUNDS(i)                                       \
    do {                                                        \
        NEXT_ROUNDS(i, v0, v1, v2, v3, w0, w1, w2, w3);         \
        NEXT_ROUNDS((i) + 4, v1, v2, v3, v0, w1, w2, w3, w0);   \
        NEXT_ROUNDS((i) + 8, v2, v3, v0, v1, w2, w3, w0, w1);   \
        NEXT_ROUNDS((i) + 12, v3, v0, v1, v2, w3, w0, w1, w2);  \
    } while (0)

#define ADD_BEFORE                    \
    do {                              \
        a1 = _mm_add_epi32(a1, p1);   \
        b1 = _mm_add_epi32(b1, q1);   \
        a2 = _mm_add_epi32(a2, p2);   \
        b2 = _mm_add_epi32(b2, q2);   \
    } while (0)

__attribute__((target("sha,sse4.1,ssse3"))) static void two_sha(struct pair pair, uint8_t *first_digest,
                                                                uint8_t *second_digest) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i a1 = _mm_set_epi32((int)START[0], (int)START[1], (int)START[4], (int)START[5]), a2 = a1;
    __m128i b1 = _mm_set_epi32((int)START[2], (int)START[3], (int)START[6], (int)START[7]), b2 = b1;
    const uint8_t *first = pair.first, *second = pair.second;
    for (size_t left = pair.blocks + pair.end_blocks; left; left--, first += BLOCK, second += BLOCK) {
        if (left == pair.end_blocks) first = pair.first_end, second = pair.second_end;
        const __m128i p1 = a1, q1 = b1, p2 = a2, q2 = b2;
        __m128i v0 = LOAD_WORDS(first, 0), w0 = LOAD_WORDS(second, 0);
        ROUNDS(0, v0, w0);
        __m128i v1 = LOAD_WORDS(first, 1), w1 = LOAD_WORDS(second, 1);
        ROUNDS(4, v1, w1);
        __m128i v2 = LOAD_WORDS(first, 2), w2 = LOAD_WORDS(second, 2);
        ROUNDS(8, v2, w2);
        __m128i v3 = LOAD_WORDS(first, 3), w3 = LOAD_WORDS(second, 3);
        ROUNDS(12, v3, w3);
        SIXTEEN_ROUNDS(16);
        SIXTEEN_ROUNDS(32);
        SIXTEEN_ROUNDS(48);
        ADD_BEFORE;
    }
    if (pair.schedule) {
        const __m128i p1 = a1, q1 = b1, p2 = a2, q2 = b2;
        for (int i = 0; i < 64; i += 4) READY_ROUNDS(LOAD(pair.schedule + i), LOAD(pair.schedule + i));
        ADD_BEFORE;
    }
    STORE_DIGEST(a1, b1, first_digest);
    STORE_DIGEST(a2, b2, second_digest);
}
#endif

#ifdef GALAXY_ARM
#include <arm_neon.h>

#ifdef __clang__
#define WITH_SHA __attribute__((target("sha2")))
#else
#define WITH_SHA __attribute__((target("+crypto")))
#endif

/* Four rounds of both lanes, by words to which the constants are added already. */
#define READY_ROUNDS(v, w)                                         \
    do {                                                           \
        const uint32x4_t x = v, y = w;                             \
        const uint32x4_t s = a1, t = a2;                           \
        a1 = vsha256hq_u32(a1, b1, x);                             \
        a2 = vsha256hq_u32(a2, b2, y);                             \
        b1 = vsha256h2q_u32(b1, s, x);                             \
        b2 = vsha256h2q_u32(b2, t, y);                             \
    } while (0)

#define ROUNDS(i, v, w) READY_ROUNDS(vaddq_u32(v, vld1q_u32(K + (i))), vaddq_u32(w, vld1q_u32(K + (i))))

#define LOAD_WORDS(content, i) vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8((content) + 16 * (i))))

#define ADD_BEFORE                \
    do {                          \
        a1 = vaddq_u32(a1, p1);   \
        b1 = vaddq_u32(b1, q1);   \
        a2 = vaddq_u32(a2, p2);   \
        b2 = vaddq_u32(b2, q2);   \
    } while (0)

#define STORE_DIGEST(abcd, efgh, digest)                                       \
    do {                                                                       \
        vst1q_u8(digest, vrev32q_u8(vreinterpretq_u8_u32(abcd)));              \
        vst1q_u8((digest) + 16, vrev32q_u8(vreinterpretq_u8_u32(efgh)));       \
    } while (0)

WITH_SHA static void two_sha(struct pair pair, uint8_t *first_digest, uint8_t *second_digest) {
    uint32x4_t a1 = vld1q_u32(START), b1 = vld1q_u32(START + 4), a2 = a1, b2 = b1;
    const uint8_t *first = pair.first, *second = pair.second;
    for (size_t left = pair.blocks + pair.end_blocks; left; left--, first += BLOCK, second += BLOCK) {
        if (left == pair.end_blocks) first = pair.first_end, second = pair.second_end;
        const uint32x4_t p1 = a1, q1 = b1, p2 = a2, q2 = b2;
        uint32x4_t v[4], w[4];
        for (int i = 0; i < 4; i++) {
            v[i] = LOAD_WORDS(first, i);
            w[i] = LOAD_WORDS(second, i);
            ROUNDS(4 * i, v[i], w[i]);
        }
        for (int i = 4; i < 16; i++) {
            const int w0 = i & 3, w1 = (i + 1) & 3, w2 = (i + 2) & 3, w3 = (i + 3) & 3;
            v[w0] = vsha256su1q_u32(vsha256su0q_u32(v[w0], v[w1]), v[w2], v[w3]);
            w[w0] = vsha256su1q_u32(vsha256su0q_u32(w[w0], w[w1]), w[w2], w[w3]);
            ROUNDS(4 * i, v[w0], w[w0]);
        }
        ADD_BEFORE;
    }
    if (pair.schedule) {
        const uint32x4_t p1 = a1, q1 = b1, p2 = a2, q2 = b2;
        for (int i = 0; i < 64; i += 4) READY_ROUNDS(vld1q_u32(pair.schedule + i), vld1q_u32(pair.schedule + i));
        ADD_BEFORE;
    }
    STORE_DIGEST(a1, b1, first_digest);
    STORE_DIGEST(a2, b2, second_digest);
}
#endif

/* Writes what comes after the whole blocks of a piece, and the padding; returns how many blocks that is. */
static size_t last_blocks(const uint8_t *piece, size_t size, uint8_t *out) {
    const size_t rest = size % BLOCK, blocks = rest < BLOCK - 8 ? 1 : 2;
    const uint64_t bits = (uint64_t)size << 3;
    memset(out, 0, 2 * BLOCK);
    memcpy(out, piece + (size - rest), rest);
    out[rest] = 0x80;
    for (int i = 0; i < 8; i++) out[blocks * BLOCK - 1 - (size_t)i] = (uint8_t)(bits >> 8 * i);
    return blocks;
}

/* Writes the digests (32 bytes each) of so many pieces of `size` bytes that follow each other; size is at least 1. */
void galaxy_digests(int instructions, const uint8_t *content, size_t pieces, size_t size, uint8_t *out) {
    hash_two *hash = two_portable;
#if defined(GALAXY_X86) || defined(GALAXY_ARM)
    if (instructions & GALAXY_SHA) hash = two_sha;
#else
    (void)instructions;
#endif
    if (!pieces) return;
    uint8_t ends[2][2 * BLOCK];
    uint32_t schedule[64] __attribute__((aligned(16)));
    struct pair pair = {.blocks = size / BLOCK, .first_end = ends[0], .second_end = ends[1]};
    /* Where pieces end with a block, the padding is a block of its own, and the same for all. */
    if (size % BLOCK == 0) {
        last_blocks(content, size, ends[0]);
        make_schedule(ends[0], schedule);
        pair.schedule = schedule;
    }
    for (size_t at = 0; at < pieces; at += 2) {
        /* A piece without a neighbour is hashed in both lanes. */
        const size_t beside = at + 1 < pieces ? at + 1 : at;
        pair.first = content + at * size;
        pair.second = content + beside * size;
        if (!pair.schedule) {
            pair.end_blocks = last_blocks(pair.first, size, ends[0]);
            last_blocks(pair.second, size, ends[1]);
        }
        hash(pair, out + at * DIGEST, out + beside * DIGEST);
    }
}

/* Makes of so many nodes (32 bytes each) the one that is so many levels above them, where the first of them was. There
 * is room for one node more. Nodes that are missing on the lowest level are zeros. */
void galaxy_fold(int instructions, uint8_t *nodes, size_t count, size_t levels) {
    uint8_t padding[2 * DIGEST] = {0}, made[DIGEST];
    for (; levels; levels--) {
        if (count % 2) memcpy(nodes + count++ * DIGEST, padding, DIGEST);
        count /= 2;
        if (count == 1) {
            /* Both lanes hash it, and the second must not read what the first has written. */
            galaxy_digests(instructions, nodes, 1, 2 * DIGEST, made);
            memcpy(nodes, made, DIGEST);
        } else {
            /* What is written is behind what is still to be read. */
            galaxy_digests(instructions, nodes, count, 2 * DIGEST, nodes);
        }
        if (levels > 1) {
            memcpy(padding + DIGEST, padding, DIGEST);
            galaxy_digests(instructions, padding, 1, 2 * DIGEST, made);
            memcpy(padding, made, DIGEST);
        }
    }
}
