/* Finds at run time which instructions the processor and the system have. */
#include "instructions.h"

#ifdef GALAXY_X86
#include <cpuid.h>

int galaxy_instructions(void) {
    unsigned a, b, c, d, found = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    const unsigned ssse3_and_sse41 = 1u << 9 | 1u << 19;
    const int sse = (c & ssse3_and_sse41) == ssse3_and_sse41;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    if (sse && b >> 29 & 1) found |= GALAXY_SHA;
    /* The compiler's own question, because AVX needs a system that keeps its registers, too. */
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2")) found |= GALAXY_AVX2;
    return (int)found;
}

#elif defined(GALAXY_ARM)
#include <sys/auxv.h>

#define GALAXY_HWCAP_SHA2 (1ul << 6)

int galaxy_instructions(void) {
    return getauxval(AT_HWCAP) & GALAXY_HWCAP_SHA2 ? GALAXY_SHA : 0;
}

#else

int galaxy_instructions(void) {
    return 0;
}

#endif

/* The sources that the library was built from, so that one built from others is not called. */
const char *galaxy_sources(void) {
    return GALAXY_SOURCES;
}
