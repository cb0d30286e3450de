#include "eval/score/changed_inputs.h"

#include "base/progress.h"

static bool hash_again(void *hash, const char *path, bool *same, struct error *err)
{
    return weights_hash_again(hash, path, same, err);
}

bool changed_inputs_refuse(struct input_files *in, struct weights_hash *hash,
                      const struct surprisal_progress *progress, struct error *err)
{
    const struct input_files_again again = { .same = hash_again, .user = hash };
    const struct progress inner = PROGRESS_OF(progress);
    return input_files_check(in, hash ? &again : NULL, &inner, err);
}
