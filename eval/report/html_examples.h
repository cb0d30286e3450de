/* html_examples.h - the tokens and windows that changed most, with the text around them, and the use
 * of the experts by layer. */
#ifndef SURPRISAL_EVAL_REPORT_HTML_EXAMPLES_H
#define SURPRISAL_EVAL_REPORT_HTML_EXAMPLES_H

#include "base/json.h"
#include "eval/report/markup.h"

/* Appends a section for each that the document has. */
void html_examples(struct markup *m, const cJSON *document);

#endif
