/* markdown.h - the quality section of a model card: both checkpoints, the difference, the KL
 * divergence with its noise floor, the whole protocol, and the command that repeats it. */
#ifndef SURPRISAL_EVAL_REPORT_MARKDOWN_H
#define SURPRISAL_EVAL_REPORT_MARKDOWN_H

#include "eval/report/comparison_report.h"

bool markdown_write(const struct report *r, const char *path, struct error *err);

#endif
