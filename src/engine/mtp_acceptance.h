/* mtp_acceptance.h - along the windows of a pass: what the MTP layer drafts, and how often the
 * model accepts it (struct engine_draft_sink).
 *
 * All rows of all windows are drafted from at once.  Draft d of row i is made by slot i + d of the
 * chain that begins after slot i: its attention sees the slots [0, i], whose keys and values are
 * those of true hidden states and shared by all chains of the window, and the d slots of its own
 * chain.  The tokens that a chain is fed are the text's.  Each draft reads the embedding, the MTP
 * layer and, twice, the head: log-sum-exp first, then the distributions.
 *
 * Rows near the end of a window, whose token is beyond it, are computed with the window's last
 * token and not used, so that all drafts have the same rows. */
#ifndef SURPRISAL_ENGINE_MTP_ACCEPTANCE_H
#define SURPRISAL_ENGINE_MTP_ACCEPTANCE_H

#include "engine/pass.h"

/* All drafts of a pass whose targets are scored (b->scores, p->x) and whose rows are b->hidden. */
bool mtp_acceptance_run(struct pass *p, const struct draft_buffers *b, struct error *err);

#endif
