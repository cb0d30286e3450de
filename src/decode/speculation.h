/* speculation.h - drafts that a step checks: how many to ask for, and what became of them.
 *
 * A step takes the last token and its drafts.  Its first row gives the logits of the token that the
 * first draft is for, and so on.  From each row a token is drawn as it would be without drafts; as
 * long as it equals the row's draft, the next row's logits are those of the tokens that were drawn.
 * Draws depend on (seed, stream, position) alone, and a row has the bits of a step of one token, so
 * an answer has the same tokens and log-probabilities with drafts and without, greedy or not.  (The
 * rejection rule of Leviathan and others, arXiv 2211.17192, keeps the distribution alone, and
 * accepts sum_v min(p, q); here it is p of the most probable draft.)
 *
 * Drafts that are rejected cost more than they give.  When less than half of the drafts of the last
 * SPECULATION_WINDOW steps were accepted, the sequence drafts no more: for good, since its MTP
 * layer would have to follow the text to come back.  The next answer begins anew. */
#ifndef SURPRISAL_DECODE_SPECULATION_H
#define SURPRISAL_DECODE_SPECULATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "decode/drafter.h"

#define SPECULATION_WINDOW ((size_t)32)

/* Of one answer.  Zero-initialise: nothing is drafted. */
struct speculation {
    size_t n_drafts;                    /* of a step, at most */
    bool off;                           /* too few were accepted */
    size_t steps;                       /* that checked drafts */
    /* By draft: how many were checked, those after a rejected one included; how many accepted. */
    size_t drafted[DRAFTER_MOST], accepted[DRAFTER_MOST];
    struct { uint8_t drafted, accepted; } last[SPECULATION_WINDOW];     /* a ring */
};

/* Drafts to ask for, when `room` more tokens may follow the next one. */
size_t speculation_wanted(const struct speculation *s, size_t room);
/* The first `accepted` of n drafts were drawn.  ended: the answer ended with the last of them, so
 * that the others were not looked at. */
void speculation_add(struct speculation *s, size_t n, size_t accepted, bool ended);

#endif
