#include "eval/score/job_inputs.h"

#include <stdlib.h>

#include "base/progress.h"

/* Rolling may take its prefix from the tokenizer's files. */
static bool looks_for_prefix(const struct surprisal_eval_options *o)
{
    bool rolling = o->protocol == SURPRISAL_ROLLING || o->task != SURPRISAL_TASK_NONE;
    for (size_t i = 0; i < o->n_plans; i++)
        rolling = rolling || o->plans[i].protocol == SURPRISAL_ROLLING
               || o->plans[i].task != SURPRISAL_TASK_NONE;
    return rolling && o->prefix_id < 0;
}

static bool add_prefix(struct input_files *in, const char *tokenizer, struct error *err)
{
    char *config = prefix_config_path(tokenizer, err);
    bool ok = config && input_files_add(in, config, err);
    free(config);
    return ok;
}

static bool add_tokenizer(struct input_files *in, const struct surprisal_eval_options *o,
                          struct error *err)
{
    bool prefix = looks_for_prefix(o);
    if (!o->tokenizer && !o->text && !prefix)
        return true;
    if (!o->tokenizer && o->model)
        return input_files_add_all(in, &o->model->tokenizer_inputs, err);
    /* What is no checkpoint is refused when it is opened. */
    char *own = o->tokenizer ? NULL : checkpoint_tokenizer(o->checkpoint, NULL);
    const char *path = o->tokenizer ? o->tokenizer : own;
    bool ok = !path
           || ((file_is_directory(path) ? input_files_add_in(in, path, TOKENIZER_FILE, err)
                                        : input_files_add(in, path, err))
               && (!prefix || add_prefix(in, path, err)));
    free(own);
    return ok;
}

bool job_inputs_add(struct input_files *in, const struct surprisal_eval_options *o,
                    struct error *err)
{
    return model_source_list(in, model_source_of(o), err) && add_tokenizer(in, o, err)
        && input_files_add(in, o->text, err) && input_files_add(in, o->ids, err);
}
