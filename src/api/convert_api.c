/* surprisal.h's quantizing over the modules here, as src/api/api.c does for the rest. */
#include <surprisal.h>

#include "api/public.h"
#include "convert/quantize.h"

bool surprisal_quantize_check(const struct surprisal_quantize_options *options,
                              struct surprisal_error *err)
{
    struct error inner = { 0 };
    return public_tell(err, quantize_check(options, &inner), &inner);
}

bool surprisal_quantize(const struct surprisal_quantize_options *options, char **json, char **text,
                        struct surprisal_error *err)
{
    struct error inner = { 0 };
    cJSON *result = NULL;
    struct buffer b = { 0 };
    bool ok = quantize(&result, options, &inner) && (!text || quantize_text(&b, result, &inner));
    return public_tell(err, public_give(result, &b, ok, json, text, &inner), &inner);
}

bool surprisal_dequantize(const struct surprisal_dequantize_options *options, char **json,
                          char **text, struct surprisal_error *err)
{
    struct error inner = { 0 };
    cJSON *result = NULL;
    struct buffer b = { 0 };
    bool ok = dequantize(&result, options, &inner) && (!text || quantize_text(&b, result, &inner));
    return public_tell(err, public_give(result, &b, ok, json, text, &inner), &inner);
}
