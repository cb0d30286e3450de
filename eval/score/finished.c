#include "eval/score/finished.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/run/record.h"
#include "eval/run/run_folder.h"

static double number_or_nan(const cJSON *summary, const char *key)
{
    const cJSON *item = json_get(summary, key);
    return cJSON_IsNumber(item) ? item->valuedouble : (double)NAN;
}

static struct surprisal_result result_of(const struct record *r)
{
    const cJSON *s = r->summary;
    return (struct surprisal_result){
        .windows = r->windows, .tokens = r->tokens, .scored = r->scored,
        .left_out = r->n_left_out,
        .mean_nll = number_or_nan(s, "mean_nll"), .perplexity = number_or_nan(s, "perplexity"),
        .nll_stderr = number_or_nan(s, "nll_stderr"),
        .perplexity_stderr = number_or_nan(s, "perplexity_stderr"),
        .word_perplexity = number_or_nan(s, "word_perplexity"),
        .byte_perplexity = number_or_nan(s, "byte_perplexity"),
        .bits_per_byte = number_or_nan(s, "bits_per_byte"), .seconds = number_or_nan(s, "seconds"),
        .tokens_per_second = number_or_nan(s, "tokens_per_second"),
    };
}

static bool check_checkpoint(const struct record *r, const struct digest *checkpoint,
                             struct error *err)
{
    char hex[2 * DIGEST_BYTES + 1];
    digest_hex(hex, checkpoint);
    const char *of = cJSON_GetStringValue(json_get(json_get(r->summary, "checkpoint"), "digest"));
    return (of && strcmp(of, hex) == 0)
        || error_set(err, "%s: is a complete run of the checkpoint with digest %s, this one has %s",
                     r->folder, of ? of : "none", hex);
}

bool finished_read(struct surprisal_result *result, const char *folder,
                   const struct digest *checkpoint, struct error *err)
{
    struct record r = { 0 };
    struct buffer text = { 0 };
    char *summary = file_join(folder, RUN_SUMMARY, err);
    bool ok = summary && record_open(&r, folder, err)
           && (!r.keeps_hidden || record_view_hidden(&r, err))
           && (!checkpoint || check_checkpoint(&r, checkpoint, err))
           && file_read(&text, summary, err);
    if (ok) {
        *result = result_of(&r);
        result->summary_json = text.data;
    }
    record_close(&r);
    free(summary);
    return ok;
}
