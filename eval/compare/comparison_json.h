/* comparison_json.h - a comparison as the document that `compare --json` prints.
 *
 * Deltas are B minus A, NLL in nats; what cannot be computed is null.
 *     surprisal, a, b                  version; both summaries; where a run scored more than is
 *                                      compared, its figures are of what is
 *     plan                             its name; of a pair in two folders of plans only
 *     unit, units, scored              "window" or "document" (paired.h)
 *     delta_nll, delta_nll_stderr, delta_nll_ci95, p_value         by unit
 *     bootstrap {samples, seed, stderr, ci95}, null for one unit   over units
 *     naive {delta_nll_stderr, delta_nll_ci95, p_value}            as if tokens were independent
 *     unpaired {delta_nll_stderr}                                  two separate error bars
 *     perplexity_ratio, perplexity_difference, each also _stderr, _ci95
 *     units_needed                     null when there is no effect
 *     verdict                          a sentence
 *     left_out {windows, tokens, a, b, floor, verdict}
 *                                      windows that are not compared, as a run left them out
 *                                      (left_out.h), and their targets; a, b, floor: how many each
 *                                      run left out; verdict: says so, absent where there are none
 *     mean_kld, kld_stderr, kld {median .. max}, the same of kld_reverse, mean_kld_same_head,
 *     kld_same_head_stderr, kld_of_head (of a mean, the head's part), top5_overlap,
 *     kld_by_confidence, kld_histogram divergence_figures.h; absent when it was not measured
 *     same_top1                        share of scored tokens
 *     mean_delta_p, rms_delta_p, delta_p {min, p01 .. p999, max}, p_correlation      (delta_p.h)
 *     floor {label, delta_nll, delta_nll_stderr, p_value, same_top1, rms_delta_p, mean_kld, ...}
 *                                      A against A in another compute type; absent if not asked for
 *     windows [{window, scored, nll_a, nll_b, delta_nll, mean_kld}]  each unit, by its number
 *     positions [{from, to, scored, nll_a, nll_b, delta_nll, delta_nll_stderr}]
 *                                      by the index in the window of the predicted token, both ends
 *                                      included; the first token a window sees has index 0
 *     worst_windows [{window, delta_nll, begin, end, text}]
 *                                      positions [begin, end); text: of the first of them
 *     worst_tokens [{position, window, id, token, before, after, nll_a, nll_b, delta_nll, kld}]
 *     repeat {command, surprisal_a, surprisal_b, compute_a, compute_b, isa_a, isa_b}
 * Added by the job: figures by layer (layers.h) and `warnings` (warned.h). */
#ifndef SURPRISAL_EVAL_COMPARE_COMPARISON_JSON_H
#define SURPRISAL_EVAL_COMPARE_COMPARISON_JSON_H

#include "eval/compare/comparison.h"
#include "tokenizer/tokenizer.h"

/* What the document and the table are made of; all borrowed. */
struct comparison_view {
    const struct comparison *comparison;
    const struct comparison *floor;         /* of A and A in another compute type; NULL: none */
    const struct tokenizer *tokenizer;      /* NULL: tokens are shown by id */
    const char *command;                    /* NULL: not known */
    const char *plan;                       /* NULL: not one of several */
    /* For the text: */
    const char *by_layer;                   /* table of layers.h; NULL: none */
    const cJSON *document;                  /* whose warnings are shown; NULL: none are */
};

/* Gives the document, to be freed by cJSON_Delete. */
cJSON *comparison_json(const struct comparison_view *v, struct error *err);
/* Completes the document's verdict by what is left out, and by what figures by layer, added since,
 * have shown. */
bool comparison_json_complete(cJSON *document, const struct comparison *c, struct error *err);

/* Appends the table for people. */
bool comparison_text(struct buffer *out, const struct comparison_view *v, struct error *err);
/* Appends its line on one side: checkpoint, digest, size and how it was computed. */
bool comparison_text_run(struct buffer *out, const char *name, const cJSON *summary,
                         struct error *err);

#endif
