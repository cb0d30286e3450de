/* html_examples.h - the tokens and windows that changed most, with their text, and the use of the
 * experts in each layer. */
#ifndef SURPRISAL_EVAL_REPORT_HTML_EXAMPLES_H
#define SURPRISAL_EVAL_REPORT_HTML_EXAMPLES_H

#include "base/json.h"
#include "eval/report/markup.h"

/* Appends a section for each of these that the document has. */
void html_examples(struct markup *m, const cJSON *document);

#endif
