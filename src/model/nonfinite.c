#include "model/nonfinite.h"

#include <stdio.h>

void nonfinite_text(char out[NONFINITE_TEXT_BYTES], const struct nonfinite *n)
{
    static const char *const parts[] = { "", ", shared expert", ", router", ", expert" };
    const char *step = n->step == NONFINITE_MLP ? "mlp"
                     : n->full_attention ? "self_attn" : "linear_attn";
    if (n->step == NONFINITE_HEAD)
        snprintf(out, NONFINITE_TEXT_BYTES, "head");
    else if (n->part == NONFINITE_EXPERT)
        snprintf(out, NONFINITE_TEXT_BYTES, "layer %zu, %s%s %d", n->layer, step, parts[n->part],
                 (int)n->expert);
    else
        snprintf(out, NONFINITE_TEXT_BYTES, "layer %zu, %s%s", n->layer, step, parts[n->part]);
}

bool nonfinite_error(const struct nonfinite *n, size_t window, struct error *err)
{
    char where[NONFINITE_TEXT_BYTES];
    nonfinite_text(where, n);
    return error_set(err, "%s: NaN or infinity at token %zu of window %zu", where, n->token,
                     window);
}
