/* surprisal.h's quantizing over the modules here, as src/api/api.c does for the rest. */
#include <surprisal.h>

#include <stdlib.h>

#include "api/public.h"
#include "base/gguf.h"
#include "base/progress.h"
#include "convert/quantize.h"
#include "eval/score/model.h"
#include "tokenizer/gguf_tokenizer.h"

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

/* A GGUF has its tokenizer among its metadata; one that is not known is left out with a warning. */
struct tokenizer_texts {
    struct buffer tokenizer, config;    /* owned */
    struct new_text list[3];
};

static bool read_tokenizer(struct tokenizer_texts *t, const char *checkpoint,
                           const struct progress *progress, struct error *err)
{
    struct gguf g = { 0 };
    struct error why = { 0 };
    *t = (struct tokenizer_texts){ 0 };
    if (!checkpoint || !gguf_recognises(checkpoint))
        return true;
    char *path = gguf_find_file(checkpoint, err);
    bool ok = path && gguf_open(&g, path, err);
    if (ok && gguf_find(&g, "tokenizer.ggml.tokens")) {
        if (gguf_tokenizer_text(&t->tokenizer, &g, &why)
            && gguf_tokenizer_config(&t->config, path, &why)) {
            t->list[0] = (struct new_text){ "tokenizer.json", t->tokenizer.data };
            t->list[1] = (struct new_text){ "tokenizer_config.json", t->config.data };
        } else if (progress->warn)
            progress->warn(progress->user, why.message);
    }
    gguf_close(&g);
    free(path);
    return ok;
}

bool surprisal_dequantize(const struct surprisal_dequantize_options *options, char **json,
                          char **text, struct surprisal_error *err)
{
    struct error inner = { 0 };
    cJSON *result = NULL;
    struct buffer b = { 0 };
    struct opened_checkpoint opened;
    struct surprisal_dequantize_options o = *options;
    struct tokenizer_texts texts = { 0 };
    const struct progress progress = PROGRESS_OF(&o.machine.progress);
    bool ok = find_source(&o.checkpoint, &opened, o.model, &inner)
           && read_tokenizer(&texts, o.checkpoint, &progress, &inner)
           && dequantize_checkpoint(&result, &o, o.model ? &opened : NULL, texts.list, &inner)
           && (!text || quantize_text(&b, result, &inner));
    buffer_free(&texts.tokenizer);
    buffer_free(&texts.config);
    return public_tell(err, public_give(result, &b, ok, json, text, &inner), &inner);
}
