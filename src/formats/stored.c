#include "formats/stored.h"

#include <string.h>

bool name_ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), n_end = strlen(end);
    return n >= n_end && strcmp(name + n - n_end, end) == 0;
}

size_t module_name_length(const char *tensor_name)
{
    return strlen(tensor_name)
         - (name_ends_with(tensor_name, STORED_WEIGHT) ? strlen(STORED_WEIGHT) : 0);
}

bool dtype_is_weight(enum dtype dtype)
{
    return dtype == DTYPE_BF16 || dtype == DTYPE_F16 || dtype == DTYPE_F32;
}

size_t fused_projections(const char *const **names, const struct tensor *t)
{
    static const char *const gate_up[] = { "gate_proj", "up_proj" }, *const down[] = { "down_proj" };
    bool is_gate_up = name_ends_with(t->name, ".experts.gate_up_proj");
    if (t->ndim != 3 || !t->n_bytes || !(is_gate_up || name_ends_with(t->name, ".experts.down_proj")))
        return 0;
    *names = is_gate_up ? gate_up : down;
    return is_gate_up ? 2 : 1;
}
