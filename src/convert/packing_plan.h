/* packing_plan.h - what a quantization will do, for programs and for people, before it does it. */
#ifndef SURPRISAL_CONVERT_PACKING_PLAN_H
#define SURPRISAL_CONVERT_PACKING_PLAN_H

#include "convert/importance.h"
#include "convert/selection.h"

/* Gives {"checkpoint", "out", "scale", "scale_percentile", "modules": [{"module", "count",
 * "packed", "bytes_before", "bytes_after"}], "patterns": [{"option", "pattern", "matched",
 * "modules": {module: matched}}], "count", "packed", "bytes_before", "bytes_after"}; counts are of
 * tensors in the split layout.  Where modules that vLLM merges (merged.h) are packed in part, also
 * their number "merged_in_part" and "merged_example"; with a file of importances "unweighted", the
 * packed modules that it does not name.  A file that names none of them is refused. */
cJSON *packing_plan_make(const struct weight_list *m, const struct selection *s,
                         const struct surprisal_quantize_options *options,
                         const struct importance *im, struct error *err);
/* Appends the same as a table. */
bool packing_plan_text(struct buffer *out, const cJSON *plan, struct error *err);

/* A size of a plan or a result; 0 when it is not there. */
double packing_plan_number(const cJSON *object, const char *key);

/* What the rule QSTREAM uses. */
double packing_plan_percentile(const struct surprisal_quantize_options *options);

const char *packing_plan_scale_name(enum surprisal_scale scale);

#endif
