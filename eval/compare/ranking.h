/* ranking.h - many candidates against one original, from the documents of the pairs
 * (comparison_json.h) alone.
 *
 *     plan                     its name; of folders of plans only
 *     original                 the summary of its run
 *     candidates [{number, candidate, checkpoint, bytes, quantized_bytes, parameters,
 *                  bits_per_weight, perplexity, units, scored, left_out, mean_kld, kld_stderr,
 *                  kld {median .. max}, same_top1, delta_nll, delta_nll_stderr, delta_nll_ci95,
 *                  p_value, p_holm, on_front, dominated_by, front_bytes, bytes_over_front,
 *                  tied_with}]
 *         by rising mean_kld, those without one last; equal ones by bytes, then by name.
 *         number           1 and up, in that order; others refer to a candidate by it
 *         candidate        as the caller named it; checkpoint: the path that its run names
 *         bytes            of all weights; bits_per_weight: 8 bytes / parameters
 *         left_out         windows that are not compared
 *         p_value          of delta_nll; p_holm: corrected for all candidates (holm.h)
 *         on_front         of bytes and mean_kld; dominated_by: null, or a number (front.h)
 *         front_bytes      size at which the front of the other candidates has this mean_kld;
 *                          bytes_over_front: bytes less that (front.h)
 *         tied_with        numbers of those whose mean_kld does not differ at the level of `ties`
 *     ties {method, level, tests, pairs [{first, second, delta_kld, delta_kld_stderr, p_value,
 *           p_holm}]}
 *         each pair's difference of mean_kld, second less first, paired by unit (paired.h) over the
 *         units that both have; p_value null: not testable (one unit, no spread), which is a tie
 *     not_comparable [{candidate, plan, reason}]
 *     comparisons [document, ...]      of candidates, in their order, each with its `candidate`
 *     repeat {command} */
#ifndef SURPRISAL_EVAL_COMPARE_RANKING_H
#define SURPRISAL_EVAL_COMPARE_RANKING_H

#include "base/error.h"
#include "base/json.h"

/* Orders `comparisons` of the ranking and adds `candidates` and `ties`. */
bool ranking_complete(cJSON *ranking, struct error *err);

#endif
