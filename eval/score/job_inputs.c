#include "eval/score/job_inputs.h"

#include <stdlib.h>

#include "base/progress.h"

#define TOKENIZER "tokenizer.json"

/* Gives the path of the file. */
static char *tokenizer_path_of(const struct surprisal_eval_options *o, struct error *err)
{
    if (!o->tokenizer)
        return checkpoint_tokenizer(o->checkpoint, err);
    return file_is_directory(o->tokenizer) ? file_join(o->tokenizer, TOKENIZER, err)
                                           : mem_string(o->tokenizer, err);
}

bool job_inputs_add(struct input_files *in, const struct surprisal_eval_options *o,
                    struct error *err)
{
    /* What has no tokenizer is refused when it is opened. */
    char *tokenizer = o->tokenizer || o->text ? tokenizer_path_of(o, NULL) : NULL;
    bool ok = checkpoint_list_folder(in, o->checkpoint, err) && input_files_add(in, tokenizer, err)
           && input_files_add(in, o->text, err) && input_files_add(in, o->ids, err);
    free(tokenizer);
    return ok;
}

struct tokenizer *job_tokenizer(const struct surprisal_eval_options *o, struct error *err)
{
    char *path = tokenizer_path_of(o, err);
    struct tokenizer *t = path ? tokenizer_open(path, err) : NULL;
    free(path);
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
