#include "kernels/kernels.h"

#include <stdio.h>
#include <string.h>

static const struct kernels *const isa_table[] = {      /* slowest first; the last is the best */
    &kernels_scalar,
    &kernels_openblas,
};

#define N_ISA (sizeof isa_table / sizeof *isa_table)

static const struct kernels *find(const char *isa, struct error *err)
{
    if (!isa)
        return isa_table[N_ISA - 1];
    char names[128] = "";
    for (size_t i = 0; i < N_ISA; i++) {
        if (strcmp(isa_table[i]->isa, isa) == 0)
            return isa_table[i];
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", isa_table[i]->isa);
    }
    error_set(err, "isa '%s' is unknown, expected one of: %s", isa, names);
    return NULL;
}

const struct kernels *kernels_find(const char *isa, struct error *err)
{
    const struct kernels *set = find(isa, err);
    if (set && set->prepare)
        set->prepare();
    return set;
}
