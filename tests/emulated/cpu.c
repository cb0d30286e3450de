/* cpu.c - for `make EMULATE=1`, in place of src/kernels/cpu.c: a CPU that can do everything. */
#include "kernels/cpu.h"

unsigned cpu_features(void)
{
    return CPU_AVX2_FMA | CPU_AVX512 | CPU_AVX512_BF16;
}
