#include "kernels/kernels.h"

#include <stdio.h>
#include <string.h>

#include "kernels/cpu.h"

const char *kernels_compute_name(enum compute_type type)
{
    return type == COMPUTE_BF16 ? "bf16" : "f32";
}

static const struct {
    const struct kernels *set;
    unsigned needs;                 /* cpu_feature bits, all required */
} isa_table[] = {                   /* slowest first; the last usable one is the best */
    { &kernels_scalar,     0                            },
    { &kernels_openblas,   0                            },
#ifdef __x86_64__
    { &kernels_avx2,       CPU_AVX2_FMA                 },
    { &kernels_avx512,     CPU_AVX512                   },
    { &kernels_avx512bf16, CPU_AVX512 | CPU_AVX512_BF16 },
#endif
#ifdef __aarch64__
    { &kernels_neon,       0                            },
#endif
};

#define N_ISA (sizeof isa_table / sizeof *isa_table)

static const struct kernels *find(const char *isa, struct error *err)
{
    const struct kernels *best = NULL;
    unsigned features = cpu_features();
    char names[128] = "";
    for (size_t i = 0; i < N_ISA; i++) {
        const struct kernels *set = isa_table[i].set;
        bool usable = (isa_table[i].needs & ~features) == 0;
        if (usable && (!isa || strcmp(set->isa, isa) == 0))
            best = set;
        size_t used = strlen(names);
        if (usable)
            snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", set->isa);
    }
    if (!best)
        error_set(err, "isa '%s' is unknown or not of this CPU, expected one of: %s", isa, names);
    return best;
}

const struct kernels *kernels_find(const char *isa, struct error *err)
{
    const struct kernels *set = find(isa, err);
    if (set && set->prepare)
        set->prepare();
    return set;
}
