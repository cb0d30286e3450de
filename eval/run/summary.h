/* summary.h - the record of a run: everything that decides its numbers, and the numbers.
 *
 * Field by field as docs/run-folder.md lists them; `stride` of a protocol other than strided is the
 * context.  After the fields that every tool may rely on follow
 *     prefix_id       of rolling, else null
 *     max_windows     null: all
 *     documents       {split, count, windows}, null: the text is one; windows: how many windows each
 *                     document that has tokens got, in order
 *     plans           how many protocols were scored in the same pass over the weights: seconds,
 *                     tokens_per_second, peak_rss_bytes, bytes_read and passes are the whole run's
 *     tokens_sha256   of the columns in tokens.safetensors (run_folder.h); null without a folder
 *     hidden          "f32" or "bf16", null: not kept
 *     hidden_sha256   null: not kept
 *     complete        true: it is written when all that it tells of is durable
 *     sha256          of this text itself with the last member left out, comma included: of the bytes
 *                     before `,\n\t"sha256":` and the closing `\n}` */
#ifndef SURPRISAL_EVAL_RUN_SUMMARY_H
#define SURPRISAL_EVAL_RUN_SUMMARY_H

#include "base/digest.h"
#include "engine/types.h"
#include "eval/protocol/input.h"
#include "eval/protocol/sequence.h"
#include "eval/run/run_folder.h"
#include "eval/statistics/statistics.h"

struct summary {
    const struct surprisal_eval_options *options;
    const struct surprisal_protocol_plan *plan;     /* complete (plans.h) */
    const struct checkpoint *checkpoint;
    const struct weights *weights;
    struct digest checkpoint_digest, head_digest;
    const struct input *input;
    const char *tokenizer, *tokenizer_sha256;   /* its path and digest; NULL when none was read */
    int32_t prefix_id;                  /* -1: none */
    const char *isa;
    int threads;
    size_t windows, scored;
    const struct sequence *sequence;
    struct run_digests digests;
    struct figures figures;
    /* Of the whole run: */
    double seconds;
    struct engine_statistics work;
};

double summary_tokens_per_second(const struct summary *s);

/* Append what decides the result, a line "key: value" each: what all plans of a run have in common, and
 * what belongs to one of them.  Runs with equal settings on equal weights give equal bytes. */
bool summary_settings(const struct summary *s, struct buffer *out, struct error *err);
bool summary_plan_settings(const struct summary *s, struct buffer *out, struct error *err);
/* Gives the text of summary.json. */
char *summary_json(const struct summary *s, struct error *err);
/* The text is whole and as summary_json gave it; `path` names it in the refusal. */
bool summary_check_digest(const char *text, size_t n, const char *path, struct error *err);

#endif
