/* cpu.h - what the CPU at hand can do. */
#ifndef SURPRISAL_KERNELS_CPU_H
#define SURPRISAL_KERNELS_CPU_H

enum cpu_feature {
    CPU_AVX2_FMA = 1,
    CPU_AVX512 = 2,                 /* F, DQ and BW */
    CPU_AVX512_BF16 = 4,
};

/* cpu_feature bits that the processor and the operating system have. */
unsigned cpu_features(void);

#endif
