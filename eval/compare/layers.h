/* layers.h - where two checkpoints differ, layer by layer, as a part of the comparison document.
 *
 * Both run over the same windows (engine/lockstep.h has the formulas).  Added to the document:
 *     layers [{layer, type, residual_error, output_error, same_experts, changed_experts}]
 *         type: "linear_attention" or "full_attention"; same_experts: share of tokens that have the
 *         same set of experts in both; changed_experts: mean share of A's experts that are not B's.
 *         These two are null in dense models, an error where it is no number.
 *     experts {tokens, choices, count, unused_a, unused_share_a, unused_b, unused_share_b, verdict,
 *              layers [{layer, unused_a, least_a, most_a, never_used_a, load_a,
 *              the same five of b}]}
 *         in mixtures of experts: load [num_experts] is the tokens that each expert got, least and
 *         most are its ends; unused is how many experts the text never reached (coverage), and
 *         never_used their numbers; choices: experts that each of the tokens has; count: experts of
 *         all layers; unused_share: of the weights, in experts that were never reached; verdict:
 *         says so in a sentence, absent where all experts were reached
 *     layers_cost {windows, tokens, passes, bytes_read}       what the figures rest on and took */
#ifndef SURPRISAL_EVAL_COMPARE_LAYERS_H
#define SURPRISAL_EVAL_COMPARE_LAYERS_H

#include "base/json.h"
#include "engine/types.h"
#include "eval/score/model.h"

/* The windows that are enough for figures by layer, which differ little between texts. */
#define LAYERS_WINDOWS 16

struct layers_options {
    struct model_source a, b;           /* A is the original */
    const int32_t *ids;                 /* [n_ids]: what the models see (sequence.h) */
    size_t n_ids;
    const struct engine_window *windows;
    size_t n_windows;
    size_t max_windows;                 /* the first ones; 0: all */
    struct surprisal_machine machine;
    /* As in surprisal_eval_options: */
    void (*plan)(void *user, const struct surprisal_plan *plan);
};

/* The smallest memory budget with which layers_compare can do, by what the process holds now.
 * *seconds: that it will take, estimated if there is a plan to be told, else 0.  An error when the
 * checkpoints cannot be compared by layer. */
bool layers_least(size_t *bytes, double *seconds, const struct layers_options *o,
                  struct error *err);

/* Also appends the table for people, unless text is NULL.  Checkpoints of different architectures
 * are refused by what differs.  On failure the document is as it was. */
bool layers_compare(cJSON *document, struct buffer *text, const struct layers_options *o,
                    struct error *err);

#endif
