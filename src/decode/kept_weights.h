/* kept_weights.h - which weights stay in memory while a decoder's budget has no room for all.
 *
 * The parts of a weight_schedule, its embedding apart, are brought in before their use.  After it
 * those stay that were used most often: all but the experts in each step, experts as often as
 * tokens are routed to them.  Of parts that were used as often, the one whose next use comes last
 * goes first: parts are used in a circle, so it is the one that was used just now.
 *
 *     budget:  | parts in use, at most kept_weights_least | parts that stay |
 *
 * Pointers to weights are always valid: access to a part that is not in memory only costs a read.
 * Used by one thread at a time. */
#ifndef SURPRISAL_DECODE_KEPT_WEIGHTS_H
#define SURPRISAL_DECODE_KEPT_WEIGHTS_H

#include "engine/weight_schedule.h"

struct kept_weights;

size_t kept_weights_head_bytes(const struct weight_schedule *parts, size_t n_layers);
/* Bytes of the parts that are in use at once, at most, in a model of n_layers layers: a layer with
 * n_experts of its experts, or (with_head) the head. */
size_t kept_weights_least(const struct weight_schedule *parts, size_t n_layers, size_t n_experts,
                          bool with_head);

/* bytes: of all weights in memory; least: of those in use at once.  parts stay borrowed. */
struct kept_weights *kept_weights_open(const struct weight_schedule *parts, size_t least,
                                       size_t bytes, struct error *err);
/* Releases all of them.  NULL is fine. */
void kept_weights_close(struct kept_weights *k);

/* A step begins, or a piece of prefill.  Parts that a failure has left in use are so no longer. */
void kept_weights_step(struct kept_weights *k);
/* Brings a part into memory.  Fails when its file cannot be read. */
bool kept_weights_need(struct kept_weights *k, size_t part, struct error *err);
void kept_weights_done(struct kept_weights *k, size_t part);

/* Bytes brought into memory so far. */
size_t kept_weights_bytes_read(const struct kept_weights *k);

#endif
