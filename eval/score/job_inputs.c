#include "eval/score/job_inputs.h"

#include <stdlib.h>

#include "base/progress.h"

static bool add_tokenizer(struct input_files *in, const struct surprisal_eval_options *o,
                          struct error *err)
{
    if (!o->tokenizer && !o->text)
        return true;
    if (!o->tokenizer && o->model)
        return input_files_add_all(in, &o->model->tokenizer_inputs, err);
    /* What is no checkpoint is refused when it is opened. */
    char *own = o->tokenizer ? NULL : checkpoint_tokenizer(o->checkpoint, NULL);
    const char *path = o->tokenizer ? o->tokenizer : own;
    bool ok = !path
           || (file_is_directory(path) ? input_files_add_in(in, path, TOKENIZER_FILE, err)
                                       : input_files_add(in, path, err));
    free(own);
    return ok;
}

bool job_inputs_add(struct input_files *in, const struct surprisal_eval_options *o,
                    struct error *err)
{
    return model_source_list(in, model_source_of(o), err) && add_tokenizer(in, o, err)
        && input_files_add(in, o->text, err) && input_files_add(in, o->ids, err);
}
