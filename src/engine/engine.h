/* engine.h - runs windows of token ids through the model, layer by layer.
 *
 * Layer-major: the layer is the outer loop, so that a pass reads each weight once, and the residual
 * stream of all windows of the pass stays in memory (tokens x hidden_size x 4 bytes).  Weights are
 * read from disk before their use and released after it (stream.h), so that the checkpoint may be
 * larger than memory.  The memory budget splits the windows into passes.
 *
 * An engine borrows the checkpoint and the weights.  Results do not depend on the number of
 * threads, nor on the budget. */
#ifndef SURPRISAL_ENGINE_ENGINE_H
#define SURPRISAL_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/budget.h"
#include "base/compute_type.h"
#include "base/error.h"
#include "base/progress.h"
#include "engine/types.h"

struct checkpoint;
struct mtp_weights;
struct weights;
struct weights_hash;
struct engine;

struct engine_options {
    int n_threads;              /* 0: all of this process */
    /* Budget of the process, the part of it that is in use, and the peak so far (budget.h).  The
     * rest is for the engine: residual stream, scratch, weights in flight.  memory_bytes 0: three
     * quarters of the free memory, in addition to what is in use.  `processes` of a job share the
     * given or free memory of the machine evenly; 0: 1. */
    size_t memory_bytes, held_bytes, reached_bytes, processes;
    enum compute_type compute;
    const char *isa;            /* NULL: the best of this machine */
    struct progress progress;   /* report and warn may be NULL */
    const struct mtp_weights *mtp;      /* the layer that drafts; NULL: nothing is drafted */
};

/* ck, w and options->mtp stay borrowed until engine_close. */
struct engine *engine_open(const struct checkpoint *ck, const struct weights *w,
                           const struct engine_options *options, struct error *err);
void engine_close(struct engine *e);

const char *engine_isa(const struct engine *e);     /* the kernels in use */
int engine_threads(const struct engine *e);

/* ---- scoring ---------------------------------------------------------- */

/* Receives the scores in text order: rows [row, row + n) of all scored targets (counted over the
 * windows in their order).  hidden: final hidden states after the last norm that predicted them,
 * [n, hidden_size].  Those of a window that is left out are NaN, with -1 for top1.  Returns false
 * to stop with an error of its own. */
struct engine_sink {
    bool (*consume)(void *user, size_t row, size_t n, const struct engine_score *scores,
                    const float *hidden, struct error *err);
    void *user;
};

/* What the MTP layer (model/mtp.h) drafts along the windows: for each window of a pass, draft by
 * draft, the n drafts of its scored targets, in text order.  The targets are the window's last n:
 * draft d of a target needs d + 1 tokens before it.  hidden: the layer's states after its norm that
 * made the drafts, [n, hidden_size].  Drafts are for engines that were opened with an MTP layer,
 * and for jobs without a saver that do not resume: a state has no drafts in it. */
struct engine_draft_sink {
    size_t n_drafts;                    /* 0: none */
    bool (*consume)(void *user, size_t window, size_t draft, size_t n,
                    const struct engine_draft *drafts, const float *hidden, struct error *err);
    void *user;
};

/* offer() is called with the state between steps, about twice a layer, and with `now` when the work
 * was asked to stop.  It saves the state or not.  False stops the work with an error of its own. */
struct engine_saver {
    bool (*offer)(void *user, const struct engine_state *state, bool now, struct error *err);
    void *user;
};

/* check() is called after each pass: are the inputs unchanged?  False stops the work with an error
 * of its own. */
struct engine_guard {
    bool (*check)(void *user, struct error *err);
    void *user;
};

struct engine_job {
    const int32_t *ids;                 /* [n_ids], each in [0, vocab_size) */
    size_t n_ids;
    const struct engine_window *windows;
    size_t n_windows;
    struct engine_sink sink;
    struct engine_draft_sink drafts;
    struct weights_hash *hash;          /* hashes the weights as they are read; NULL: none */
    struct engine_saver saver;          /* offer may be NULL */
    struct engine_guard guard;          /* check may be NULL */
    const struct engine_state *resume;  /* continue from here; NULL: from the beginning */
    /* [n_windows]: windows in which a NaN or infinity shows are noted here and left out, and the
     * others have the same scores as without them.  Empty at first, or as it was when the state to
     * resume was saved.  NULL: none is left out. */
    struct nonfinite *nonfinite;
};

/* The pass of job->resume is split to fit this engine's budget, like all others.
 *
 * Ids and windows are checked (an error names index and id).  A NaN or infinity in the residual
 * stream or in a score is an error that names layer, step, token and window, unless its window is
 * left out.  A pass ends as soon as none of its windows is left. */
bool engine_score_windows(struct engine *e, const struct engine_job *job,
                          struct engine_statistics *statistics, struct error *err);

/* "layer 2, mlp, expert 5": where a window was not finite. */
void engine_nonfinite_text(char out[NONFINITE_TEXT_BYTES], const struct nonfinite *n);

/* The cost of engine_score_windows; for a job that continues from a state, the rest of the cost. */
struct engine_cost {
    size_t passes;
    size_t bytes_read;
    size_t memory_bytes;                /* at most, of the engine */
    size_t least_bytes;                 /* the smallest budget of the process that does */
    size_t state_bytes;                 /* of the largest state */
    double flop;                        /* of matrix products with weights */
    size_t tile_tokens;                 /* that go through a mixer together */
    size_t scored;                      /* that meet the head */
};

/* An error when the budget does not suffice, or the state does not belong to the windows. */
bool engine_cost(const struct engine *e, const struct engine_job *job, struct engine_cost *cost,
                 struct error *err);

/* ---- tracing ---------------------------------------------------------- */

/* Receives, for the whole of one sequence of T ids: after each layer the residual stream [T, D]
 * and, in a mixture of experts, routing [T, k] (ids of the chosen experts by falling weight; NULL
 * in dense models); then, tile by tile, rows [row, row + n) of the states after the last norm
 * [T, D] and of the logits [T, V].  The next step goes on from what layer and hidden leave in
 * residual and hidden: a tracer may put other states there. */
struct engine_tracer {
    bool (*layer)(void *user, size_t layer, float *residual, const int32_t *routing,
                  struct error *err);
    bool (*hidden)(void *user, size_t row, size_t n, float *hidden, struct error *err);
    bool (*logits)(void *user, size_t row, size_t n, const float *logits, struct error *err);
    void *user;
};

bool engine_trace(struct engine *e, const int32_t *ids, size_t n_ids,
                  const struct engine_tracer *tracer, struct error *err);

#endif
