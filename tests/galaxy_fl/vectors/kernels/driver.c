#define _POSIX_C_SOURCE 200809L
/* Calls every kernel with buffers of exactly the length that it is told, so that a sanitizer sees each step too far;
 * and compares what special instructions make with what plain C makes. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int galaxy_instructions(void);
void galaxy_digests(int, const uint8_t *, size_t, size_t, uint8_t *);
void galaxy_fold(int, uint8_t *, size_t, size_t);
ptrdiff_t galaxy_encode_float(int, const float *, size_t, float, int32_t *);
ptrdiff_t galaxy_encode_double(int, const double *, size_t, double, int32_t *);
void galaxy_decode(int, const int32_t *, size_t, float, float *);
void galaxy_add_update(int, uint64_t *, const int32_t *, size_t, int64_t);
ptrdiff_t galaxy_add_files(int, uint64_t *, size_t, int64_t, const int *, const int64_t *, size_t, int32_t *, size_t);
void galaxy_add_sum(uint64_t *, const int64_t *, size_t, int64_t, int64_t, uint8_t *);
void galaxy_move(int, const int32_t *, const int64_t *, size_t, int64_t, int32_t *);

static uint64_t seed = 1;

static uint64_t drawn(void) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return seed >> 20 ^ seed << 33;
}

static void *filled(size_t size) {
    uint8_t *bytes = malloc(size ? size : 1);
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)(drawn() >> 24);
    return bytes;
}

static void same(const void *one, const void *other, size_t size, const char *what) {
    if (memcmp(one, other, size)) {
        fprintf(stderr, "%s differs\n", what);
        exit(1);
    }
}

static void digests(size_t pieces, size_t size) {
    uint8_t *content = filled(pieces * size), *one = filled(32 * pieces), *other = filled(32 * pieces);
    galaxy_digests(galaxy_instructions(), content, pieces, size, one);
    galaxy_digests(0, content, pieces, size, other);
    same(one, other, 32 * pieces, "digests");
    free(content), free(one), free(other);
}

static void fold(size_t count, size_t levels) {
    uint8_t *one = filled(32 * (count + 1)), *other = malloc(32 * (count + 1));
    memcpy(other, one, 32 * (count + 1));
    galaxy_fold(galaxy_instructions(), one, count, levels);
    galaxy_fold(0, other, count, levels);
    same(one, other, 32, "roots");
    free(one), free(other);
}

static void numbers(size_t count) {
    const int found = galaxy_instructions();
    float *floats = filled(4 * count), *back = filled(4 * count), *plain_back = filled(4 * count);
    double *doubles = filled(8 * count);
    int32_t *out = filled(4 * count), *plain = filled(4 * count), *vector = filled(4 * count);
    uint64_t *total = filled(8 * count), *plain_total = malloc(8 * count + 1);
    uint8_t *beyond = calloc(count + 1, 1);
    const int64_t weights[] = {1, 2, 3, 1000, 16777215, 2147483647, 2147483648, 4294967295};
    /* Any bits: NaN, infinite, subnormal. */
    if (galaxy_encode_float(found, floats, count, 16777216.0f, out) !=
        galaxy_encode_float(0, floats, count, 16777216.0f, plain)) exit(2);
    if (galaxy_encode_double(found, doubles, count, 16777216.0, out) !=
        galaxy_encode_double(0, doubles, count, 16777216.0, plain)) exit(2);
    for (size_t i = 0; i < count; i++) floats[i] = (float)(int32_t)drawn() / 2, doubles[i] = (double)(int32_t)drawn();
    if (galaxy_encode_float(found, floats, count, 1.0f, out) != -1) exit(2);
    if (galaxy_encode_float(0, floats, count, 1.0f, plain) != -1) exit(2);
    same(out, plain, 4 * count, "encoded floats");
    if (galaxy_encode_double(found, doubles, count, 1.0, out) != -1) exit(2);
    if (galaxy_encode_double(0, doubles, count, 1.0, plain) != -1) exit(2);
    same(out, plain, 4 * count, "encoded doubles");
    galaxy_decode(found, vector, count, 0x1p-24f, back);
    galaxy_decode(0, vector, count, 0x1p-24f, plain_back);
    same(back, plain_back, 4 * count, "decoded");
    memcpy(plain_total, total, 8 * count);
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        galaxy_add_update(found, total, vector, count, weights[i]);
        galaxy_add_update(0, plain_total, vector, count, weights[i]);
        same(total, plain_total, 8 * count, "totals");
        galaxy_move(found, vector, (const int64_t *)total, count, weights[i], out);
        galaxy_move(0, vector, (const int64_t *)total, count, weights[i], plain);
        same(out, plain, 4 * count, "moved");
        galaxy_add_sum(total, (const int64_t *)plain_total, count, -weights[i], weights[i], beyond);
        memcpy(plain_total, total, 8 * count);
    }
    free(floats), free(back), free(plain_back), free(doubles), free(out), free(plain), free(vector);
    free(total), free(plain_total), free(beyond);
}

static void files(size_t lanes, size_t count, size_t at_once) {
    const int64_t weights[] = {1, 2, 3, 4294967295, 5, 6, 7, 8, 9};
    int numbers[9];
    uint64_t *total = calloc(lanes + 1, 8), *plain = calloc(lanes + 1, 8);
    int32_t *buffer = malloc(16 * at_once), *update = filled(4 * lanes);
    for (size_t i = 0; i < count; i++) {
        FILE *file = tmpfile();
        if (!file || fwrite(update, 4, lanes, file) != lanes || fflush(file)) exit(3);
        numbers[i] = fileno(file);
    }
    if (galaxy_add_files(galaxy_instructions(), total, lanes, 0, numbers, weights, count, buffer, at_once) != -1) exit(2);
    for (size_t i = 0; i < count; i++) galaxy_add_update(0, plain, update, lanes, weights[i]);
    same(total, plain, 8 * lanes, "sums of files");
    if (lanes && count && galaxy_add_files(0, total, lanes, 1, numbers, weights, count, buffer, at_once)) exit(2);
    free(total), free(plain), free(buffer), free(update);
}

int main(void) {
    for (size_t count = 0; count <= 9; count++) files(count * 7, count, 5);
    files(1000, 9, 64);
    for (size_t size = 1; size <= 200; size++)
        for (size_t pieces = 0; pieces <= 5; pieces++) digests(pieces, size);
    digests(3, 4096);
    for (size_t levels = 0; levels <= 6; levels++)
        for (size_t count = 1; count <= (size_t)1 << levels; count++) fold(count, levels);
    for (size_t count = 0; count <= 100; count++) numbers(count);
    numbers(4096);
    numbers(10001);
    puts("done");
    return 0;
}
