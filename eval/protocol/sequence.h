/* sequence.h - the ids that the model sees, and the windows over them.
 *
 * All protocols but rolling use the input's ids as they are.  Rolling puts a prefix token in front
 * of each document, so an index in the sequence is the index in the input's ids plus the number of
 * prefixes before it. */
#ifndef SURPRISAL_EVAL_PROTOCOL_SEQUENCE_H
#define SURPRISAL_EVAL_PROTOCOL_SEQUENCE_H

#include "eval/protocol/input.h"
#include "eval/protocol/protocol.h"

/* Zero-initialise; release with sequence_free. */
struct sequence {
    int32_t *ids;                       /* owned [n_ids] */
    size_t n_ids;
    struct windows all;                 /* owned */
    struct windows windows;             /* those that are scored; borrows from all */
    size_t first_window;                /* of them, among all */
    size_t *prefixes;                   /* owned [all.n]: prefix tokens before a window's end */
};

/* The document, from 0, that a window of rolling (one of all) belongs to; documents without tokens
 * do not count. */
size_t sequence_document(const struct sequence *s, size_t window);

/* plan: complete (plans.h).  Only rolling uses prefix_id.  max_windows 0: all. */
bool sequence_make(struct sequence *s, const struct input *in,
                   const struct surprisal_protocol_plan *plan, int32_t prefix_id,
                   size_t max_windows, struct error *err);
/* How many parts the windows can be divided into: as many as there are windows that score a
 * token. */
size_t sequence_most_parts(const struct sequence *s);
/* Leaves one part of the windows to score: part 1 of `of` has the first ones, each has at least one
 * and about as many tokens as the others.  Refuses more parts than that. */
bool sequence_take_part(struct sequence *s, const struct surprisal_part *part, struct error *err);
void sequence_free(struct sequence *s);

#endif
