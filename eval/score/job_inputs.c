#include "eval/score/job_inputs.h"

#include <stdlib.h>

#include "base/progress.h"

#define TOKENIZER "tokenizer.json"

bool job_inputs_add(struct input_files *in, const struct surprisal_eval_options *o,
                    struct error *err)
{
    /* What is no checkpoint is refused when it is opened. */
    char *own = !o->tokenizer && o->text ? checkpoint_tokenizer(o->checkpoint, NULL) : NULL;
    const char *tokenizer = o->tokenizer ? o->tokenizer : own;
    bool ok = checkpoint_list_folder(in, o->checkpoint, err)
           && (!tokenizer || (file_is_directory(tokenizer)
                              ? input_files_add_in(in, tokenizer, TOKENIZER, err)
                              : input_files_add(in, tokenizer, err)))
           && input_files_add(in, o->text, err) && input_files_add(in, o->ids, err);
    free(own);
    return ok;
}

struct tokenizer *job_tokenizer(const struct surprisal_eval_options *o, struct error *err)
{
    char *own = o->tokenizer ? NULL : checkpoint_tokenizer(o->checkpoint, err);
    const char *path = o->tokenizer ? o->tokenizer : own;
    struct tokenizer *t = path ? tokenizer_open(path, err) : NULL;
    free(own);
    return t;
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
