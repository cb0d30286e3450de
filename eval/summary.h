/* summary.h - the record of a run: everything that decides its numbers, and the numbers.
 *
 * Field by field as the README lists them; `stride` of a protocol other than strided is the
 * context.  After the fields that every tool may rely on follow prefix_id (rolling, else null),
 * max_windows (null: all) and documents (null: the text is one). */
#ifndef SURPRISAL_EVAL_SUMMARY_H
#define SURPRISAL_EVAL_SUMMARY_H

#include "base/digest.h"
#include "engine/engine.h"
#include "eval/input.h"
#include "eval/statistics.h"

struct summary {
    const struct surprisal_eval_options *options;
    const struct checkpoint *checkpoint;
    const struct weights *weights;
    struct digest checkpoint_digest;
    const struct input *input;
    const struct tokenizer *tokenizer;  /* NULL when none was read */
    int32_t prefix_id;                  /* -1: none */
    const char *isa;
    int threads;
    size_t windows, scored;
    struct figures figures;
    double seconds;
    struct engine_statistics work;
};

double summary_tokens_per_second(const struct summary *s);

/* Appends what decides the result, a line "key: value" each: runs with equal settings on equal weights
 * give equal bytes. */
bool summary_settings(const struct summary *s, struct buffer *out, struct error *err);
/* Gives the text of summary.json. */
char *summary_json(const struct summary *s, struct error *err);

#endif
