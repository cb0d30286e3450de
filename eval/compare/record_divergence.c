#include "eval/compare/record_divergence.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "eval/score/model.h"
#include "formats/safetensors_folder.h"

static const cJSON *checkpoint_of(const struct record *r)
{
    return json_get(r->summary, "checkpoint");
}

/* An empty mount point, or a config.json that stayed when the weights were deleted, is no checkpoint.
 * One that is damaged or may not be read is: that opening it says. */
static bool is_absent(const char *folder)
{
    char **names = NULL;
    size_t n = 0;
    char *config = file_join(folder, "config.json", NULL);
    bool absent = config && !file_exists(config) && (errno == ENOENT || errno == ENOTDIR);
    absent = absent || (file_list(&names, &n, folder, CHECKPOINT_SUFFIX, NULL) && n == 0);
    file_list_free(names, n);
    free(config);
    return absent;
}

/* "hidden states are left aside" is worth a line only where somebody kept them. */
static bool is_measurable(const struct record *r, const struct surprisal_progress *progress)
{
    const char *path = cJSON_GetStringValue(json_get(checkpoint_of(r), "path"));
    if (!r->keeps_hidden)
        return false;
    if (path && !is_absent(path))
        return true;
    progress_warn(progress, "no KL divergence: the checkpoint of %s is not at %s", r->folder,
                  path ? path : "any path");
    return false;
}

static bool source_of(struct divergence_source *s, const struct record *r, struct error *err)
{
    const char *compute = cJSON_GetStringValue(json_get(r->summary, "compute"));
    bool bf16 = compute && strcmp(compute, "bf16") == 0;
    *s = (struct divergence_source){
        .checkpoint = cJSON_GetStringValue(json_get(checkpoint_of(r), "path")),
        .head_sha256 = cJSON_GetStringValue(json_get(checkpoint_of(r), "head_sha256")),
        .compute = bf16 ? COMPUTE_BF16 : COMPUTE_F32,
        .hidden = { .states = r->hidden, .file = &r->file.map },
    };
    if (!bf16 && (!compute || strcmp(compute, "f32") != 0))
        return error_set(err, "%s: was computed in '%s', expected f32 or bf16", r->folder,
                         compute ? compute : "");
    return s->head_sha256 || error_set(err, "%s: its summary has no head_sha256", r->folder);
}

bool record_divergence(struct divergence_row **rows, struct record *a, struct record *b,
                       const struct divergence_options *options, struct error *err)
{
    *rows = NULL;
    if (!is_measurable(a, &options->progress) || !is_measurable(b, &options->progress))
        return true;
    struct divergence_source x, y;
    if (!record_view_hidden(a, err) || !record_view_hidden(b, err) || !source_of(&x, a, err)
        || !source_of(&y, b, err))
        return false;
    bool other_head = false;
    struct divergence_options mine = *options;
    mine.other_head = &other_head;
    *rows = mem_array(a->scored, sizeof **rows, "KL divergence", err);
    if (*rows && divergence_measure(*rows, &x, &y, &mine, err))
        return true;
    free(*rows);
    *rows = NULL;
    /* Another checkpoint lies there by now: what the records hold can be compared all the same. */
    if (other_head)
        progress_warn(&options->progress, "no KL divergence: %s", err->message);
    return other_head;
}

bool record_divergence_least(size_t *bytes, const struct record *a, const struct record *b,
                             size_t beside_bytes, const struct divergence_options *options,
                             struct error *err)
{
    struct divergence_source x, y;
    const struct surprisal_progress quiet = { 0 };
    *bytes = 0;
    return !is_measurable(a, &quiet) || !is_measurable(b, &quiet)
        || (source_of(&x, a, err) && source_of(&y, b, err)
            && divergence_least(bytes, &x, &y, a->scored, beside_bytes, options, err));
}
