/* isas.h - every set of kernels by its name, for tests that go through all that the CPU has. */
#ifndef SURPRISAL_TESTS_ISAS_H
#define SURPRISAL_TESTS_ISAS_H

static const char *const isas[] = { "scalar", "openblas", "avx2", "avx512", "avx512bf16", "neon" };
enum { N_ISAS = sizeof isas / sizeof *isas };

#endif
