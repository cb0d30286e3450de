/* summary.h - summary.json: everything that decides the numbers of a run, and the numbers.
 *
 * docs/run-folder.md explains each field; `stride` of a protocol other than strided is the context.
 * The fields that every tool may use come first (text.ids_sha256: of all token ids of the text, I32
 * in little-endian order; the columns have those that are scored), then
 *     prefix_id       only for rolling, else null
 *     prefix_token    its text; null: not known
 *     prefix_source   "eos_token of DIR/tokenizer_config.json", "as given"
 *     max_windows     null: all
 *     documents       {split, count, windows}, null: the text was not split; windows: the number of
 *                     windows of each document with tokens, in order
 *     plans           the number of protocols scored in the same pass over the weights: seconds,
 *                     tokens_per_second, peak_rss_bytes, bytes_read and passes are of the whole run
 *     part            {index, of, first_window, windows_of_all}, only of a part of a run: windows
 *                     and scored are then of the part alone, documents of the whole run
 *     peak_rss_bytes  of the process during the run; null where it had held as much before, so
 *                     that the run's own is not known
 *     mtp             [{draft, positions, same_top1, accepted, mean_nll}], only with drafts
 *     left_out        windows that skip_nonfinite left out of all figures (left_out.h); null: none
 *     warnings        [line]: what the run warned about
 *     tokens_sha256   of the columns in tokens.safetensors (run_folder.h); null without a folder
 *     hidden          "f32" or "bf16", null: not kept
 *     hidden_sha256   null: not kept
 *     complete        true: written when everything else is durable
 *     sha256          of this text without its last member and the comma before it: of the bytes
 *                     before `,\n\t"sha256":` and the closing `\n}` */
#ifndef SURPRISAL_EVAL_RUN_SUMMARY_H
#define SURPRISAL_EVAL_RUN_SUMMARY_H

#include "base/digest.h"
#include "engine/types.h"
#include "eval/protocol/input.h"
#include "eval/protocol/prefix.h"
#include "eval/protocol/sequence.h"
#include "eval/run/left_out.h"
#include "eval/run/run_folder.h"
#include "eval/run/warnings.h"
#include "eval/statistics/draft_figures.h"
#include "eval/statistics/statistics.h"

struct summary {
    const struct surprisal_eval_options *options;
    const struct surprisal_protocol_plan *plan;     /* complete (plans.h) */
    const struct checkpoint *checkpoint;
    const struct weights *weights;
    struct digest checkpoint_digest, head_digest;
    const struct input *input;
    const char *tokenizer, *tokenizer_sha256;   /* path and digest; NULL: not used */
    int32_t prefix_id;                  /* -1: none */
    const struct prefix *prefix;        /* NULL: none */
    const char *isa;
    int threads;
    size_t windows, scored;             /* windows that are left out count as windows alone */
    struct left_out left_out;
    const struct sequence *sequence;
    const struct warnings *warnings;
    struct run_digests digests;
    struct figures figures;
    const struct draft_sums *drafts;    /* [options->mtp] */
    /* Of the whole run, all plans: */
    double seconds;
    size_t peak_bytes;                  /* of memory; 0: not known */
    struct engine_statistics work;
};

double summary_tokens_per_second(const struct summary *s);

/* Append the settings that decide the result as lines "key: value": the first those that all plans
 * of a run share, the second those of one plan.  Runs with equal settings on equal weights give
 * equal bytes. */
bool summary_settings(const struct summary *s, struct buffer *out, struct error *err);
bool summary_plan_settings(const struct summary *s, struct buffer *out, struct error *err);
/* Gives the text of summary.json. */
char *summary_json(const struct summary *s, struct error *err);
/* Gives the text of a summary that has all members but its own digest. */
char *summary_sealed(const cJSON *root, struct error *err);
/* Refuses a text that is not exactly what summary_json gave; `path` names it in the error. */
bool summary_check_digest(const char *text, size_t n, const char *path, struct error *err);

#endif
