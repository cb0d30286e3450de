#include "eval/compare/record_divergence.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/gguf.h"
#include "eval/score/model.h"
#include "formats/safetensors_folder.h"

static const cJSON *checkpoint_of(const struct record *r)
{
    return json_get(r->summary, "checkpoint");
}

/* An empty mount point, or a config.json without weights beside it, is no checkpoint.  A damaged or
 * unreadable checkpoint is one: opening it gives the reason. */
static bool is_absent(const char *folder)
{
    char **names = NULL;
    size_t n = 0;
    if (gguf_recognises(folder))
        return false;
    char *config = file_join(folder, "config.json", NULL);
    bool absent = config && !file_exists(config) && (errno == ENOENT || errno == ENOTDIR);
    absent = absent || (file_list(&names, &n, folder, CHECKPOINT_SUFFIX, NULL) && n == 0);
    file_list_free(names, n);
    free(config);
    return absent;
}

/* Warns only about runs that kept hidden states. */
static bool is_measurable(const struct divergence_run *run,
                          const struct surprisal_progress *progress)
{
    const char *path = cJSON_GetStringValue(json_get(checkpoint_of(run->record), "path"));
    if (!run->record->keeps_hidden)
        return false;
    if (run->opened || (path && !is_absent(path)))
        return true;
    model_warn(progress, "no KL divergence: the checkpoint of %s is not at %s",
               run->record->folder, path ? path : "any path");
    return false;
}

static bool source_of(struct divergence_source *s, const struct divergence_run *run,
                      struct error *err)
{
    const struct record *r = run->record;
    const char *compute = cJSON_GetStringValue(json_get(r->summary, "compute"));
    bool bf16 = compute && strcmp(compute, "bf16") == 0;
    *s = (struct divergence_source){
        .checkpoint = { cJSON_GetStringValue(json_get(checkpoint_of(r), "path")), run->opened },
        .head_sha256 = cJSON_GetStringValue(json_get(checkpoint_of(r), "head_sha256")),
        .compute = bf16 ? COMPUTE_BF16 : COMPUTE_F32,
        .hidden = { .states = r->hidden, .row = r->file_row, .n = r->scored,
                    .file = &r->file.map },
    };
    if (!bf16 && (!compute || strcmp(compute, "f32") != 0))
        return error_set(err, "%s: was computed in '%s', expected f32 or bf16", r->folder,
                         compute ? compute : "");
    return s->head_sha256 || error_set(err, "%s: its summary has no head_sha256", r->folder);
}

bool record_divergence(struct divergence_row **rows, struct divergence_run a,
                       struct divergence_run b, const struct divergence_options *options,
                       struct error *err)
{
    *rows = NULL;
    const struct surprisal_progress *progress = &options->machine.progress;
    if (!is_measurable(&a, progress) || !is_measurable(&b, progress))
        return true;
    struct divergence_source x, y;
    if (!record_view_hidden(a.record, err) || !record_view_hidden(b.record, err)
        || !source_of(&x, &a, err) || !source_of(&y, &b, err))
        return false;
    bool other_head = false;
    struct divergence_options mine = *options;
    mine.other_head = &other_head;
    *rows = mem_array(a.record->scored, sizeof **rows, "KL divergence", err);
    if (*rows && divergence_measure(*rows, &x, &y, &mine, err))
        return true;
    free(*rows);
    *rows = NULL;
    /* There is another checkpoint at the path now.  The records can still be compared without
     * it. */
    if (other_head)
        model_warn(progress, "no KL divergence: %s", err->message);
    return other_head;
}

bool record_divergence_least(size_t *bytes, struct divergence_run a, struct divergence_run b,
                             size_t beside_bytes, const struct divergence_options *options,
                             struct error *err)
{
    struct divergence_source x, y;
    const struct surprisal_progress quiet = { 0 };
    *bytes = 0;
    return !is_measurable(&a, &quiet) || !is_measurable(&b, &quiet)
        || (source_of(&x, &a, err) && source_of(&y, &b, err)
            && divergence_least(bytes, &x, &y, a.record->scored, beside_bytes, options, err));
}
