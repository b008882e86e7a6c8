/* Which instructions a call may use: bits of what galaxy_instructions() has found. With 0 a kernel is plain C. */
#ifndef GALAXY_INSTRUCTIONS_H
#define GALAXY_INSTRUCTIONS_H

#define GALAXY_SHA 1  /* SHA-256 rounds: SHA-NI with SSSE3 and SSE4.1, or the cryptographic extension of ARMv8 */
#define GALAXY_AVX2 2

#if defined(__GNUC__) && defined(__x86_64__)
#define GALAXY_X86 1
#elif defined(__GNUC__) && defined(__aarch64__) && defined(__linux__) && defined(__AARCH64EL__)
#define GALAXY_ARM 1
#endif

#endif
