/* markdown.h - the quality section of a model card: both checkpoints, the difference, the distance
 * beside its noise floor, the protocol in full, and the command that repeats it. */
#ifndef SURPRISAL_EVAL_REPORT_MARKDOWN_H
#define SURPRISAL_EVAL_REPORT_MARKDOWN_H

#include "eval/report/comparison_report.h"

bool markdown_write(const struct report *r, const char *path, struct error *err);

#endif
