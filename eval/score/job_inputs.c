#include "eval/score/job_inputs.h"

#include "base/progress.h"

#define TOKENIZER "tokenizer.json"

bool job_inputs_add(struct input_files *in, const struct surprisal_eval_options *o,
                    struct error *err)
{
    const char *tokenizer = o->tokenizer ? o->tokenizer : o->text ? o->checkpoint : NULL;
    return checkpoint_list_folder(in, o->checkpoint, err)
        && (!tokenizer || (file_is_directory(tokenizer)
                           ? input_files_add_in(in, tokenizer, TOKENIZER, err)
                           : input_files_add(in, tokenizer, err)))
        && input_files_add(in, o->text, err) && input_files_add(in, o->ids, err);
}

static bool hash_again(void *hash, const char *path, bool *same, struct error *err)
{
    return weights_hash_again(hash, path, same, err);
}

bool job_inputs_check(struct input_files *in, struct weights_hash *hash,
                      const struct surprisal_progress *progress, struct error *err)
{
    const struct input_files_again again = { .same = hash_again, .user = hash };
    const struct progress inner = PROGRESS_OF(progress);
    return input_files_check(in, hash ? &again : NULL, &inner, err);
}
