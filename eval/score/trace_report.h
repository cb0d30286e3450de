/* trace_report.h - differences from another program's trace, for programs and for people.
 *
 *     {"against", "tokens", "compute": "f32" | "bf16", "rounding": "F32" | "F16" | "BF16",
 *      "absent": [names], "ignored": [names],
 *      "steps": [{"step": "layer" | "norm" | "head", "layer", "type", "from", "whole": {"largest",
 *                 "rms"}, "alone": {the same}, "floor_ratio", "tokens_beyond", "other_experts"}],
 *      "first_beyond": {"step", "layer", "token", "rms", "floor", "other_experts"}}
 *
 * trace_differences.h says what whole, alone and floor are.  layer and type are null in norm and
 * head; from: steps since the last state that is theirs; the rest of a step is null where the file
 * has no states of it; other_experts (tokens; true or false in first_beyond) is null without
 * routing; first_beyond is null if all differences are rounding.  A difference from what is no
 * number is null. */
#ifndef SURPRISAL_EVAL_SCORE_TRACE_REPORT_H
#define SURPRISAL_EVAL_SCORE_TRACE_REPORT_H

#include "base/json.h"
#include "eval/score/trace_differences.h"

/* Gives *json; appends to text. */
bool trace_report_json(cJSON **json, const struct trace_differences *d, enum compute_type compute,
                       struct error *err);
bool trace_report_text(struct buffer *text, const struct trace_differences *d,
                       enum compute_type compute, struct error *err);

#endif
