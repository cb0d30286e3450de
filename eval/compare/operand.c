#include "eval/compare/operand.h"

#include <stdlib.h>

#include "base/file.h"
#include "base/gguf.h"
#include "eval/run/plan_folders.h"
#include "eval/run/record.h"
#include "formats/checkpoint.h"

static bool is_checkpoint(const char *path)
{
    if (gguf_recognises(path))
        return true;
    char *folder = checkpoint_folder(path, NULL);
    char *config = folder ? file_join(folder, "config.json", NULL) : NULL;
    bool there = config && file_exists(config);
    free(config);
    free(folder);
    return there;
}

enum operand operand_of(const char *path)
{
    return record_is_folder(path) ? OPERAND_RUN : is_checkpoint(path) ? OPERAND_CHECKPOINT
         : plan_folders_in(path) ? OPERAND_PLANS : OPERAND_NOTHING;
}

const char *operand_name(enum operand operand)
{
    static const char *const names[] = {
        [OPERAND_NOTHING] = "none of these", [OPERAND_RUN] = "a run folder",
        [OPERAND_CHECKPOINT] = "a checkpoint", [OPERAND_PLANS] = "a folder of plans",
    };
    return names[operand];
}

bool operand_refuse(const char *path, struct error *err)
{
    return error_set(err, "%s: neither a run folder (summary.json, tokens.safetensors) nor a "
                     "checkpoint (config.json), nor a folder of run folders", path);
}
