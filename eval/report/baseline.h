/* baseline.h - the stored comparison of an earlier run (`compare --json > FILE`), beside today's. */
#ifndef SURPRISAL_EVAL_REPORT_BASELINE_H
#define SURPRISAL_EVAL_REPORT_BASELINE_H

#include "base/json.h"

/* Reads a stored comparison; refuses what is none.  Gives a tree to be freed by cJSON_Delete. */
cJSON *baseline_read(const char *path, struct error *err);
/* Refuses a baseline of another original, text, tokenizer, protocol or compute type: its figures say
 * nothing about today's.  The message names all that differs. */
bool baseline_check(const cJSON *baseline, const cJSON *document, const char *path,
                    struct error *err);
/* Appends a table for people: each key figure now, then, and its change. */
bool baseline_text(struct buffer *out, const cJSON *baseline, const cJSON *document,
                   struct error *err);

#endif
