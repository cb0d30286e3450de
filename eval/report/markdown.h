/* markdown.h - the quality section of a model card: both checkpoints, the difference, the KL
 * divergence with its noise floor, the whole protocol, and the command that repeats it. */
#ifndef SURPRISAL_EVAL_REPORT_MARKDOWN_H
#define SURPRISAL_EVAL_REPORT_MARKDOWN_H

#include "eval/report/comparison_report.h"
#include "eval/report/markup.h"

/* Writes text from outside into a paragraph or a table: characters with a meaning in Markdown or
 * HTML are escaped; control characters, newlines included, become spaces. */
void markdown_text(struct markup *m, const char *text);
/* Writes a code block, whose fence is longer than any run of backticks inside.  Control characters
 * other than newline become '?': they could drive the terminal of a reader. */
void markdown_code(struct markup *m, const char *text);

bool markdown_write(const struct report *r, const char *path, struct error *err);

#endif
