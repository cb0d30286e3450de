/* baseline.h - a stored comparison (`compare --json > FILE`), compared with a new one. */
#ifndef SURPRISAL_EVAL_REPORT_BASELINE_H
#define SURPRISAL_EVAL_REPORT_BASELINE_H

#include "base/json.h"

/* Reads a stored comparison; refuses any other file.  Gives a tree to be freed by cJSON_Delete. */
cJSON *baseline_read(const char *path, struct error *err);
/* Refuses a baseline with another original, text, tokenizer, protocol or compute type: its figures
 * cannot be compared.  The message names everything that differs. */
bool baseline_check(const cJSON *baseline, const cJSON *document, const char *path,
                    struct error *err);
/* Appends a table for readers: each key figure now, then, and its change. */
bool baseline_text(struct buffer *out, const cJSON *baseline, const cJSON *document,
                   struct error *err);

#endif
