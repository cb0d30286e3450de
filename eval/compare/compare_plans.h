/* compare_plans.h - two folders that `eval --plan` wrote, compared plan by plan.
 *
 * Run folders of the same name are a pair (plan_folders.h).  A plan that one side alone has is
 * warned about and left out; no common one, and folders with runs of several checkpoints, texts or
 * compute types, are refused.
 *     {"comparisons": [document, ...]}   each as comparison_json.h describes it, with its "plan" */
#ifndef SURPRISAL_EVAL_COMPARE_COMPARE_PLANS_H
#define SURPRISAL_EVAL_COMPARE_COMPARE_PLANS_H

#include "base/error.h"
#include "base/json.h"
#include "surprisal.h"

/* compare_takes_plans(o) holds.  Gives the documents in the object above, to be freed by
 * cJSON_Delete; appends the table to text, a line for each plan. */
cJSON *compare_plans(const struct surprisal_compare_options *o, struct buffer *text,
                     struct error *err);

#endif
