/* merge.h - `surprisal merge`: the parts of a run (eval --part) become the run.
 *
 * Each part is a run folder, checked like any other (record.h).  Parts belong together if their
 * summaries agree in all that decides the numbers: version, digests of checkpoint, text, tokens and
 * tokenizer, protocol, compute, instruction set.  They must be the parts 1 .. of, each once.  Their
 * rows, one after another, are those of the whole run, and the figures are computed from them as a
 * run computes them; so tokens.safetensors has the bytes of a run in one piece, and summary.json
 * differs in what says how the run went: seconds, passes and bytes_read are sums, peak_rss_bytes is
 * the largest.  Parts of several plans hold a folder for each, and so does what they become.
 *
 * The folder appears when it is complete, and after record.h has read it again. */
#ifndef SURPRISAL_EVAL_SCORE_MERGE_H
#define SURPRISAL_EVAL_SCORE_MERGE_H

#include "base/error.h"
#include "surprisal.h"

/* As surprisal.h documents them. */
bool merge_check(const struct surprisal_merge_options *o, struct error *err);
bool merge_run(const struct surprisal_merge_options *o, struct surprisal_merged *merged,
               struct error *err);
/* The same into a folder that exists: of o only parts, mixed and progress count. */
bool merge_into(const char *folder, const struct surprisal_merge_options *o,
                struct surprisal_merged *merged, struct error *err);
void merge_free(struct surprisal_merged *merged);

#endif
