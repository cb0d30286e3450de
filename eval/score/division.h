/* division.h - a run whose parts are scored by several processes at once, into one folder.
 *
 *     OUT.partial/                      under construction, locked by the process that began it
 *         surprisal-state.json          the mark: settings of the run, number of parts
 *         part-1/, part-2/ ...          finished parts: run folders (eval --part)
 *         part-3.partial/               unfinished ones, each locked by the process that scores it
 *         tokens.safetensors, ...       of the run, while the parts are joined
 *
 * The number of parts is fixed when the division begins, and stays when other processes, more or
 * fewer, resume it.  A part is what `eval --part` makes and the run is what `merge` makes of them,
 * so it has the bytes of the run in one piece.  The parts are removed just before the folder gets
 * its name; if the process dies there, the missing ones are scored again. */
#ifndef SURPRISAL_EVAL_SCORE_DIVISION_H
#define SURPRISAL_EVAL_SCORE_DIVISION_H

#include "base/error.h"
#include "surprisal.h"

/* All as surprisal.h documents them. */
bool division_facts(struct surprisal_division_facts *out, const struct surprisal_eval_options *o,
                    struct error *err);
bool division_is_at(const char *out);
struct surprisal_division *division_begin(const struct surprisal_eval_options *o,
                                          const struct surprisal_division_facts *facts,
                                          size_t processes, bool mixed, struct error *err);
size_t division_parts(const struct surprisal_division *d);
bool division_has(const struct surprisal_division *d, size_t part);
bool division_score(const struct surprisal_eval_options *o, struct surprisal_part part,
                    struct error *err);
bool division_join(struct surprisal_division *d, struct surprisal_merged *merged,
                   struct error *err);
void division_close(struct surprisal_division *d);

#endif
