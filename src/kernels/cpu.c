#include "kernels/cpu.h"

unsigned cpu_features(void)
{
    unsigned found = 0;
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        found |= CPU_AVX2_FMA;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")
        && __builtin_cpu_supports("avx512bw"))
        found |= CPU_AVX512;
    if (__builtin_cpu_supports("avx512bf16"))
        found |= CPU_AVX512_BF16;
#endif
    return found;
}
