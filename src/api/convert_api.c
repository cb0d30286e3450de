/* surprisal.h's quantizing over the modules here, as src/api/api.c does for the rest. */
#include <surprisal.h>

#include "api/public.h"
#include "convert/quantize.h"
#include "eval/score/model.h"

/* Conversion knows a model by its parts and its path.  *checkpoint: the path; *opened: the
 * parts. */
static bool find_source(const char **checkpoint, struct opened_checkpoint *opened,
                        struct surprisal_model *model, struct error *err)
{
    if (!model_source_check((struct model_source){ *checkpoint, model }, err))
        return false;
    if (model) {
        *checkpoint = model->checkpoint.path;
        *opened = (struct opened_checkpoint){ &model->checkpoint, &model->weights, &model->inputs };
    }
    return true;
}

bool surprisal_quantize_check(const struct surprisal_quantize_options *options,
                              struct surprisal_error *err)
{
    struct error inner = { 0 };
    struct opened_checkpoint opened;
    struct surprisal_quantize_options o = *options;
    bool ok = find_source(&o.checkpoint, &opened, o.model, &inner) && quantize_check(&o, &inner);
    return public_tell(err, ok, &inner);
}

bool surprisal_quantize(const struct surprisal_quantize_options *options, char **json, char **text,
                        struct surprisal_error *err)
{
    struct error inner = { 0 };
    cJSON *result = NULL;
    struct buffer b = { 0 };
    struct opened_checkpoint opened;
    struct surprisal_quantize_options o = *options;
    bool ok = find_source(&o.checkpoint, &opened, o.model, &inner)
           && quantize_checkpoint(&result, &o, o.model ? &opened : NULL, &inner)
           && (!text || quantize_text(&b, result, &inner));
    return public_tell(err, public_give(result, &b, ok, json, text, &inner), &inner);
}

bool surprisal_dequantize(const struct surprisal_dequantize_options *options, char **json,
                          char **text, struct surprisal_error *err)
{
    struct error inner = { 0 };
    cJSON *result = NULL;
    struct buffer b = { 0 };
    struct opened_checkpoint opened;
    struct surprisal_dequantize_options o = *options;
    bool ok = find_source(&o.checkpoint, &opened, o.model, &inner)
           && dequantize_checkpoint(&result, &o, o.model ? &opened : NULL, &inner)
           && (!text || quantize_text(&b, result, &inner));
    return public_tell(err, public_give(result, &b, ok, json, text, &inner), &inner);
}
